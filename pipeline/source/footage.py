"""What lies on a disk and gives frames: a video file, or a folder of numbered images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from posepipe.hashing import file_sha256
from posepipe.pipeline.source.file import DecodeCounts, VideoFile, VideoInfo
from posepipe.types import Frame


class Footage(Protocol):
    """`VideoFile` or `ImageSequence`: iterate over it once, use it as a context manager."""

    @property
    def info(self) -> VideoInfo: ...

    @property
    def counts(self) -> DecodeCounts: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def __enter__(self) -> Footage: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None: ...


def open_footage(path: str | Path, image_fps: float | None = None) -> Footage:
    """A folder as an `ImageSequence` of image_fps pictures a second (None: its default), anything else as a
    `VideoFile`, which knows its own times. Raises InputError as they do."""
    if Path(path).is_dir():
        from posepipe.pipeline.source.images import DEFAULT_FPS, ImageSequence

        return ImageSequence(path, DEFAULT_FPS if image_fps is None else image_fps)
    return VideoFile(path)


def footage_sha256(path: Path) -> str:
    """What identifies the input: of a file's bytes, or of a sequence's names and bytes. Raises OSError, InputError."""
    if path.is_dir():
        from posepipe.pipeline.source.images import sequence_sha256

        return sequence_sha256(path)
    return file_sha256(path)


def name_of(path: Path) -> str:
    """The name of a file or folder, also of `.` and `..`."""
    return path.name if path.name not in ("", "..") else path.resolve().name


def stem_of(path: Path) -> str:
    """What results are called: a file's name without its suffix, a folder's whole name (walk.v2 stays walk.v2)."""
    return name_of(path) if path.is_dir() else path.stem
