"""The OpenCV window: the picture that the overlay video has, with what is going on written on it."""

from __future__ import annotations

import os

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import MissingDependencyError
from posepipe.pipeline.render.layout import compose
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.view.display import display_problem
from posepipe.pipeline.view.protocol import ViewFrame
from posepipe.pipeline.view.status import draw_status

_WIDEST = 1600  # pixels of the window when it opens; it can be dragged larger


class WindowViewer:
    """`--view window`."""

    name = "window"
    shows = True

    def __init__(self) -> None:
        self._title = ""
        self._sized = False
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

    def show(self, frame: ViewFrame) -> None:
        if not frame.repeated:
            self._ground = update_ground(self._ground, frame.tracks, frame.view)
        picture = picture_of(frame, self._ground)
        if not self._sized:
            self._sized = True
            height, width = picture.shape[:2]
            share = min(1.0, _WIDEST / width)
            cv2.resizeWindow(self._title, round(width * share), round(height * share))
        cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def keys(self) -> tuple[str, ...]:
        typed = []
        if self._title:
            while (code := cv2.pollKey()) not in (-1, 255):
                typed.append(chr(code & 0xFF))
            if self._sized and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                typed.append("q")
        return tuple(typed)

    def close(self) -> None:
        if self._title:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
            self._title, self._sized = "", False


def picture_of(frame: ViewFrame, ground: GroundState) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: what the window shows."""
    picture = compose(frame.frame.image, frame.tracks, frame.caption, frame.view, ground)
    draw_status(picture, frame.status)
    return picture
