"""The overlay video: H.264 in MP4 that every browser plays, with the time stamps of the source."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from posepipe.errors import OutputError
from posepipe.pipeline.sink.atomic import atomic_path, output_error

_TICKS = 90_000  # per second; the clock of MPEG, in which 23.976, 25, 30 and 60 frames per second are exact
_BT601 = 6  # SMPTE 170M: the matrix with which OpenCV makes YUV, written into the file so that colours come back
_LIMITED_RANGE = 1

# Fragments while it is being written (a killed run leaves a video that plays up to the last second), turned into an
# ordinary, seekable MP4 when it is closed.
_MP4 = {"movflags": "+frag_keyframe+default_base_moof+hybrid_fragmented", "fflags": "+bitexact+flush_packets"}


class VideoWriter:
    """Writes one H.264 video (yuv420p, avc1), frame by frame; the same frames give the same bytes.

    width, height: of the images, in pixels; odd sizes are padded by one repeated column or row, since H.264 in
    yuv420p has even ones. fps: how often a picture is expected; times themselves come with each frame. crf: quality,
    0 (lossless) to 51. preset: x264's speed. threads: of the encoder; another number gives other bytes.
    Defaults by measurement on one core, 1440 x 1280: ultrafast 7 ms and 43 KB a frame, superfast 10 ms and 24 KB,
    veryfast 16 ms and 19 KB, at about the same quality (35 dB).

    Use as a context manager: the file appears under its final name when the block ends without an exception, and not
    at all otherwise. Raises OutputError when it cannot be written.
    """

    def __init__(
        self,
        final_path: str | Path,
        width: int,
        height: int,
        fps: float = 30.0,
        *,
        crf: int = 23,
        preset: str = "ultrafast",
        threads: int = 1,
    ) -> None:
        self._path = Path(final_path)
        self._width, self._height = width, height
        self._fps = fps if math.isfinite(fps) and fps > 0 else 30.0
        self._options = {"preset": preset, "crf": str(crf), "tune": "zerolatency", "threads": str(threads)}
        self._start: float | None = None
        self._last_tick = -1
        self._stack = ExitStack()

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            try:
                self._container = av.open(str(temporary.absolute()), "w", format="mp4", options=_MP4)
                stack.push(self._finish)
                self._stream = self._container.add_stream(
                    "libx264", rate=Fraction(self._fps).limit_denominator(1001), options=self._options
                )
            except (FFmpegError, OSError) as error:
                raise output_error(self._path, error) from error
            self._stream.width, self._stream.height = self._width + self._width % 2, self._height + self._height % 2
            self._stream.pix_fmt = "yuv420p"
            context = self._stream.codec_context
            context.time_base = self._stream.time_base = Fraction(1, _TICKS)
            context.gop_size = max(1, round(self._fps))  # one second: all that a killed run loses
            context.colorspace = context.color_primaries = context.color_trc = _BT601
            context.color_range = _LIMITED_RANGE
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def write(self, image: NDArray[np.uint8], pts: float) -> None:
        """Append an image, (height, width, 3) uint8 RGB, shown from pts (seconds; the first frame is the zero of the
        video). A time that does not advance, or is not finite, is moved to just after the frame before it."""
        if image.shape != (self._height, self._width, 3):
            raise ValueError(f"image must be ({self._height}, {self._width}, 3), not {image.shape}")
        if self._height % 2 or self._width % 2:
            image = np.pad(image, ((0, self._height % 2), (0, self._width % 2), (0, 0)), mode="edge")
        # OpenCV makes YUV five times faster than swscale (0.8 against 4.4 ms at 1440 x 1280).
        yuv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts, frame.time_base = self._tick(pts), Fraction(1, _TICKS)
        self._encode(frame)

    def _tick(self, pts: float) -> int:
        if not math.isfinite(pts):
            tick = self._last_tick + round(_TICKS / self._fps)
        else:
            if self._start is None:
                self._start = pts
            tick = round((pts - self._start) * _TICKS)
        self._last_tick = max(tick, self._last_tick + 1)
        return self._last_tick

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (FFmpegError, OSError) as error:
            raise output_error(self._path, error) from error

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or self._last_tick < 0:
            with suppress(FFmpegError, OSError):  # what went wrong before is what the caller hears about
                self._container.close()
            if kind is None:
                raise OutputError(f"Cannot write {self._path} (there was not one frame).")
            return
        self._encode(None)
        try:
            self._container.close()
        except (FFmpegError, OSError) as failure:
            raise output_error(self._path, failure) from failure
