"""Uncertainty over time as a small SVG: a line per person, bad frames and empty stretches marked beneath."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.report.digest import Digest, Line
from posepipe.pipeline.sink.h5 import STATUS_CORRUPT, STATUS_NO_PERSON

WIDTH, HEIGHT = 220, 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 30, 4, 6, 18
_POINTS = 90  # per line at most, so that a page over many long videos stays small
_LINES = 5  # people at most; those who are there longest
_COLOURS = 5
_TOP_MM = 200  # the same for all, so that videos and pages can be compared


def chart(found: Digest) -> str:
    """An <svg> of WIDTH x HEIGHT. Above _TOP_MM lines run along the edge."""
    frames = len(found.pts)
    if not frames:
        return ""
    lines = sorted(found.lines, key=lambda line: -len(line.frame))[:_LINES]
    lines.sort(key=lambda line: line.track)
    inner = WIDTH - _LEFT - _RIGHT
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="uncertainty over time, 0 to {_TOP_MM} millimetres">'
    ]
    for share in (0, 0.5, 1):
        y = _y(share * _TOP_MM)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 4}" y="{y + 3:.1f}" class="end">{share * _TOP_MM:.0f}</text>')
    for status, kind in ((STATUS_NO_PERSON, "nobody"), (STATUS_CORRUPT, "bad")):
        marks = _marks(found.status == status, inner)
        if marks:
            parts.append(f'<path class="{kind}" d="{marks}"/>')
    for number, line in enumerate(lines):
        parts.append(f'<path class="line c{number % _COLOURS}" d="{_path(line, frames, inner)}"/>')
    seconds = float(found.pts[-1] - found.pts[0]) if np.isfinite(found.pts[[0, -1]]).all() else float("nan")
    length = f"{seconds:.1f} s" if np.isfinite(seconds) else f"{frames} frames"
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 3}">0</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 3}" class="end">{length}</text></svg>')
    return "".join(parts)


def _y(mm: float) -> float:
    return _TOP + (1 - min(max(mm / _TOP_MM, 0.0), 1.0)) * (HEIGHT - _TOP - _BOTTOM)


def _marks(where: NDArray[np.bool_], inner: int) -> str:
    """Little rectangles under the axis, one for every stretch; stretches that fall on the same pixel are one."""
    columns = np.unique(np.flatnonzero(where) * inner // max(len(where), 1))
    if not len(columns):
        return ""
    breaks = np.flatnonzero(np.diff(columns) > 1)
    starts, ends = np.r_[0, breaks + 1], np.r_[breaks, len(columns) - 1]
    y = HEIGHT - _BOTTOM + 1
    return "".join(
        f"M{_LEFT + columns[a]} {y}h{columns[b] - columns[a] + 1}v3h-{columns[b] - columns[a] + 1}z"
        for a, b in zip(starts, ends, strict=True)
    )


def _path(line: Line, frames: int, inner: int) -> str:
    """The mean within each of _POINTS equal parts of the video; a gap where a part holds nothing."""
    bins = min(_POINTS, frames)
    part = line.frame * bins // frames
    known = np.isfinite(line.std)
    count = np.bincount(part[known], minlength=bins)
    total = np.bincount(part[known], 1000 * line.std[known], minlength=bins)
    out, pen = [], False
    for index in range(bins):
        if not count[index]:
            pen = False
            continue
        x, y = _LEFT + (index + 0.5) / bins * inner, _y(total[index] / count[index])
        alone = not pen and (index + 1 == bins or not count[index + 1])
        out.append(f"{'L' if pen else 'M'}{x:.0f} {y:.1f}{'h.1' if alone else ''}")  # a single point shows as a dot
        pen = True
    return "".join(out)
