"""The overlay video: the right pictures at the right times, playable in a browser, also after a kill."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from posepipe.errors import OutputError
from posepipe.pipeline.sink.video import VideoWriter


def picture(index: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Colour patches that say which frame it is: red moves right with the index, the lower half is green over blue."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = (20, 40, 200)
    image[height // 2 :] = (30, 180, 60)
    left = (index * 4) % (width - 16)
    image[8:24, left : left + 16] = (230, 30, 30)
    return image


def write(path: Path, times: Sequence[float], width: int = 96, height: int = 64, **options: object) -> None:
    with VideoWriter(path, width, height, **options) as out:  # type: ignore[arg-type]
        for index, pts in enumerate(times):
            out.write(picture(index, width, height), pts)


def decode(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in frames], [float(frame.time) for frame in frames]


def test_pictures_and_uneven_times_come_back(tmp_path: Path) -> None:
    times = [5.0 + t for t in (0, 1 / 30, 0.1, 0.5, 0.501, 2, 2.04)]  # a source that starts at 5 s
    write(tmp_path / "a.mp4", times, crf=12)
    images, seen = decode(tmp_path / "a.mp4")
    np.testing.assert_allclose(seen, np.array(times) - 5, atol=1 / 90_000)
    for index, image in enumerate(images):
        # Colours within a few grey values: the colour matrix written is the one the decoder uses.
        np.testing.assert_allclose(image[40:60, 4:90].mean((0, 1)), (30, 180, 60), atol=4)
        left = index * 4
        np.testing.assert_allclose(image[11:21, left + 3 : left + 13].mean((0, 1)), (230, 30, 30), atol=8)


def test_a_browser_can_play_it(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", np.arange(90) / 30)
    with av.open(str(tmp_path / "a.mp4")) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_tag, stream.codec_context.pix_fmt) == (
            "h264",
            "avc1",
            "yuv420p",
        )
        assert stream.frames == 90
        assert container.duration == pytest.approx(3e6, abs=2e4)
        assert stream.average_rate == 30
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (6, 1)
    boxes = top_level_boxes((tmp_path / "a.mp4").read_bytes())
    assert boxes[0] == b"ftyp"
    assert boxes.count(b"moov") == 1
    assert b"moof" not in boxes, "finished files are ordinary MP4, which every player can seek in"


def top_level_boxes(data: bytes) -> list[bytes]:
    boxes, at = [], 0
    while at < len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        assert size >= 8
        boxes.append(name)
        at += size
    return boxes


@pytest.mark.parametrize(("width", "height"), [(95, 64), (96, 63), (33, 31), (1, 1)])
def test_odd_sizes_are_padded_by_repeating_the_border(tmp_path: Path, width: int, height: int) -> None:
    image = np.full((height, width, 3), (200, 60, 90), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", width, height, crf=5) as out:
        out.write(image, 0.0)
    ((decoded,), _) = decode(tmp_path / "a.mp4")
    assert decoded.shape == (height + height % 2, width + width % 2, 3)
    np.testing.assert_allclose(decoded.reshape(-1, 3), np.tile((200, 60, 90), (decoded[..., 0].size, 1)), atol=6)


@pytest.mark.parametrize("threads", [1, 2])
def test_bytes_repeat_in_another_process(tmp_path: Path, threads: int) -> None:
    write(tmp_path / "a.mp4", np.arange(40) / 25, threads=threads)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_video_sink import *\n"
        "write(Path(sys.argv[2]), np.arange(40) / 25, threads=int(sys.argv[3]))"
    )
    time.sleep(1.1)  # MP4 time stamps count seconds
    subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "b.mp4"), str(threads)], check=True
    )
    hashes = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.mp4", "b.mp4")}
    assert len(hashes) == 1


def test_times_that_stand_still_or_are_missing(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [0.0, 0.0, -1.0, float("nan"), 0.2], fps=10)
    images, times = decode(tmp_path / "a.mp4")
    assert len(images) == 5
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times[-1] == pytest.approx(0.2, abs=1e-4)
    assert times[3] == pytest.approx(0.1, abs=1e-3)


def test_a_killed_run_leaves_a_playable_temporary_and_no_final_file(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_video_sink import *\n"
        "with VideoWriter(Path(sys.argv[2]), 96, 64, fps=10) as out:\n"
        "    for index in range(55): out.write(picture(index), index / 10)\n"
        "    print('written', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "a.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.mp4.tmp-")
    assert len(decode(left)[0]) >= 45, "at most one second may be lost"


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> None:
        with VideoWriter(tmp_path / "a.mp4", 96, 64) as out:
            out.write(picture(0), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    with pytest.raises(OutputError, match="not one frame"), VideoWriter(tmp_path / "a.mp4", 96, 64):
        pass
    with pytest.raises(ValueError, match="image must be"), VideoWriter(tmp_path / "a.mp4", 96, 64) as out:
        out.write(picture(0, 64, 96), 0.0)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        write(tmp_path / "file" / "a.mp4", [0.0])


@pytest.mark.parametrize("limit", [0, 500, 8_000, -100])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1]); from test_video_sink import *\n"
        "write(Path(sys.argv[2]), np.arange(200) / 30, crf=1)\n"
        "whole = Path(sys.argv[2]).stat().st_size; Path(sys.argv[2]).unlink()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limit = int(sys.argv[3]) if int(sys.argv[3]) >= 0 else whole + int(sys.argv[3])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try: write(Path(sys.argv[2]), np.arange(200) / 30, crf=1)\n"
        "except OutputError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "a.mp4"), str(limit)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    assert "File too large" in run.stdout
    assert run.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
