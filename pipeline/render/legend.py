"""What is written on the pictures: a title for each half, the legend, the colour bar, and the message when empty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.palette import (
    CENTRE,
    LEFT,
    RIGHT,
    STD_HIGH,
    STD_LOW,
    TEXT,
    TEXT_QUIET,
    uncertainty_colours,
)
from posepipe.pipeline.render.text import draw_plate, draw_text, text_width

_MARGIN = 18
_SMALL = 9.5  # height of a capital in the quiet lines
_BAR_WIDTH, _BAR_HEIGHT = 130, 8


@dataclass(frozen=True)
class Caption:
    """What the picture says about its own making.

    fps: of the source's pictures, or with `live` of the whole way as measured; 0 or NaN leaves it out.
    pts: seconds on the source's clock; NaN leaves it out. The rest are names to print."""

    fps: float
    lifter: str
    hypotheses: int
    detector: str
    backend: str
    pts: float = math.nan
    live: bool = False


def clock(pts: float) -> str:
    """12.345 s -> '0:12.35'; '' when unknown."""
    if not math.isfinite(pts):
        return ""
    hundredths = round(abs(pts) * 100)
    minutes, rest = divmod(hundredths, 6000)
    return f"{'-' if pts < 0 else ''}{minutes}:{rest // 100:02d}.{rest % 100:02d}"


def title_frame(image: NDArray[np.uint8], caption: Caption) -> None:
    """On the video: what is shown, by which detector, and the time; on plates, since anything may be behind."""
    x = _plated(image, "2D", caption.detector, 12, left=True)
    time = clock(caption.pts)
    if time and x + text_width(time, 10) + 30 < image.shape[1]:
        _plated(image, time, "", 12, left=False)


def _plated(image: NDArray[np.uint8], strong: str, quiet: str, margin: int, left: bool) -> int:
    """A title on a dark plate in a top corner; returns the x where it ends."""
    first, second = text_width(strong, 11), text_width(quiet, 10)
    width = first + second + (6 if quiet else 0) + 14
    x = margin if left else image.shape[1] - margin - width
    draw_plate(image, (x, margin, x + width, margin + 28))
    draw_text(image, strong, (x + 7, margin + 20), 11, TEXT, weight=0.16)
    draw_text(image, quiet, (x + 13 + first, margin + 20), 10, TEXT)
    return x + width


def title_view(image: NDArray[np.uint8], caption: Caption, yaw_deg: float) -> None:
    """On the 3D view: lifter, number of hypotheses and the view's turn on the left, speed and backend on the right."""
    width = image.shape[1]
    right = width - _MARGIN
    speed = math.isfinite(caption.fps) and caption.fps > 0
    cost = f"{1000 / caption.fps:.0f} ms/frame  " if speed and caption.live else ""
    second = cost + caption.backend
    if speed:
        draw_text(image, f"{caption.fps:.1f} fps" + ("" if caption.live else " video"), (right, 34), 13, TEXT, align=1)
    x = _MARGIN + draw_text(image, "3D", (_MARGIN, 34), 13, TEXT, weight=0.17) + 8
    draw_text(image, caption.lifter, (x, 34), 13, TEXT)
    plural = "hypothesis" if caption.hypotheses == 1 else "hypotheses"
    first = f"{caption.hypotheses} {plural}"
    turned = f"{first}, view turned {abs(yaw_deg):.0f} deg" if round(yaw_deg) else first
    room = width - 3 * _MARGIN - text_width(second, _SMALL)
    draw_text(image, turned if text_width(turned, _SMALL) <= room else first, (_MARGIN, 56), _SMALL, TEXT_QUIET)
    draw_text(image, second, (right, 56), _SMALL, TEXT_QUIET, align=1)


def draw_legend(image: NDArray[np.uint8]) -> None:
    """Along the bottom of the 3D view: left and right, fan and aggregate, and the uncertainty bar."""
    y = image.shape[0] - 22
    x = _MARGIN
    for colour, name in ((LEFT, "left"), (RIGHT, "right")):
        cv2.line(image, (x, y - 5), (x + 16, y - 5), colour, 4, cv2.LINE_AA)
        x += 22 + draw_text(image, name, (x + 24, y), _SMALL, TEXT_QUIET) + 16
    quiet = tuple(int(c * 0.55) for c in CENTRE)
    for rise in (0, 4, 8):
        cv2.line(image, (x, y - 5 + 4 - rise // 2), (x + 18, y - 5 - rise + 4), quiet, 1, cv2.LINE_AA)
    draw_text(image, "hypotheses", (x + 26, y), _SMALL, TEXT_QUIET)
    _bar(image, image.shape[1] - _MARGIN, y)


def _bar(image: NDArray[np.uint8], right: int, y: int) -> None:
    """The uncertainty ramp with its two ends named, ending at x = right."""
    high = f"{STD_HIGH * 100:.0f} cm"
    right -= draw_text(image, high, (right, y), _SMALL, TEXT_QUIET, align=1) + 6
    left = right - _BAR_WIDTH
    ramp = uncertainty_colours(np.linspace(STD_LOW, STD_HIGH, _BAR_WIDTH))
    image[y - 5 - _BAR_HEIGHT // 2 : y - 5 + _BAR_HEIGHT // 2, left:right] = ramp[None]
    draw_text(image, f"{STD_LOW * 100:.0f} cm", (left - 6, y), _SMALL, TEXT_QUIET, align=1)
    draw_text(image, "joint uncertainty", (left, y - 20), _SMALL, TEXT_QUIET)


def draw_message(image: NDArray[np.uint8], text: str) -> None:
    """One line in the middle of the 3D view."""
    draw_text(image, text, (image.shape[1] / 2, image.shape[0] * 0.46), 15, TEXT_QUIET, align=0.5)
