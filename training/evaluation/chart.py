"""A line chart and labelled points as a picture, by OpenCV: enough for a page, without a plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 1000, 680
LEFT, RIGHT, TOP, BOTTOM = 100, 40, 80, 90
LEGEND = 220  # width, beside the chart
INK, FAINT, WHITE = (40, 40, 40), (222, 222, 222), (255, 255, 255)
# Okabe & Ito's colours, which people who confuse red and green can tell apart; BGR
COLOURS = ((178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (40, 40, 40))
MARKS = ("o", "s", "^")
Image = NDArray[np.uint8]


def blank(title: str, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A white page with a title; (height, width, 3) BGR."""
    image = np.full((height, width, 3), 255, np.uint8)
    write(image, title, (width // 2, 36), 0.8, "middle", thick=2)
    return image


def write(
    image: Image,
    text: str,
    at: tuple[int, int],
    size: float = 0.55,
    anchor: str = "left",
    colour: tuple[int, int, int] = INK,
    thick: int = 1,
) -> None:
    """Text, edged in white, with its left end, middle or right end at `at` (x, y of the baseline)."""
    wide = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)[0][0]
    x = at[0] - {"left": 0, "middle": wide // 2, "right": wide}[anchor]
    cv2.putText(image, text, (x, at[1]), cv2.FONT_HERSHEY_SIMPLEX, size, WHITE, thick + 5, cv2.LINE_AA)
    cv2.putText(image, text, (x, at[1]), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    unit_square: bool = False,
) -> Image:
    """One line with marks for each named (x, y). unit_square: both axes run from 0 to 1, with the diagonal drawn."""
    image = blank(title)
    right_edge = WIDTH - RIGHT - (LEGEND if len(series) > 1 else 0)
    xs = np.unique(np.concatenate([np.asarray(x, float) for x, _ in series.values()]))
    ys = np.concatenate([np.asarray(y, float) for _, y in series.values()])
    y_ticks = np.linspace(0, 1, 6) if unit_square else nice_ticks(0, float(ys.max()) * 1.05)
    x_ticks = np.linspace(0, 1, 6) if unit_square else xs if log_x else nice_ticks(float(xs.min()), float(xs.max()))

    def scale(values: Any) -> Any:
        return np.log10(values) if log_x else np.asarray(values, float)

    low, high = float(scale(x_ticks).min()), float(scale(x_ticks).max())
    high = high if high > low else low + 1

    def place(x: Any, y: Any) -> NDArray[np.int32]:
        across = LEFT + (scale(x) - low) / (high - low) * (right_edge - LEFT)
        up = (
            HEIGHT - BOTTOM - (np.asarray(y, float) - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - TOP - BOTTOM)
        )
        return np.stack([across, up], -1).round().astype(np.int32)

    for y in y_ticks:
        left, right = place(x_ticks[[0, -1]], np.array([y, y]))
        cv2.line(image, left.tolist(), right.tolist(), FAINT, 1)
        write(image, f"{y:g}" if unit_square else f"{y:.4g}", (LEFT - 12, int(left[1]) + 6), anchor="right")
    for x in x_ticks:
        foot = place(x, y_ticks[0])
        cv2.line(image, foot.tolist(), (foot + [0, 6]).tolist(), INK, 1)
        write(image, f"{x:g}", (int(foot[0]), int(foot[1]) + 28), anchor="middle")
    cv2.rectangle(image, (LEFT, TOP), (right_edge, HEIGHT - BOTTOM), INK, 1)
    write(image, x_label, ((LEFT + right_edge) // 2, HEIGHT - 22), 0.6, "middle")
    write(image, y_label, (LEFT, TOP - 10), 0.6)
    if unit_square:
        start, end = place([0.0, 1.0], [0.0, 1.0])
        cv2.line(image, start.tolist(), end.tolist(), (150, 150, 150), 1, cv2.LINE_AA)
    for i, (x, y) in enumerate(series.values()):
        points = place(np.asarray(x, float), y)
        cv2.polylines(image, [points], False, COLOURS[i % len(COLOURS)], 2, cv2.LINE_AA)
        for point in points:
            _mark(image, point.tolist(), COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)])
    if len(series) > 1:
        _legend(image, list(series), right_edge + 12)
    return image


def nice_ticks(low: float, high: float, about: int = 6) -> NDArray[np.float64]:
    """Round numbers, evenly spaced by 1, 2 or 5 times a power of ten, that enclose low..high."""
    span = max(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(span / about))
    step = power * next(m for m in (1, 2, 5, 10) if span / (m * power) <= about)
    first, last = np.floor(low / step), np.ceil(high / step)
    return np.arange(first, last + 1) * step


def _mark(image: Image, at: list[int], colour: tuple[int, int, int], kind: str) -> None:
    x, y = at
    if kind == "o":
        cv2.circle(image, (x, y), 5, colour, -1, cv2.LINE_AA)
    elif kind == "s":
        cv2.rectangle(image, (x - 5, y - 5), (x + 5, y + 5), colour, -1)
    else:
        cv2.fillPoly(image, [np.array([[x, y - 7], [x - 6, y + 5], [x + 6, y + 5]], np.int32)], colour, cv2.LINE_AA)


def _legend(image: Image, names: list[str], left: int) -> None:
    for i, name in enumerate(names):
        y = TOP + 22 + 30 * i
        cv2.line(image, (left + 8, y - 5), (left + 44, y - 5), COLOURS[i % len(COLOURS)], 2, cv2.LINE_AA)
        _mark(image, [left + 26, y - 5], COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)])
        write(image, name, (left + 54, y), 0.5)
