"""The report as one HTML page that needs nothing else: no request leaves it, and without scripts it can be read whole.

The page's own security policy forbids requests, and scripts and styles other than the two that are written here.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from posepipe.pipeline.manifest import FAILED, STATUSES, Entry
from posepipe.pipeline.report.gather import video_of
from posepipe.pipeline.report.rows import CLASSES, COLUMNS, Row, row
from posepipe.pipeline.report.words import pairs_table, text

PICTURE_BYTES = 16_000_000  # of pictures and charts on a page; the rows that do not get any are text alone
_SIZES = ((60, 140, 80), (400, 120, 72), (math.inf, 100, 62))  # up to so many videos: pixels high, JPEG quality
_WARNINGS = 200


def build(folder: Path, plan: Sequence[Entry | Path], page: Path, step: Callable[[], None] = lambda: None) -> str:
    """The page about the items of gather.plan. page: where it will lie, for its links. step: called after each video.
    Damaged results become notes, never errors."""
    _, height, quality = next(size for size in _SIZES if len(plan) <= size[0])
    rows: list[Row] = []
    room = PICTURE_BYTES
    for index, item in enumerate(plan):
        made, room = row(video_of(folder, item), index, page, height, quality, room)
        rows.append(made)
        step()
    return _page(text(folder.resolve().name or folder), rows)


def _page(name: str, rows: list[Row]) -> str:
    package = files("posepipe.pipeline.report")
    style, script = (package.joinpath(file).read_text("utf-8") for file in ("style.css", "script.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = "".join(f"<th{f' data-key={key}' if key else ''}>{label}</th>" for key, label in COLUMNS)
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>posepipe report: {name}</title><style>{style}</style></head>",
            f"<body><h1>posepipe report: {name}</h1>",
            _tiles(rows),
            _warnings(rows),
            f"<h2>Videos</h2>{_legend(rows)}{_controls(rows)}",
            f'<table class="videos"><thead><tr>{head}</tr></thead><tbody>',
            *(made.html for made in rows),
            f'</tbody></table><div class="beside">{_settings(rows)}{_times(rows)}</div>',
            f"<script>{script}</script></body></html>\n",
        )
    )


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def _tiles(rows: list[Row]) -> str:
    counts = Counter(made.status for made in rows)
    timed = [made for made in rows if math.isfinite(made.seconds)]
    seconds = sum(made.seconds for made in timed)
    tiles = [(str(len(rows)), "videos"), *((str(counts[status]), status) for status in STATUSES if counts[status])]
    tiles.append((str(sum(made.frames for made in rows)), "frames"))
    tiles.append((str(sum(made.frames_with_person for made in rows)), "with a person"))
    tiles.append((str(sum(made.bad_frames for made in rows)), "bad frames"))
    if seconds:
        tiles.append((f"{seconds:.0f} s", "of work, all processes"))
        tiles.append((f"{sum(made.frames for made in timed) / seconds:.1f}", "frames/s in a process"))
    cells = "".join(f"<div><b>{value}</b><span>{text(label)}</span></div>" for value, label in tiles)
    return f'<div class="tiles">{cells}</div>'


def _warnings(rows: list[Row]) -> str:
    found = [(index, made) for index, made in enumerate(rows) if made.notes]
    if not found:
        return "<h2>Warnings</h2><p>None.</p>"
    found.sort(key=lambda pair: pair[1].status != FAILED)
    lines = []
    for index, made in found[:_WARNINGS]:
        badge = f'<span class="status {CLASSES[made.status]}">{text(made.status)}</span>'
        lines.append(f'<li>{badge} <a href="#v{index}">{text(made.video)}</a>: {text(" ".join(made.notes))}</li>')
    if len(found) > _WARNINGS:
        lines.append(f"<li>and {len(found) - _WARNINGS} more, in the table below</li>")
    return f'<h2>Warnings</h2><ul class="warnings">{"".join(lines)}</ul>'


def _legend(rows: list[Row]) -> str:
    said = (
        "Uncertainty: how far a joint typically is from where it is drawn (joint_std), mean over the joints; a line "
        "for each person, at most five. Under the axis: grey where nobody was seen, red where the picture was damaged."
    )
    bare = sum(bool(made.settings) and not made.drawn for made in rows)
    if bare:
        megabytes = PICTURE_BYTES // 1_000_000
        said += f" {bare} videos have no picture and no chart: a page has room for {megabytes} MB of them."
    return f'<p class="quiet">{said}</p>'


def _controls(rows: list[Row]) -> str:
    boxes = [
        f'<label><input type="checkbox" value="{text(status)}" checked> {text(status)}</label>'
        for status in STATUSES
        if any(made.status == status for made in rows)
    ]
    search = '<input type="search" placeholder="part of a name" aria-label="part of a name">'
    return f'<div class="controls" hidden>{search}{"".join(boxes)}<span class="count quiet"></span></div>'


def _settings(rows: list[Row]) -> str:
    """Those that all results share, and which ones differ."""
    made = [dict(one.settings) for one in rows if one.settings]
    shown = []
    for name in dict.fromkeys(name for settings in made for name in settings):
        values = {settings.get(name, "") for settings in made}
        shown.append((name, values.pop() if len(values) == 1 else f"{len(values)} values; see the videos"))
    return f"<div><h2>Settings</h2>{pairs_table(shown)}</div>" if shown else ""


def _times(rows: list[Row]) -> str:
    lines = []
    for name in dict.fromkeys(name for made in rows for name in made.stages):
        middle = np.median([made.stages[name] for made in rows if name in made.stages])
        lines.append(f'<tr><th>{text(name)}</th><td class="n">{middle:.1f}</td></tr>')
    head = "<tr><th>stage</th><th>ms per call</th></tr>"
    note = '<p class="quiet">The median over the videos of their medians.</p>'
    return f"<div><h2>Times</h2><table>{head}{''.join(lines)}</table>{note}</div>" if lines else ""
