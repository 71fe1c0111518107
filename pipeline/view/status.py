"""The status of the run, written on the finished picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.live.controls import KEYS
from posepipe.pipeline.render.palette import TEXT, TEXT_QUIET, Colour
from posepipe.pipeline.render.text import draw_plate, draw_text, text_width
from posepipe.pipeline.view.protocol import Status

_RED, _AMBER = (255, 92, 92), (255, 196, 84)
_LATE_MS, _TOO_LATE_MS = 250.0, 1000.0  # from these ages on, the number changes its colour
_SIZE, _MARGIN, _PAD = 10, 12, 7


def draw_status(image: NDArray[np.uint8], status: Status) -> None:
    """In place: recording and pause at the top, age and keys along the bottom, trouble over the darkened picture."""
    height, width = image.shape[:2]
    if status.trouble:
        np.right_shift(image, 1, out=image)
        _plate(image, [(status.trouble, _RED)], (width / 2, height * 0.5), 13, align=0.5)
    marks = [m for m, on in (("REC", status.recording), ("paused", status.paused)) if on]
    if marks:
        _plate(image, [("  ".join(marks), _RED)], (width * 0.25, _MARGIN + 20), 11, align=0.5)
    foot = height - _MARGIN - 8
    said: list[tuple[str, Colour]] = []
    if np.isfinite(status.age_ms):
        said.append((f"age {status.age_ms:.0f} ms", _age_colour(status.age_ms)))
    if status.captured:
        said.append((f"dropped {100 * status.dropped / status.captured:.0f} %", TEXT))
    end = _plate(image, said, (_MARGIN + _PAD, foot), _SIZE)
    _plate(image, [(status.note, TEXT)] if status.note else _keys(), (end + _MARGIN, foot), _SIZE - 1)


def _age_colour(ms: float) -> Colour:
    return _RED if ms >= _TOO_LATE_MS else _AMBER if ms >= _LATE_MS else TEXT


def _keys() -> list[tuple[str, Colour]]:
    """Every key bright, what it does quiet."""
    parts: list[tuple[str, Colour]] = []
    for entry in KEYS.split("  "):
        key, _, meaning = entry.partition(" ")
        parts += [(key, TEXT), (meaning, TEXT_QUIET)]
    return parts


def _plate(
    image: NDArray[np.uint8],
    parts: list[tuple[str, Colour]],
    at: tuple[float, float],
    size: float,
    align: float = 0.0,
) -> int:
    """Texts beside each other on a dark plate; returns the x where the plate ends. A bright one begins a new group."""
    parts = [part for part in parts if part[0]]
    if not parts:
        return round(at[0])
    gaps = [0.0] + [1.1 * size if colour != TEXT_QUIET else 0.1 * size for _, colour in parts[1:]]
    widths = [text_width(text, size) for text, _ in parts]
    width = round(sum(gaps) + sum(widths))
    left = round(at[0] - align * width)
    draw_plate(image, (left - _PAD, round(at[1] - 1.9 * size), left + width + _PAD, round(at[1] + 0.9 * size)))
    x = float(left)
    for (text, colour), gap, taken in zip(parts, gaps, widths, strict=True):
        draw_text(image, text, (x + gap, at[1]), size, colour)
        x += gap + taken
    return left + width + _PAD
