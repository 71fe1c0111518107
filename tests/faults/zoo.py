"""Videos as they should not be, and what has to become of each in a batch."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from posepipe.pipeline.film import film
from posepipe.pipeline.source.actor import ActorScene

FAILED, PARTIAL, OK = "failed", "partial", "ok"
ANY = (OK, PARTIAL, FAILED, "no person")
SEEN = (OK, "no person")


def remux(source: Path, path: Path, options: dict[str, str] | None = None, rotate: int | None = None) -> Path:
    """The same pictures in the container that the suffix says."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=options or {}) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    if rotate is not None:
        turned(path)
    return path


def turned(path: Path) -> None:
    """Write a display matrix of 90 degrees into an MP4's track header (ISO 14496-12, §8.3.2)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 20 + 16
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, start, *matrix)
    path.write_bytes(data)


def clip(path: Path, times: Sequence[float], size: tuple[int, int], codec: str = "libx264") -> Path:
    """A film of noise at these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"threads": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 90_000)
        for index, pts in enumerate(times):
            image = np.random.default_rng(index).integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 3), np.uint8)
            image = np.kron(image, np.ones((8, 8, 1), np.uint8))[: size[1], : size[0]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                format=stream.pix_fmt
            )
            frame.pts, frame.time_base = round(pts * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def zeroed(data: bytes, start: float, length: float) -> bytes:
    out = bytearray(data)
    first, count = int(len(out) * start), int(len(out) * length)
    out[first : first + count] = bytes(count)
    return bytes(out)


def flipped(data: bytes, count: int, seed: int) -> bytes:
    rng, out = random.Random(seed), bytearray(data)
    for _ in range(count):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def build(folder: Path) -> dict[str, tuple[str, ...]]:
    """Write the zoo; name -> the statuses of a manifest that are right for it."""
    folder.mkdir(parents=True)
    good = folder / "good.mp4"
    film((ActorScene("wave", 12 / 15, 15, 160, 160, 55, yaw_deg=20),), good)
    fast = remux(good, folder / "fast.mp4", {"movflags": "+faststart"})
    whole, index_first = good.read_bytes(), fast.read_bytes()
    expected: dict[str, tuple[str, ...]] = {"good.mp4": (OK,), "fast.mp4": (OK,)}

    def put(name: str, data: bytes, *statuses: str) -> None:
        (folder / name).write_bytes(data)
        expected[name] = statuses

    put("empty.mp4", b"", FAILED)
    put("text.mp4", b"this is not a video\n" * 100, FAILED)
    put("half.mp4", whole[: len(whole) // 2], FAILED)  # its index, at the end, is gone
    put("most.mp4", whole[: len(whole) * 9 // 10], *ANY)
    put("fast-half.mp4", index_first[: len(index_first) // 2], PARTIAL)
    put("fast-most.mp4", index_first[: len(index_first) * 9 // 10], PARTIAL)
    put("zeroed.mp4", zeroed(index_first, 0.5, 0.2), PARTIAL)
    for count in (20, 400):
        put(f"flips-{count}.mp4", flipped(index_first, count, count), *ANY)
    matroska = remux(good, folder / "matroska.mkv")
    expected["matroska.mkv"] = (OK,)
    put("matroska-half.mkv", matroska.read_bytes()[: matroska.stat().st_size // 2], PARTIAL)
    with av.open(str(folder / "no-frames.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width = stream.height = 64
        container.start_encoding()
    expected["no-frames.avi"] = (FAILED,)
    clip(folder / "one-frame.mp4", [0], (160, 120))
    clip(folder / "odd.mp4", [0, 0.1], (63, 47))
    clip(folder / "uneven.mp4", [0, 0.01, 0.5, 0.52, 2.0], (160, 120))
    clip(folder / "4k.mp4", [0, 1 / 30], (3840, 2160))
    for name in ("one-frame.mp4", "odd.mp4", "uneven.mp4", "4k.mp4"):
        expected[name] = SEEN
    remux(good, folder / "turned.mp4", rotate=90)
    expected["turned.mp4"] = ANY[:1] + ANY[3:]
    sound(folder / "sound.mp4")
    expected["sound.mp4"] = (FAILED,)
    shutil.copy(good, folder / "Ünïcode 踊り \U0001f483.mp4")
    expected["Ünïcode 踊り \U0001f483.mp4"] = (OK,)
    return expected
