"""A video file: every frame, in order, upright, at its own time.

PyAV and not OpenCV, because OpenCV stops at the first damaged packet without a word, and does not tell frame times.
"""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.hashing import file_sha256
from posepipe.pipeline.source.exif import exif_tags
from posepipe.pipeline.source.lens import Lens, lens_of
from posepipe.pipeline.source.truncation import is_cut
from posepipe.types import Frame

FALLBACK_FPS = 25.0  # what FFmpeg assumes for containers that say nothing


@dataclass(frozen=True)
class VideoInfo:
    """What is known before decoding. width, height: of the frames as delivered (upright, square pixels). fps: average
    over the file. frames: as the container says, or estimated from the duration, None where there is neither.
    duration: seconds, None if unknown. rotation: clockwise degrees (0, 90, 180, 270) by which the stored pictures are
    turned; mirrored: whether they are then flipped left to right. sha256: of the file's bytes, in hex. lens: what the
    file tells of it, None for most files."""

    width: int
    height: int
    fps: float
    frames: int | None
    duration: float | None
    codec: str
    rotation: int
    mirrored: bool
    sha256: str
    lens: Lens | None = None


@dataclass(frozen=True)
class DecodeCounts:
    """frames: delivered so far. corrupt: of these, flagged as damaged. bad_packets: that the decoder refused (their
    frames are missing; the times of the others show where). cut_short: the file ended in the middle of its data."""

    frames: int
    corrupt: int
    bad_packets: int
    cut_short: bool


@dataclass(frozen=True)
class _Orientation:
    """How a stored picture becomes an upright one: transposed first, then flipped."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.transpose:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.flip_x or self.flip_y:
            image = np.asarray(cv2.flip(image, -1 if self.flip_x and self.flip_y else int(self.flip_x)), np.uint8)
        return image

    @property
    def mirrored(self) -> bool:
        return self.transpose ^ self.flip_x ^ self.flip_y

    @property
    def rotation(self) -> int:
        """Clockwise degrees, before a mirroring left to right."""
        return (90 if not self.flip_y else 270) if self.transpose else (180 if self.flip_y else 0)


class VideoFile:
    """Decodes one video file. Iterate over it (once) for its frames; use it as a context manager, or close() it.

    threads: of the decoder. One is enough up to 1080p (2 ms a frame at 720p, where detection takes 10 to 20), keeps
    the other cores for the detector, and makes the repair of damaged pictures repeatable; 4K wants 2.
    Damage does not end the iteration: refused packets are skipped and counted, damaged pictures are delivered with
    corrupt=True. Should the picture size change midway, frames are fitted into the first size, with black borders.
    Raises InputError when the file is missing, a folder, empty, not a video, or has not one picture to decode.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path = Path(path)
        _check_is_file(self.path)
        try:
            # An absolute path cannot be taken for a protocol ("concat:a.mp4").
            self._container = av.open(os.path.abspath(self.path), metadata_errors="replace")
        except (FFmpegError, OSError) as error:
            raise _open_error(self.path, error) from None
        try:
            self._stream = _video_stream(self.path, self._container)
            self._stream.codec_context.thread_count = threads
            self._stream.thread_type = "AUTO" if threads > 1 else "SLICE"
            self._frames = self._corrupt = self._bad_packets = 0
            self._cut_short, self._lacks_its_end = False, is_cut(self.path)
            self._decoded = self._decode()
            first = next(self._decoded, None)
            if first is None:
                raise InputError(
                    f"{self.path} holds no picture that can be decoded.",
                    "It is probably cut short; copy or record it again.",
                )
            self._first: VideoFrame | None = first
            self._first_lingers = True
            self._orientation = _orientation(first)
            self._pixel_aspect = _pixel_aspect(self._stream)
            self._size: tuple[int, int] | None = None
            try:
                height, width = self._upright(first).shape[:2]
            except FFmpegError as error:
                raise InputError(
                    f"{self.path} holds pictures that FFmpeg cannot convert ({error.strerror}).",
                    "It is probably damaged; copy or record it again.",
                ) from None
            self._size = (width, height)
            self.info = self._describe(width, height)
            self._last_pts: float | None = None
        except BaseException as error:
            self._container.close()
            if isinstance(error, OSError):  # it has been there a moment ago
                raise _vanished(self.path, error) from None
            raise

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._decoded.close()
        self._container.close()
        self._forget_first()

    @property
    def counts(self) -> DecodeCounts:
        return DecodeCounts(self._frames, self._corrupt, self._bad_packets, self._cut_short or self._lacks_its_end)

    def __iter__(self) -> Iterator[Frame]:
        first, self._first = self._first, None
        if first is not None:
            yield self._frame(first)
            first = None
        for picture in self._decoded:
            self._forget_first()
            try:
                frame = self._frame(picture)
            except FFmpegError:  # damage has turned it into a kind of picture that nobody converts
                self._bad_packets += 1
                continue
            yield frame

    def _forget_first(self) -> None:
        """Its side data, looked at for the orientation, refers back to it (PyAV 18), so it waits for the collector with
        megabytes that the collector cannot see: two a file. It is still young, which makes looking for it cheap."""
        if self._first_lingers:
            self._first_lingers, self._first = False, None
            gc.collect(1)

    def _frame(self, picture: VideoFrame) -> Frame:
        image, pts = self._upright(picture), picture.time
        if pts is None or not math.isfinite(pts):
            pts = 0.0 if self._last_pts is None else self._last_pts + 1 / self.info.fps
        self._last_pts = float(pts)
        frame = Frame(self._frames, self._last_pts, image, bool(picture.is_corrupt))
        self._frames += 1
        self._corrupt += frame.corrupt
        return frame

    def _decode(self) -> Generator[VideoFrame, None, None]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError):
                self._cut_short, packet = True, None
            # PyAV's last packet is empty and makes the decoder hand over what it still holds; None does the same.
            last = packet is None or (packet.size == 0 and packet.dts is None)
            if packet is not None and not last:
                if packet.size == 0:  # an empty sample in the file, which the decoder would take for the end
                    continue
                self._cut_short = packet.is_corrupt  # of the last one, it says that the file ended inside it
            try:
                yield from self._stream.decode(packet)
            except FFmpegError:
                self._bad_packets += not last
            if last:
                return

    def _upright(self, picture: VideoFrame) -> NDArray[np.uint8]:
        width = max(1, round(picture.width * self._pixel_aspect))
        stored = np.asarray(picture.to_ndarray(format="rgb24", width=width, height=picture.height), np.uint8)
        image = self._orientation.apply(stored)
        if self._size is not None and image.shape[1::-1] != self._size:
            image = fit_picture(image, *self._size)
        return np.ascontiguousarray(image)

    def _describe(self, width: int, height: int) -> VideoInfo:
        stream = self._stream
        tags = {**self._container.metadata, **stream.metadata}
        if self._container.format.name.endswith(("_pipe", "image2")):  # FFmpeg's names for single pictures
            tags |= exif_tags(self.path)
        fps = frame_rate(stream)
        duration = None
        if stream.duration and stream.time_base:
            duration = float(stream.duration * stream.time_base)
        elif self._container.duration:
            duration = self._container.duration / av.time_base
        if duration is not None and not 0 < duration < math.inf:
            duration = None
        frames = stream.frames if stream.frames > 0 else round(duration * fps) if duration else None
        return VideoInfo(
            width,
            height,
            fps,
            frames,
            duration,
            stream.codec_context.name,
            self._orientation.rotation,
            self._orientation.mirrored,
            file_sha256(self.path),
            lens_of(tags, width, height),
        )


