"""Small text that stays readable: OpenCV's Hershey strokes drawn four times too large and averaged down."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.palette import TEXT, Colour

_OVERSAMPLE = 4
_CAP_HEIGHT = 21.0  # pixels of a Hershey simplex capital at font scale 1


@lru_cache(maxsize=512)
def _mask(text: str, size: float, weight: float) -> NDArray[np.float32]:
    """(h, w) coverage 0..1 of a line of text whose capitals are `size` pixels high; the baseline is 0.5 size above the
    bottom. Cached because captions hardly change between frames."""
    scale = size * _OVERSAMPLE / _CAP_HEIGHT
    stroke = max(1, round(weight * size * _OVERSAMPLE))
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
    cell_w = (width // _OVERSAMPLE + 3) * _OVERSAMPLE
    cell_h = int(np.ceil(size * 2)) * _OVERSAMPLE
    canvas = np.zeros((cell_h, cell_w), np.uint8)
    baseline = cell_h - round(size * 0.5 * _OVERSAMPLE)
    cv2.putText(canvas, text, (_OVERSAMPLE, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), stroke, cv2.LINE_AA)
    small = cv2.resize(canvas, (cell_w // _OVERSAMPLE, cell_h // _OVERSAMPLE), interpolation=cv2.INTER_AREA)
    coverage = small.astype(np.float32) / 255
    coverage.flags.writeable = False
    return coverage


def printable(text: str) -> str:
    """Hershey fonts hold ASCII only; anything else becomes '?'."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def text_width(text: str, size: float, weight: float = 0.13) -> int:
    """Width in pixels that draw_text takes for this text."""
    return _mask(printable(text), size, weight).shape[1] if text else 0


def draw_text(
    image: NDArray[np.uint8],
    text: str,
    at: tuple[float, float],
    size: float = 11,
    colour: Colour = TEXT,
    weight: float = 0.13,
    align: float = 0.0,
) -> int:
    """Write one line in place and return its width in pixels.

    at: (x, y) pixel of the baseline; align: 0 starts at x, 0.5 is centred on it, 1 ends there. size: height of a
    capital in pixels. weight: stroke as a share of size. What falls outside the image is cut off."""
    if not text:
        return 0
    coverage = _mask(printable(text), size, weight)
    height, width = coverage.shape
    x = round(at[0] - align * width)
    y = round(at[1] + size * 0.5) - height
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, image.shape[1]), min(y + height, image.shape[0])
    if x0 < x1 and y0 < y1:
        region = image[y0:y1, x0:x1]
        share = coverage[y0 - y : y1 - y, x0 - x : x1 - x, None]
        region[:] = (region + share * (np.asarray(colour, np.float32) - region) + 0.5).astype(np.uint8)
    return width


def draw_plate(image: NDArray[np.uint8], box: tuple[int, int, int, int], opacity: float = 0.6) -> None:
    """Darken the box (x0, y0, x1, y1) in place so that text on it can be read whatever is behind."""
    x0, y0, x1, y1 = max(box[0], 0), max(box[1], 0), min(box[2], image.shape[1]), min(box[3], image.shape[0])
    if x0 < x1 and y0 < y1:
        image[y0:y1, x0:x1] = cv2.convertScaleAbs(image[y0:y1, x0:x1], alpha=1 - opacity)
