"""The status of the run, written on the finished picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.live.controls import KEYS
from posepipe.pipeline.render.palette import TEXT, TEXT_QUIET
from posepipe.pipeline.render.text import draw_plate, draw_text, text_width
from posepipe.pipeline.view.protocol import Status

_RED = (255, 92, 92)
_SIZE, _MARGIN = 10, 12


def draw_status(image: NDArray[np.uint8], status: Status) -> None:
    """In place: recording and pause at the top, age and keys along the bottom, trouble over the darkened picture."""
    height, width = image.shape[:2]
    if status.trouble:
        np.right_shift(image, 1, out=image)
        _plate(image, status.trouble, (width / 2, height * 0.5), 13, _RED, align=0.5)
    marks = [m for m, on in (("REC", status.recording), ("paused", status.paused)) if on]
    if marks:
        _plate(image, "  ".join(marks), (width * 0.25, _MARGIN + 20), 11, _RED, align=0.5)
    age = f"age {status.age_ms:.0f} ms" if np.isfinite(status.age_ms) else ""
    share = f"dropped {100 * status.dropped / status.captured:.0f} %" if status.captured else ""
    end = _plate(image, "   ".join(t for t in (age, share) if t), (_MARGIN, height - _MARGIN - 8), _SIZE, TEXT)
    line = status.note or KEYS
    _plate(image, line, (end + _MARGIN, height - _MARGIN - 8), _SIZE - 1, TEXT if status.note else TEXT_QUIET)


def _plate(
    image: NDArray[np.uint8],
    text: str,
    at: tuple[float, float],
    size: float,
    colour: tuple[int, int, int],
    align: float = 0.0,
) -> int:
    """Text on a dark plate; returns the x where the plate ends."""
    if not text:
        return round(at[0])
    width = text_width(text, size)
    left = round(at[0] - align * width)
    draw_plate(image, (left - 7, round(at[1] - 1.9 * size), left + width + 7, round(at[1] + 0.9 * size)))
    draw_text(image, text, (left, at[1]), size, colour)
    return left + width + 7
