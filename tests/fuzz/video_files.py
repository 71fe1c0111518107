"""Videos in the containers and codecs that people have, and what their reader has to hold."""

from __future__ import annotations

import itertools
import math
import random
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import ExifTags, Image

from posepipe.pipeline.batch_list import _has_picture
from posepipe.pipeline.source.file import VideoFile
from posepipe.pipeline.source.images import ImageSequence
from tests.fuzz.mutate import damage
from tests.fuzz.target import Seed, Target

_SIZE = (48, 32)
_FRAMES = 6
_MOST = 500  # frames read of a damaged file

# suffix -> codec, pixel format, container options
_FILES: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264.mp4": ("libx264", "yuv420p", {}),
    "fast.mp4": ("libx264", "yuv420p", {"movflags": "+faststart"}),
    "fragments.mp4": ("libx264", "yuv420p", {"movflags": "+frag_keyframe+empty_moov"}),
    "h264.mkv": ("libx264", "yuv420p", {}),
    "ffv1.mkv": ("ffv1", "bgr0", {}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {}),
    "mjpeg.mov": ("mjpeg", "yuvj420p", {}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", {}),
    "vp8.webm": ("libvpx", "yuv420p", {}),
    "picture.gif": ("gif", "rgb8", {}),
    "flash.flv": ("flv", "yuv420p", {}),
    "plain.h264": ("libx264", "yuv420p", {}),
}


def build(folder: Path) -> None:
    for name, (codec, pix_fmt, options) in _FILES.items():
        with av.open(str(folder / name), "w", options=options) as container:
            rate = 25 if codec in ("mpeg2video", "gif") else 30
            stream = container.add_stream(codec, rate=rate, options={"threads": "1", "g": "4"})
            stream.width, stream.height, stream.pix_fmt = *_SIZE, pix_fmt
            for index in range(_FRAMES):
                image = np.random.default_rng(index // 2).integers(0, 256, (_SIZE[1], _SIZE[0], 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
                frame.pts, frame.time_base = index, Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def boxes(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """An MP4 with the size, the name or the contents of one of its boxes changed."""
    found = list(_boxes(data, 0, len(data), 0))
    if not found:
        return damage(data, rng, others)
    out = bytearray(data)
    start, size = rng.choice(found)
    action = rng.randrange(5)
    if action == 0:
        struct.pack_into(">I", out, start, rng.choice((0, 1, 7, 8, 9, size - 1, size + 1, size * 2, 2**31, 2**32 - 1)))
    elif action == 1:
        out[start + 4 : start + 8] = rng.choice(
            (b"moov", b"trak", b"mdat", b"free", b"stsd", b"xxxx", b"uuid", b"\0" * 4)
        )
    elif action == 2:
        del out[start : start + size]
    elif action == 3:
        out[start:start] = data[start : start + size]
    else:
        inner = damage(data[start + 8 : start + size], rng, others)
        out[start + 8 : start + size] = inner
        struct.pack_into(">I", out, start, (len(inner) + 8) % 2**32)
    return bytes(out)


def _boxes(data: bytes, at: int, end: int, depth: int):  # type: ignore[no-untyped-def]
    while at + 8 <= end and depth < 8:
        size = struct.unpack_from(">I", data, at)[0]
        name = data[at + 4 : at + 8]
        if size < 8 or at + size > end or not name.isalnum():
            return
        yield at, size
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"moof", b"traf", b"mvex"):
            yield from _boxes(data, at + 8, at + size, depth + 1)
        at += size


def read(path: Path) -> None:
    with VideoFile(path) as video:
        info = video.info
        assert 0 < info.width <= 1 << 16
        assert 0 < info.height <= 1 << 16
        assert math.isfinite(info.fps)
        assert info.fps > 0
        assert info.frames is None or info.frames >= 0
        assert info.duration is None or math.isfinite(info.duration)
        seen = 0
        for frame in itertools.islice(video, _MOST):
            assert frame.index == seen
            assert frame.image.shape == (info.height, info.width, 3)
            assert frame.image.dtype == np.uint8
            assert math.isfinite(frame.pts)
            seen += 1
        counts = video.counts
        assert counts.frames == seen >= 1
        assert 0 <= counts.corrupt <= counts.frames


def looks(path: Path) -> None:
    assert _has_picture(path) in (True, False)


def seeds(folder: Path) -> tuple[Seed, ...]:
    known = []
    for name in _FILES:
        damages = (damage, boxes) if name.endswith((".mp4", ".mov")) else (damage,)
        known += [Seed(name, read, damages)] * 2
        known.append(Seed(name, looks, damages))
    return tuple(known)


VIDEO = Target(build, seeds)


def build_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, mode, more in (
        ("a/1.jpg", "RGB", {"exif": _exif()}), ("b/1.png", "RGBA", {}), ("c/1.png", "P", {}), ("d/1.webp", "RGB", {}),
        ("e/1.bmp", "RGB", {}), ("f/1.tif", "RGB", {"compression": "tiff_lzw"}), ("g/1.png", "L", {}),
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir()
        picture = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).convert(mode)
        picture.save(path, **more)  # type: ignore[arg-type]


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[0xA405] = 28
    return exif.tobytes()


def sequence(path: Path) -> None:
    with ImageSequence(path.parent) as images:
        for frame in images:
            assert frame.image.shape == (images.info.height, images.info.width, 3)
        assert images.counts.frames == 1


def image_seeds(folder: Path) -> tuple[Seed, ...]:
    return tuple(Seed(p.relative_to(folder).as_posix(), sequence) for p in sorted(folder.rglob("1.*")))


IMAGES = Target(build_images, image_seeds)
