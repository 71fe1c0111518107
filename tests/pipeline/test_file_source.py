"""Decoding files: every frame once, in order, upright, at its time; damage is counted; bad input is one sentence."""

from __future__ import annotations

import gc
import hashlib
import itertools
import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from posepipe.errors import InputError
from posepipe.pipeline.source.file import VideoFile, frame_rate

SHARED = Path(os.environ.get("POSEPIPE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
CORNERS = np.array([[(230, 20, 20), (20, 200, 30)], [(30, 30, 220), (240, 240, 240)]], np.uint8)


def picture(index: int, width: int, height: int) -> np.ndarray:
    """Noise that is another for every frame: a frame cannot be taken for its neighbour."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)


def corner_picture(index: int, width: int, height: int) -> np.ndarray:
    """Red, green / blue, white quarters: tells all eight orientations apart."""
    return np.kron(CORNERS, np.ones((height // 2, width // 2, 1), np.uint8))


def make_clip(
    path: Path,
    times: Sequence[float],
    size: tuple[int, int] = (64, 48),
    draw=picture,  # type: ignore[no-untyped-def]
    codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    aspect: Fraction | None = None,
    **options: str,
) -> Path:
    """A clip written with PyAV; FFV1 in RGB is lossless, so that pixels can be compared exactly."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"threads": "1", **options})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = stream.time_base = Fraction(1, 90_000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for index, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(index, *size), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(pts * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_h264(path: Path, count: int = 30, size: tuple[int, int] = (64, 48), **options: str) -> Path:
    times = np.arange(count) / 30
    return make_clip(path, times, size, options.pop("draw", picture), "libx264", "yuv420p", **options)


def read(path: Path) -> tuple[VideoFile, list]:
    with VideoFile(path) as video:
        return video, list(video)


def test_every_frame_in_order_at_its_own_time(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.05, 0.3, 1.0, 1.001, 7.5]  # as uneven as a phone's
    video, frames = read(make_clip(tmp_path / "Vidéo ☃.mkv", times))
    assert [frame.index for frame in frames] == list(range(7))
    np.testing.assert_allclose([frame.pts for frame in frames], times, atol=0.0006)  # Matroska counts milliseconds
    for frame in frames:
        np.testing.assert_array_equal(frame.image, picture(frame.index, 64, 48))
        assert frame.image.flags.c_contiguous
        assert not frame.corrupt
    assert (video.info.width, video.info.height, video.info.codec, video.info.rotation) == (64, 48, "ffv1", 0)
    assert video.info.sha256 == hashlib.sha256((tmp_path / "Vidéo ☃.mkv").read_bytes()).hexdigest()
    assert video.info.duration == pytest.approx(7.5, abs=0.1)


def test_info_of_a_constant_rate_file(tmp_path: Path) -> None:
    video, frames = read(make_h264(tmp_path / "a.mp4", 45))
    assert len(frames) == video.info.frames == 45
    assert video.info.fps == pytest.approx(30)
    assert video.info.duration == pytest.approx(1.5, abs=0.05)
    assert (video.counts.frames, video.counts.corrupt, video.counts.bad_packets) == (45, 0, 0)
    assert not video.counts.cut_short


def test_frames_held_back_by_the_decoder_are_not_lost(tmp_path: Path) -> None:
    """B-frames: decoding order is not display order, and the last ones come only when the decoder is flushed."""
    _, frames = read(make_h264(tmp_path / "a.mp4", 31, bf="3"))
    np.testing.assert_allclose([frame.pts for frame in frames], np.arange(31) / 30, atol=1e-4)


def with_matrix(source: Path, target: Path, a: int, b: int, c: int, d: int) -> Path:
    """Put a display matrix into an MP4's track header (ISO 14496-12, §8.3.2): version 0, matrix at byte 40."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4
    assert data[at] == 0
    data[at + 40 : at + 76] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


MATRICES = [
    m for m in itertools.product((-1, 0, 1), repeat=4) if abs(m[0] * m[3] - m[1] * m[2]) == 1 and m.count(0) == 2
]


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_all_eight_orientations_come_out_upright(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    a, b, c, d = matrix
    plain = make_h264(tmp_path / "plain.mp4", 2, draw=corner_picture, crf="5")
    video, frames = read(with_matrix(plain, tmp_path / "turned.mp4", *matrix))
    # Truth: a corner stored at (x, y), seen from the picture's middle, is shown at (a x + c y, b x + d y).
    expected = np.empty_like(CORNERS)
    for (row, y), (column, x) in itertools.product(enumerate((-1, 1)), repeat=2):
        shown_x, shown_y = a * x + c * y, b * x + d * y
        expected[(shown_y + 1) // 2, (shown_x + 1) // 2] = CORNERS[row, column]
    image = frames[0].image
    assert image.shape == ((64, 48, 3) if b else (48, 64, 3)) == (video.info.height, video.info.width, 3)
    height, width = image.shape[:2]
    seen = image[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]
    np.testing.assert_allclose(seen.astype(int), expected, atol=14)
    assert image.flags.c_contiguous
    assert video.info.mirrored == (a * d - b * c < 0)
    clockwise = {(1, 0, 0, 1): 0, (0, 1, -1, 0): 90, (-1, 0, 0, -1): 180, (0, -1, 1, 0): 270}
    # Undoing a mirroring left to right leaves a pure rotation.
    unmirrored = (-a, b, -c, d) if video.info.mirrored else matrix
    assert video.info.rotation == clockwise[unmirrored]


@pytest.mark.parametrize("size", [(63, 47), (1, 1), (33, 48), (500, 2)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    _, frames = read(make_clip(tmp_path / "a.mkv", [0, 0.1], size))
    for frame in frames:
        np.testing.assert_array_equal(frame.image, picture(frame.index, *size))


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    video, frames = read(make_h264(tmp_path / "a.mp4", 2, (72, 58), aspect=Fraction(16, 11)))
    assert frames[0].image.shape == (58, 105, 3) == (video.info.height, video.info.width, 3)


def test_a_change_of_size_midway_is_fitted_with_black_borders(tmp_path: Path) -> None:
    def white(index: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 255, np.uint8)

    parts = [
        make_h264(tmp_path / f"{i}.h264", 3, size, draw=white, crf="5").read_bytes()
        for i, size in enumerate(((64, 48), (32, 48), (128, 96)))
    ]
    (tmp_path / "a.h264").write_bytes(b"".join(parts))
    _, frames = read(tmp_path / "a.h264")
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 9
    narrow = frames[4].image
    assert narrow[:, :15].max() == 0 == narrow[:, 49:].max()
    assert narrow[:, 17:47].min() > 240
    assert frames[8].image.min() > 240
    assert all(later.pts > earlier.pts for earlier, later in itertools.pairwise(frames))


def damaged(source: Path, target: Path, start: float, length: float) -> Path:
    """Zero a stretch of a file's bytes, given as fractions of its size."""
    data = bytearray(source.read_bytes())
    first, count = int(len(data) * start), int(len(data) * length)
    data[first : first + count] = bytes(count)
    target.write_bytes(data)
    return target


def test_decoding_goes_on_past_damage_and_counts_it(tmp_path: Path) -> None:
    whole = make_h264(tmp_path / "whole.mp4", 60, g="10", bf="0")
    _, good = read(whole)
    video, frames = read(damaged(whole, tmp_path / "bad.mp4", 0.4, 0.2))
    counts = video.counts
    assert counts.bad_packets >= 6
    assert 40 <= len(frames) == counts.frames
    assert counts.frames + counts.bad_packets == 60
    assert counts.corrupt == sum(frame.corrupt for frame in frames)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    by_time = {round(frame.pts, 4): frame for frame in good}
    assert all(round(frame.pts, 4) in by_time for frame in frames), "what is left keeps its own times"
    for frame in [*frames[:20], *frames[-10:]]:  # before the damage, and after the next key frame
        np.testing.assert_array_equal(frame.image, by_time[round(frame.pts, 4)].image)
    again = read(tmp_path / "bad.mp4")[1]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, again, strict=True)), "repairs repeat"


