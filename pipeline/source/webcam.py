"""A webcam through OpenCV, which knows every operating system's cameras; unplugged, it is waited for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from posepipe.errors import InputError
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts, SourceInfo
from posepipe.types import Frame

_WANTED = (1280, 720, 30.0)
_RETRY_SECONDS = 1.0
_GIVE_UP_SECONDS = 60.0
_BUSY_SECONDS = 10.0  # for another program to let go of a camera that is there


class Webcam:
    """A local camera: its number, or on Linux its device (/dev/video0). Asked for 1280 x 720 at 30 frames/s in MJPEG
    (over USB 2, uncompressed pictures of that size come at 10); takes what the camera gives.

    Frames are stamped when they come out of the driver: exposure and USB transfer are not in their age.
    A camera that stops giving pictures is opened again every second, for a minute; then it is an InputError.
    Raises InputError when there is none, it may not be opened, or stays busy for `busy_patience` seconds, in which it
    is tried every second; say gets a line when that begins. opener: makes the cv2.VideoCapture."""

    live = True

    def __init__(
        self,
        device: str,
        opener: Callable[[str], Any] | None = None,
        patience: float = _GIVE_UP_SECONDS,
        busy_patience: float = _BUSY_SECONDS,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self._device, self._opener, self._patience = device, opener or _open, patience
        self.trouble = ""
        self._reconnects = 0
        self._capture = self._opener(device)
        picture = self._first(busy_patience, say)
        fps = float(self._capture.get(cv2.CAP_PROP_FPS) or 0)
        name = f"webcam {device}"
        self.info = SourceInfo(name, name, picture.shape[1], picture.shape[0], fps if 1 <= fps <= 240 else _WANTED[2])

    @property
    def counts(self) -> SourceCounts:
        return SourceCounts(self._reconnects)

    def frames(self, gate: Gate) -> Iterator[Captured]:
        zero, index = time.monotonic(), 0
        size = (self.info.height, self.info.width)
        while not gate.stopped:
            picture = self._read()
            at = time.monotonic()
            if picture is None:
                if not self._wait_for_it(gate):
                    return
                continue
            image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            if image.shape[:2] != size:
                image = np.asarray(cv2.resize(image, size[::-1]), np.uint8)
            yield Captured(Frame(index, at - zero, image), at, time.monotonic() - at)
            index += 1

    def close(self) -> None:
        self._capture.release()

    def _first(self, patience: float, say: Callable[[str], None]) -> Any:
        """The first picture, as soon as nobody else uses the camera."""
        until, told = time.monotonic() + patience, False
        while (picture := self._read()) is None:
            self._capture.release()
            reason, fix = _why_not(self._device)
            if time.monotonic() + _RETRY_SECONDS > until or not _usable(self._device):
                raise InputError(reason, fix)
            if not told:
                say(f"{reason} {fix} Trying again for {patience:.0f} s.")
                told = True
            time.sleep(_RETRY_SECONDS)
            self._capture = self._opener(self._device)
        return picture

    def _read(self) -> Any:
        if not self._capture.isOpened():
            return None
        good, picture = self._capture.read()
        return picture if good and picture is not None and picture.size else None

    def _wait_for_it(self, gate: Gate) -> bool:
        """Until the camera gives pictures again; False when it is time to stop. Raises InputError out of patience."""
        lost = time.monotonic()
        self.trouble = f"The {self.info.name} gives no pictures, is it unplugged?"
        while time.monotonic() - lost < self._patience:
            self._capture.release()
            if gate.wait(_RETRY_SECONDS):
                return False
            self._capture = self._opener(self._device)
            if self._read() is not None:
                self.trouble = ""
                self._reconnects += 1
                return True
        raise InputError(
            f"The {self.info.name} has given no picture for {self._patience:.0f} s.", "Plug it in again and start anew."
        )


def _open(device: str) -> Any:
    number: int | str = int(device) if device.isdecimal() else device
    # Where there is no device file, OpenCV's own search only prints warnings.
    if sys.platform.startswith("linux") and not _path(device).exists():
        return cv2.VideoCapture()
    capture = cv2.VideoCapture(number, cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY)
    if capture.isOpened():
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        for option, value in zip(
            (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS), _WANTED, strict=True
        ):
            capture.set(option, value)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _path(device: str) -> Path:
    return Path(f"/dev/video{device}") if device.isdecimal() else Path(device)


def _usable(device: str) -> bool:
    """Whether the camera is there and ours to open, so that what is wrong with it may pass."""
    path = _path(device)
    return not sys.platform.startswith("linux") or (path.exists() and os.access(path, os.R_OK | os.W_OK))


def _why_not(device: str) -> tuple[str, str]:
    """What is wrong with a camera that gives no picture, and what to do."""
    path = _path(device)
    if not sys.platform.startswith("linux"):
        return (
            f"Camera {device} gives no picture.",
            "Is it plugged in, allowed by the system, and not in use?",
        )
    if not path.exists():
        others = sorted(p.name for p in Path("/dev").glob("video*"))
        known = f"There are: {', '.join(f'/dev/{o}' for o in others)}." if others else "No camera was found at all."
        return f"There is no camera {device} ({path} does not exist).", f"{known} Plug one in, or give a file or a URL."
    if not os.access(path, os.R_OK | os.W_OK):
        return f"{path} may not be opened by you.", "Run: sudo usermod -aG video $USER, and log in again."
    return (
        f"{path} is there, but gives no picture.",
        f"Is another program using it (fuser {path})? Some cameras have a second device without pictures: try it.",
    )
