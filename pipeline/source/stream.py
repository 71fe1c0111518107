"""A camera on the network (RTSP, HTTP, RTMP, UDP ...) through PyAV, which comes back when the connection does.

PyAV and not OpenCV, whose reads may hang for ever and whose corrupt pictures look like good ones.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.pipeline.source.file import FALLBACK_FPS, fit_picture, frame_rate
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts, SourceInfo
from posepipe.pipeline.source.stream_address import reachable, redacted
from posepipe.pipeline.source.stream_clock import ArrivalClock
from posepipe.types import Frame

_OPEN_SECONDS = 5.0
_SILENCE_SECONDS = 4.0  # without a picture, the connection counts as lost
_BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_PROBE_SECONDS = 0.5  # how often a host that was away is asked whether it is back
_LATE_SECONDS, _CAUGHT_UP_SECONDS = 1.0, 0.3  # behind by so much, only key frames are decoded, until it is so little
_OPTIONS = {
    "rtsp_transport": "tcp",  # UDP loses packets without saying so
    "fflags": "nobuffer",
    "flags": "low_delay",
    "analyzeduration": "1000000",
    "probesize": "500000",
}


class StreamSource:
    """A stream by its URL. The first connection is made here, and a failure is an InputError; a connection that is
    lost later is made again, for as long as it takes: after 1, 2, 4 ... 30 s, and at once when the host, which is asked
    twice a second, answers again. A stream with an end (a video file on a web server) is played in real time, once.

    Where decoding is slower than the camera, whole groups of pictures are skipped (and counted) rather than that the
    picture gets older and older. Frame times are of our own clock, since a stream's start anew with every connection.
    Credentials in the URL are shown nowhere. Should the picture's size change, frames are fitted into the first one's.
    """

    live = True

    def __init__(self, url: str, open_timeout: float = _OPEN_SECONDS, silence: float = _SILENCE_SECONDS) -> None:
        self._url, self._timeout, self._silence = url, (open_timeout, silence), silence
        self.trouble = ""
        self._reconnects = self._bad_packets = self._skipped = self._index = 0
        self._catching_up = False
        self._began: float | None = None
        name = redacted(url)
        try:
            self._container = self._connect()
            first = next(self._pictures(self._container), None)
        except (FFmpegError, OSError, ValueError) as error:
            raise _open_error(name, error) from None
        if first is None:
            self._container.close()
            raise InputError(f"{name} sends no picture.", "Is there video in it? Try it in another player.")
        stream = self._container.streams.video[0]
        fps = frame_rate(stream)
        fps = fps if 1 <= fps <= 240 else FALLBACK_FPS
        self.info = SourceInfo(name, name, first[0].width, first[0].height, fps)
        # Live streams have no duration.
        self._ends = bool(self._container.duration and self._container.duration > 0)

    @property
    def counts(self) -> SourceCounts:
        return SourceCounts(self._reconnects, self._bad_packets, self._skipped)

    def frames(self, gate: Gate) -> Iterator[Captured]:
        while not gate.stopped:
            clock, self._catching_up = ArrivalClock(self._ends), False
            with suppress(FFmpegError, OSError):  # lost, whatever the reason: try again below
                for picture, arrived, cost in self._pictures(self._container):
                    if gate.stopped:
                        return
                    self.trouble = ""
                    at = clock.taken(picture.time, arrived)
                    if self._ends and gate.wait(at - time.monotonic()):
                        return
                    late = time.monotonic() - at
                    self._catching_up = late > (_CAUGHT_UP_SECONDS if self._catching_up else _LATE_SECONDS)
                    yield self._captured(picture, at, cost)
                if self._ends:
                    return
            self._container.close()
            if not self._reconnect(gate):
                return

    def close(self) -> None:
        self._container.close()

    def _connect(self) -> av.container.InputContainer:
        container = av.open(self._url, options=_OPTIONS, timeout=self._timeout, metadata_errors="replace")
        for stream in container.streams.video:
            stream.codec_context.thread_count = 1  # frame threads would hold pictures back
        return container

    def _pictures(self, container: av.container.InputContainer) -> Iterator[tuple[VideoFrame, float, float]]:
        """Pictures with the moment at which their packet arrived and the seconds spent decoding.

        Ends or raises when the connection is gone; raises TimeoutError when packets come but no picture does."""
        if not container.streams.video:
            raise ValueError("it holds no video")
        stream = container.streams.video[0]
        last = time.monotonic()
        for packet in container.demux(stream):
            arrived = time.monotonic()
            if self._catching_up and not packet.is_keyframe:
                self._skipped += 1
                last = arrived
                continue
            try:
                pictures = stream.decode(packet) if packet.size else []
            except FFmpegError:
                self._bad_packets += 1
                pictures = []
            for picture in pictures:
                last = time.monotonic()
                yield picture, arrived, last - arrived
            if arrived - last > self._silence:
                raise TimeoutError

    def _captured(self, picture: VideoFrame, at: float, cost: float) -> Captured:
        start = time.monotonic()
        image: NDArray[np.uint8] = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
        if image.shape[1::-1] != (self.info.width, self.info.height):
            image = fit_picture(image, self.info.width, self.info.height)
        if self._began is None:
            self._began = at
        frame = Frame(self._index, at - self._began, image, bool(picture.is_corrupt))
        self._index += 1
        return Captured(frame, at, cost + time.monotonic() - start)

    def _reconnect(self, gate: Gate) -> bool:
        """Try until there is a picture again; False when it is time to stop."""
        dice = random.Random()
        attempt, was_away = 0, False
        while not gate.stopped:
            delay = _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)] * dice.uniform(0.85, 1.0)
            self.trouble = f"Connection to {self.info.name} lost, trying again"
            until = time.monotonic() + delay
            while (left := until - time.monotonic()) > 0:
                if gate.wait(min(left, _PROBE_SECONDS)):
                    return False
                answers = reachable(self._url)
                if answers and was_away:
                    attempt = 0
                    break
                was_away = answers is False
            attempt += 1
            try:
                container = self._connect()
            except (FFmpegError, OSError, ValueError):
                continue
            if not container.streams.video:
                container.close()
                continue
            self._container = container
            self._reconnects += 1
            return True
        return False


def _open_error(name: str, error: Exception) -> InputError:
    """FFmpeg's messages hold the URL, so only its kind of error is repeated."""
    kind = type(error).__name__
    if kind in ("HTTPUnauthorizedError", "HTTPForbiddenError"):
        return InputError(
            f"{name} refuses us (it wants a user name and password, or other ones).",
            "Give them in the address: rtsp://USER:PASSWORD@HOST/...",
        )
    if kind == "HTTPNotFoundError":
        return InputError(f"{name} does not exist on that server (404).", "Check the path in the address.")
    if isinstance(error, TimeoutError) or kind == "ExitError":
        return InputError(f"{name} does not answer in time.", "Is the camera on, and reachable from here?")
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return InputError(f"{name} cannot be opened ({redacted(reason)}).", "Is the camera on, and the address right?")