def test_a_file_cut_short_gives_what_is_there(tmp_path: Path) -> None:
    whole = make_h264(tmp_path / "whole.mp4", 60, bf="0")
    with (
        av.open(str(whole)) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    video, frames = read(tmp_path / "cut.mp4")
    assert 20 < len(frames) < 40
    assert video.counts.cut_short
    assert not read(tmp_path / "fast.mp4")[0].counts.cut_short


def make_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_what_is_no_video_is_one_sentence_with_a_fix(tmp_path: Path) -> None:
    whole = make_h264(tmp_path / "whole.mp4").read_bytes()
    assert whole.index(b"moov") > len(whole) // 2, "the index comes last, so half a file has none"
    files = {
        "text.mp4": (b"just some words\n" * 100, "not a video"),
        "text.txt": (b"just some words\n" * 100, "is a text file"),
        "empty.mp4": (b"", "is empty"),
        "half.mp4": (whole[: len(whole) // 2], "index is missing"),
        "random.mp4": (np.random.default_rng(0).bytes(10_000), "not a video"),
    }
    for name, (data, match) in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=match) as caught:
            VideoFile(tmp_path / name)
        assert name in caught.value.message
        assert caught.value.hint
        assert "\n" not in str(caught.value)
    for path, match in (
        (make_sound(tmp_path / "sound.mp4"), "no video in it"),
        (tmp_path, "is a folder"),
        (tmp_path / "nothing.mp4", "does not exist"),
        (Path("/dev/null"), "not a regular file"),
        (tmp_path / "text.txt" / "a.mp4", "does not exist"),
        (tmp_path / ("x" * 300), "Cannot look at"),
        (Path("a\0b.mp4"), "Cannot look at|does not exist"),
    ):
        with pytest.raises(InputError, match=match):
            VideoFile(path)


def test_a_video_without_one_good_picture(tmp_path: Path) -> None:
    data = bytearray(make_h264(tmp_path / "a.mp4", 5).read_bytes())
    first, last = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[first:last] = bytes(last - first)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(InputError, match="no picture"):
        VideoFile(tmp_path / "a.mp4")


def test_a_name_that_looks_like_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_h264(tmp_path / "a.mp4", 3).rename(tmp_path / "concat:a.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("concat:a.mp4"))[1]) == 3


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_a_real_clip_with_a_fifth_zeroed(tmp_path: Path) -> None:
    source = SHARED / "videos" / "pose_squats.mp4"
    video, frames = read(source)
    assert (len(frames), frames[0].image.shape, video.info.fps) == (65, (1280, 720, 3), 5.0)
    video, frames = read(damaged(source, tmp_path / "a.mp4", 0.4, 0.2))
    assert len(frames) >= 49
    assert video.counts.bad_packets == 16


@pytest.mark.parametrize("at", ["av.open", "is_cut", "file_sha256"])
def test_a_file_that_disappears_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    import posepipe.pipeline.source.file as module

    path = make_h264(tmp_path / "a.mp4", 3)
    owner, name = (module.av, "open") if at == "av.open" else (module, at)
    whole = getattr(owner, name)

    def and_then_it_is_gone(*args: object, **kwargs: object) -> object:
        path.unlink()
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, and_then_it_is_gone)
    with pytest.raises(InputError, match=r"could not be read to its end \(No such file or directory\)\. Was it moved"):
        VideoFile(path)


def test_times_and_pictures_that_damage_has_made_nonsense_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by 100,000 damaged files: a time that is no number; a picture of a kind that FFmpeg does not convert."""
    make_clip(tmp_path / "a.mkv", [0.0, 0.1, 0.2, 0.3])
    decode = VideoFile._decode

    class Odd:
        def __init__(self, picture: av.VideoFrame, index: int) -> None:
            self._picture, self.time = picture, float("nan") if index == 1 else picture.time
            self._broken = index == broken

        def __getattr__(self, name: str) -> object:
            return getattr(self._picture, name)

        def to_ndarray(self, **how: object) -> np.ndarray:
            if self._broken:
                raise av.error.OSError(95, "Operation not supported")
            return self._picture.to_ndarray(**how)

    monkeypatch.setattr(VideoFile, "_decode", lambda self: (Odd(p, i) for i, p in enumerate(decode(self))))
    monkeypatch.setattr(VideoFile, "close", lambda self: self._container.close())
    broken = 2
    with VideoFile(tmp_path / "a.mkv") as video:
        frames = list(video)
        np.testing.assert_allclose([f.pts for f in frames], [0, 1 / video.info.fps, 0.3])
        assert [f.index for f in frames] == [0, 1, 2]
        assert (video.counts.frames, video.counts.bad_packets) == (3, 1)
    broken = 0
    with pytest.raises(InputError, match=r"pictures that FFmpeg cannot convert \(Operation not supported\)"):
        VideoFile(tmp_path / "a.mkv")


@pytest.mark.parametrize(
    ("average", "guessed", "rate"),
    [(Fraction(-1000), Fraction(30), 30.0), (None, Fraction(24), 24.0), (Fraction(-1), None, 25.0), (0, 0, 25.0)],
)
def test_frame_rates_that_damage_has_made_nonsense_of(average: object, guessed: object, rate: float) -> None:
    assert frame_rate(SimpleNamespace(average_rate=average, guessed_rate=guessed)) == rate


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_a_closed_file_leaves_no_picture_to_the_collector(tmp_path: Path, frames: int) -> None:
    """A film that was opened again and again took 2 MB each time, until the collector came by chance."""
    clip = make_clip(tmp_path / "a.mkv", [i / 30 for i in range(5)])

    def pictures() -> dict[int, object]:
        # One without a format is the empty one that a decoder holds ready. Not isinstance, which asks the object:
        # norfair has some that answer with an error.
        return {id(o): o for o in gc.get_objects() if type(o) is av.VideoFrame and o.format}

    gc.collect()
    gc.disable()
    before = pictures()  # of other tests
    try:
        with VideoFile(clip) as video:
            assert len(list(itertools.islice(video, frames))) == frames
        left = pictures().keys() - before.keys()
    finally:
        gc.enable()
    assert not left
