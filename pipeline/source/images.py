"""A folder of numbered images as a video: natural order, evenly spaced in time, upright.

Pillow and not OpenCV, because OpenCV hands over half a picture of a file that was cut short without a word.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from posepipe.errors import InputError
from posepipe.hashing import file_sha256
from posepipe.pipeline.source.exif import exif_tags
from posepipe.pipeline.source.file import DecodeCounts, VideoInfo, fit_picture
from posepipe.pipeline.source.lens import lens_of
from posepipe.types import Frame

IMAGE_SUFFIXES = frozenset(
    [".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"]
)
DEFAULT_FPS = 25.0  # what FFmpeg gives a sequence of pictures that says nothing
_DIGITS = re.compile(r"(\d+)")


def numbered_images(folder: Path) -> tuple[Path, ...]:
    """The images of a folder whose names hold a number, in natural order (2 before 10); hidden files are left out.

    Others (cover.jpg) have no place in the order. Raises InputError for a folder that cannot be read."""
    try:
        with os.scandir(folder) as listing:
            names = [e.name for e in listing if is_numbered_image(e.name) and e.is_file()]
    except OSError as error:
        raise InputError(f"Cannot look into {folder} ({error.strerror}).", "Check its permissions.") from None
    return tuple(folder / name for name in sorted(names, key=natural))


def is_numbered_image(name: str) -> bool:
    """Whether a file of this name may be a picture of a sequence."""
    stem, suffix = os.path.splitext(name)
    return not name.startswith(".") and suffix.lower() in IMAGE_SUFFIXES and bool(_DIGITS.search(stem))


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """What to sort file names by, so that 2 comes before 10."""
    parts = _DIGITS.split(name.casefold())
    return [(int(p), "") if i % 2 else (0, p) for i, p in enumerate(parts)], name


def sequence_sha256(folder: Path) -> str:
    """Hex SHA-256 over the names and the bytes of a sequence's images, in order. Raises OSError, InputError."""
    digest = hashlib.sha256()
    for path in numbered_images(folder):
        digest.update(os.fsencode(path.name) + b"\0" + file_sha256(path).encode() + b"\n")
    return digest.hexdigest()


class ImageSequence:
    """The numbered images of a folder; iterate over it (once), with the manners of `VideoFile`.

    Image k of the list has the time k / fps, whatever its number. EXIF orientation is applied; images of another size
    than the first are fitted into it, with black borders. One that cannot be decoded whole is left out and counted
    (bad_packets); the times of the others show where. Raises InputError when there are none, or not one that decodes.
    """

    def __init__(self, folder: str | Path, fps: float = DEFAULT_FPS) -> None:
        self.path = Path(folder)
        self._images = numbered_images(self.path)
        if not self._images:
            raise InputError(
                f"There are no numbered images in {self.path}.",
                "For a folder of videos use: posepipe batch FOLDER -o DIR.",
            )
        self._delivered = self._bad = 0
        self._fps = fps
        self._decoded = self._decode()
        self._size: tuple[int, int] | None = None
        self._first = next(self._decoded, None)
        if self._first is None:
            raise InputError(
                f"None of the {len(self._images)} images in {self.path} can be decoded.", "Copy or make them again."
            )
        height, width = self._first[1].shape[:2]
        self._size = (width, height)
        duration = len(self._images) / fps
        try:
            digest = sequence_sha256(self.path)
        except OSError as error:
            raise InputError(f"Cannot read {error.filename} ({error.strerror}).", "Check its permissions.") from None
        codec = self._images[0].suffix[1:].lower()
        lens = lens_of(exif_tags(self._images[self._first[0]]), width, height)
        self.info = VideoInfo(width, height, fps, len(self._images), duration, codec, 0, False, digest, lens)

    def __enter__(self) -> ImageSequence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop; a second call does nothing."""
        self._decoded.close()

    @property
    def counts(self) -> DecodeCounts:
        return DecodeCounts(self._delivered, 0, self._bad, False)

    def __iter__(self) -> Iterator[Frame]:
        first, self._first = self._first, None
        if first is not None:
            yield self._frame(*first)
        for position, image in self._decoded:
            yield self._frame(position, image)

    def _frame(self, position: int, image: NDArray[np.uint8]) -> Frame:
        if self._size is not None and image.shape[1::-1] != self._size:
            image = fit_picture(image, *self._size)
        self._delivered += 1
        return Frame(self._delivered - 1, position / self._fps, image)

    def _decode(self) -> Generator[tuple[int, NDArray[np.uint8]], None, None]:
        for position, path in enumerate(self._images):
            image = read_image(path)
            if image is None:
                self._bad += 1
            else:
                yield position, image


def read_image(path: Path) -> NDArray[np.uint8] | None:
    """An image file as (h, w, 3) uint8 RGB, upright; None when it is damaged, cut short, too large or no image."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I") or image.mode == "F":  # 16 bits of grey, which convert() would clip
                deep = np.asarray(image, np.float64)
                grey = np.clip(deep / 257 if deep.max(initial=0) > 255 else deep, 0, 255)
                image = Image.fromarray(grey.astype(np.uint8))
            return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8))
    except Exception:  # noqa: BLE001 - decoders meet damaged bytes with all kinds of errors; the picture is left out
        return None