def _check_is_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder.", "Give one video file, or use: posepipe batch FOLDER.")
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file.", "Give a video file.")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes).", "Copy or record it again.")
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot look at {path} ({error}).", "Check the path and its permissions.") from None


def _vanished(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} could not be read to its end ({error.strerror}).", "Was it moved, or its disk taken out?"
    )


def _open_error(path: Path, error: Exception) -> InputError:
    if isinstance(error, PermissionError):
        return InputError(f"{path} cannot be read.", "Give yourself read permission (chmod +r).")
    if isinstance(error, FileNotFoundError):
        return _vanished(path, error)
    with suppress(OSError), open(path, "rb") as file:
        if file.read(12)[4:8] == b"ftyp":
            return InputError(
                f"{path} is an MP4 or MOV file whose index is missing.",
                "Its recording or copying was interrupted; copy or record it again.",
            )
    return InputError(f"{path} is not a video that FFmpeg can read.", "Give a video file such as MP4, MOV, MKV or AVI.")


def _video_stream(path: Path, container: av.container.InputContainer) -> VideoStream:
    if container.format.name == "tty":  # FFmpeg renders text files as if they were a terminal
        raise InputError(f"{path} is a text file.", "Give a video file such as MP4, MOV, MKV or AVI.")
    unknown = False
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:  # the cover picture of a song
            if stream.codec_context:
                return stream
            unknown = True
    if unknown:
        raise InputError(f"{path} is in a format of pictures that FFmpeg does not know.", "Convert it, e.g. to H.264.")
    raise InputError(f"{path} has no video in it, only sound or data.", "Give a file with a video stream.")


def _orientation(picture: VideoFrame) -> _Orientation:
    """From the container's display matrix (ISO 14496-12, §6.2.2): stored (x, y) is shown at (a x + c y, b x + d y)."""
    try:
        data: Any = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18.1 does not know FFmpeg 8's EXIF side data, and then shows none at all; turns are left
        turned = -round(picture.rotation / 90) % 4
        return _Orientation(turned % 2 == 1, flip_x=turned in (1, 2), flip_y=turned in (2, 3))
    if data is None:
        return _Orientation()
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5]
    if abs(int(b)) > abs(int(a)):
        return _Orientation(True, flip_x=bool(c < 0), flip_y=bool(b < 0))
    return _Orientation(False, flip_x=bool(a < 0), flip_y=bool(d < 0))


def frame_rate(stream: VideoStream) -> float:
    """Frames per second as the container says or FFmpeg guesses; damaged files have negative ones and worse."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < float(rate) < math.inf:
            return float(rate)
    return FALLBACK_FPS


def _pixel_aspect(stream: VideoStream) -> float:
    """Width of a stored pixel over its height; files that say nothing, or nonsense, have square ones."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return ratio if 0.2 < ratio < 5 else 1.0


def fit_picture(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale (h, w, 3) uint8 into width x height, with black borders where the shape differs."""
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_width, inner_height = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = cv2.resize(image, (inner_width, inner_height))
    return canvas
