"""The OpenCV window: the picture that the overlay video has, with what is going on written on it."""

from __future__ import annotations

import os
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import MissingDependencyError
from posepipe.pipeline.render.layout import compose, picture_size
from posepipe.pipeline.render.palette import BACKGROUND_BOTTOM, TEXT, TEXT_QUIET
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.text import draw_text
from posepipe.pipeline.view.display import display_problem
from posepipe.pipeline.view.protocol import ViewFrame
from posepipe.pipeline.view.status import draw_status

_WIDEST = 1600  # pixels of the window when it opens; it can be dragged larger
_LOWEST, _HIGHEST = 360, 1080  # pixels of the picture that is drawn; a window beyond that is left to Qt's scaling
_START = (540, 960)  # height and width of the window before the first picture
_LOOK_EVERY = 8  # frames between two looks at the window's size


class WindowViewer:
    """`--view window`. The picture is drawn at the size that the window has: small text stays sharp, and a small window
    costs less."""

    name = "window"
    shows = True

    def __init__(self) -> None:
        self._title = ""
        self._height = 0  # pixels of the picture, 0 before the first one
        self._shown = 0
        self._ground = GroundState()

    def open(self, title: str) -> None:
        problem = display_problem()
        if problem:
            raise MissingDependencyError(f"No window can be opened: {problem}.", "Use --view none, or rerun.")
        # OpenCV's wheel holds no fonts; without this, Qt complains about it on the terminal.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error:
            raise MissingDependencyError(
                "This OpenCV was built without windows (opencv-python-headless).",
                "Run: pip uninstall opencv-python-headless && pip install opencv-contrib-python==4.11.0.86",
            ) from None
        self._title = title
        cv2.resizeWindow(title, *_START[::-1])
        cv2.imshow(title, _first_picture(title))
        cv2.pollKey()

    def show(self, frame: ViewFrame) -> None:
        if not frame.repeated:
            self._ground = update_ground(self._ground, frame.tracks, frame.view)
        first = not self._height
        if first or self._shown % _LOOK_EVERY == 0:
            self._height = self._wanted_height(frame)
        self._shown += 1
        picture = picture_of(replace(frame, view=replace(frame.view, height=self._height)), self._ground)
        if first:
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
        cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _wanted_height(self, frame: ViewFrame) -> int:
        """Pixels of the picture that just fits into the window; of one of _WIDEST while there is none."""
        image = frame.frame.image
        width, height = picture_size(image.shape[1], image.shape[0], frame.view)
        room = (_WIDEST, frame.view.height)
        if self._height:
            room = cv2.getWindowImageRect(self._title)[2:]
            if min(room) < 50:  # minimised, or not yet known
                return self._height
        fits = min(room[1], room[0] * height / width)
        return 2 * round(min(max(fits, _LOWEST), _HIGHEST) / 2)

    def keys(self) -> tuple[str, ...]:
        typed = []
        if self._title:
            while (code := cv2.pollKey()) not in (-1, 255):
                typed.append(chr(code & 0xFF))
            if self._height and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                typed.append("q")
        return tuple(typed)

    def close(self) -> None:
        if self._title:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
            self._title, self._height = "", 0


def _first_picture(title: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: what stands there while detector and lifter load, which takes seconds."""
    picture = np.full((*_START, 3), BACKGROUND_BOTTOM[::-1], np.uint8)
    middle = (_START[1] / 2, _START[0] / 2)
    draw_text(picture, title, (middle[0], middle[1] - 16), 16, TEXT, align=0.5)
    draw_text(picture, "loading the detector and the lifter", (middle[0], middle[1] + 22), 11, TEXT_QUIET, align=0.5)
    return picture


def picture_of(frame: ViewFrame, ground: GroundState) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: what the window shows."""
    picture = compose(frame.frame.image, frame.tracks, frame.caption, frame.view, ground)
    draw_status(picture, frame.status)
    return picture
