"""A folder of numbered images is a video: natural order, even times, upright, damage counted; in both verbs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from posepipe.__main__ import main
from posepipe.errors import InputError, UsageError
from posepipe.hashing import file_sha256
from posepipe.pipeline import manifest
from posepipe.pipeline.batch_list import work_list
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.footage import footage_sha256, open_footage
from posepipe.pipeline.source.images import ImageSequence, numbered_images, read_image

QUARTERS = np.array([[(230, 20, 20), (20, 200, 30)], [(30, 30, 220), (240, 240, 240)]], np.uint8)


def _picture(shade: int, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    return np.full((size[1], size[0], 3), shade, np.uint8)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def _shades(folder: Path, fps: float = 25.0) -> list[tuple[int, float, int]]:
    with ImageSequence(folder, fps) as images:
        return [(f.index, f.pts, int(f.image[f.image.shape[0] // 2, f.image.shape[1] // 2, 0])) for f in images]


def test_natural_order_and_even_times(tmp_path: Path) -> None:
    for shade, name in enumerate(("img_1.png", "img_2.png", "IMG_3.PNG", "img_010.png", "img_11.png", "x9.png")):
        _write(tmp_path / name, _picture(10 * shade))
    _write(tmp_path / "cover.png", _picture(255))  # no number, no place
    _write(tmp_path / ".img_0.png", _picture(255))
    (tmp_path / "img_4.txt").write_text("not an image")
    assert _shades(tmp_path, 4.0) == [(k, k / 4, 10 * k) for k in range(6)]


def test_another_size_is_fitted_and_a_broken_one_is_left_out_with_its_time(tmp_path: Path) -> None:
    for k in range(6):
        _write(tmp_path / f"{k}.png", _picture(20 * k + 5, (40, 30) if k != 4 else (90, 30)))
    _write(tmp_path / "1.png", np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2.png").write_bytes(b"")
    with ImageSequence(tmp_path, 10.0) as images:
        frames = list(images)
        assert (images.info.width, images.info.height, images.info.frames) == (40, 30, 6)
        assert images.counts.bad_packets == 2
        assert images.counts.frames == len(frames) == 4
    assert [f.pts for f in frames] == [0.0, 0.3, 0.4, 0.5]
    assert [f.index for f in frames] == [0, 1, 2, 3]
    fitted = frames[2].image  # 90 x 30 in 40 x 30: 13 rows in the middle
    assert fitted.shape == (30, 40, 3)
    assert fitted[15, 20, 0] == 85
    assert fitted[2].max() == fitted[-3].max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied_as_opencv_does(tmp_path: Path, orientation: int, suffix: str) -> None:
    image = Image.fromarray(np.kron(QUARTERS, np.ones((24, 40, 1), np.uint8)))
    exif = image.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"1.{suffix}"
    image.save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    ours = read_image(path)
    assert ours is not None
    assert ours.shape == ((48, 80, 3) if orientation < 5 else (80, 48, 3))
    if suffix != "jpg":  # OpenCV 4.11 reads the orientation of JPEGs only
        path = tmp_path / "1.jpg"
        image.save(path, exif=exif)
    theirs = cv2.imread(str(path))[..., ::-1]
    assert theirs.shape == ours.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 3  # JPEG; a wrong turn gives 90


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("RGBA", (10, 20, 30)), ("L", (70,) * 3), ("I;16", (128,) * 3), ("P", (10, 20, 30)), ("CMYK", (10, 20, 30))],
)
def test_any_kind_of_pixels(tmp_path: Path, mode: str, expected: tuple[int, ...]) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 128 * 257, np.uint16))
    else:
        image = Image.new("RGB" if mode != "L" else "L", (8, 8), (10, 20, 30) if mode != "L" else 70)
        image = image.quantize() if mode == "P" else image.convert(mode)
    path = tmp_path / ("1.png" if mode != "CMYK" else "1.tif")
    image.save(path)
    read = read_image(path)
    assert read is not None
    np.testing.assert_allclose(read[4, 4], expected, atol=2)


def test_what_is_no_sequence_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _write(tmp_path / "in" / "anna.png", _picture(1))
    assert main(["run", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 1
    assert "no numbered images" in capsys.readouterr().err
    (tmp_path / "in" / "1.png").write_text("broken")
    with pytest.raises(InputError, match="None of the 1 images"):
        ImageSequence(tmp_path / "in")
    assert main(["run", str(tmp_path / "in" / "1.png"), "-o", str(tmp_path / "out"), "--fps", "5"]) == 2
    assert "--fps is for folders of images" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no frame rate"):
        RunSettings(image_fps=0)


def test_the_hash_is_of_names_and_bytes(tmp_path: Path) -> None:
    for name in ("2.png", "10.png"):
        _write(tmp_path / name, _picture(len(name)))
    lines = [n.encode() + b"\0" + file_sha256(tmp_path / n).encode() + b"\n" for n in ("2.png", "10.png")]
    before = footage_sha256(tmp_path)
    assert before == hashlib.sha256(b"".join(lines)).hexdigest()
    with open_footage(tmp_path) as images:
        assert images.info.sha256 == before
    (tmp_path / "10.png").rename(tmp_path / "3.png")
    assert footage_sha256(tmp_path) != before


def test_which_folders_of_a_batch_are_sequences(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in (
        "walk/1.png",
        "walk/2.png",
        "walk.v2/1.png",
        "walk.v2/2.png",
        "one/1.png",
        "faces/a.png",
        "faces/b.png",
    ):
        _write(folder / name, _picture(1))
    for name in ("clips/a.mp4", "clips/a1.png", "clips/a2.png", "walk.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    items = work_list(folder, tmp_path / "out")
    places = {i.name: [p.relative_to(tmp_path / "out").as_posix() for p in i.outputs(False)] for i in items}
    assert places == {
        "clips/a.mp4": ["clips/a.h5"],
        "walk": ["walk/walk.h5"],
        "walk.mp4": ["walk.mp4/walk.h5"],
        "walk.v2": ["walk.v2.h5"],
    }
    (alone,) = work_list(folder / "walk", tmp_path / "out")
    assert (alone.name, alone.outputs(False)) == (".", (tmp_path / "out" / "walk.h5",))
    assert alone.bytes == sum(p.stat().st_size for p in numbered_images(folder / "walk"))


def test_images_of_the_actor_through_run_and_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in" / "walk"
    scene = ActorScene("wave", seconds=1, fps=10, width=256, height=256, fov_deg=55)
    for frame, _ in ActorSource(scene):
        _write(folder / f"frame{frame.index + 1}.png", frame.image)
    (folder / "frame4.png").write_bytes(b"torn")
    monkeypatch.chdir(folder)
    assert main(["run", ".", "-o", str(tmp_path / "one"), "--fps", "10", "--no-overlay"]) == 0
    recording = read_h5(tmp_path / "one" / "walk.h5")
    assert recording.header["source"] == "walk"
    np.testing.assert_allclose(recording.pts, [0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert len(recording.tracks[0].frame) == 9
    assert main(["inspect", ".", "--frames", "2", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "walk.inspect.png").stat().st_size > 1000
    out = tmp_path / "out"
    argv = ["batch", str(tmp_path / "in"), "-o", str(out), "--fps", "10", "--no-overlay", "--resume"]
    assert main(argv) == 0
    (line,) = [json.loads(x) for x in (out / manifest.NAME).read_text().splitlines()]
    assert (line["input"], line["status"], line["bad_frames"], line["frames"]) == ("walk", "partial", 1, 9)
    assert line["input_sha256"] == footage_sha256(folder)
    assert (out / "walk.h5").read_bytes() == (tmp_path / "one" / "walk.h5").read_bytes()
    made = (out / "walk.h5").stat().st_mtime_ns
    assert main(argv) == 0
    assert (out / "walk.h5").stat().st_mtime_ns == made
    (folder / "frame4.png").unlink()
    assert main(argv) == 0
    assert len(read_h5(out / "walk.h5").pts) == 9
    assert (out / "walk.h5").stat().st_mtime_ns != made
