"""Anti-aliased lines and discs at sub-pixel positions: what OpenCV's integer drawing calls need around them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_SHIFT = 4  # OpenCV takes coordinates as integers with this many fractional bits
_LIMIT = 1e5  # pixels; beyond it the integers would overflow, and nothing drawn there can be seen


def usable(points: NDArray) -> NDArray[np.bool_]:
    """(..., 2) pixels -> (...) whether the point is finite and near enough to the picture to be drawn."""
    with np.errstate(invalid="ignore"):
        return (np.abs(points) < _LIMIT).all(axis=-1)  # NaN compares false


def fixed(points: NDArray) -> NDArray[np.int32]:
    """(..., 2) usable pixels -> OpenCV's fixed point, the coordinates that the functions below take.

    A pixel's centre is at half-integers for posepipe.camera and at integers for OpenCV."""
    return np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int32)


def line(image: NDArray[np.uint8], a: NDArray, b: NDArray, colour: Sequence[float], thickness: int) -> None:
    """One line between fixed points a and b, with round ends, in place."""
    cv2.line(image, a.tolist(), b.tolist(), colour, thickness, cv2.LINE_AA, _SHIFT)


def lines(image: NDArray[np.uint8], segments: NDArray, colour: Sequence[float], thickness: int) -> None:
    """(N, 2, 2) fixed-point segments of one colour, in place."""
    cv2.polylines(image, list(segments), False, colour, thickness, cv2.LINE_AA, _SHIFT)


def disc(image: NDArray[np.uint8], centre: NDArray, radius: float, colour: Sequence[float]) -> None:
    """A filled circle around a fixed point, in place; radius in pixels."""
    cv2.circle(image, centre.tolist(), round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)
