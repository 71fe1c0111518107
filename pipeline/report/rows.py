"""A video's line in the report: picture, name, notes, links, numbers and chart."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from pathlib import Path

from posepipe.errors import InputError
from posepipe.pipeline.manifest import FAILED, NO_PERSON, OK, PARTIAL
from posepipe.pipeline.report.chart import chart
from posepipe.pipeline.report.gather import Video
from posepipe.pipeline.report.thumbnail import thumbnail
from posepipe.pipeline.report.words import link, number, pairs_table, text

CLASSES = {OK: "ok", PARTIAL: "partial", FAILED: "failed", NO_PERSON: "nobody-found"}
# (what scripts sort by, heading); the cells of row() in the same order
COLUMNS = (
    ("", "picture"),
    ("name", "video"),
    ("status", "status"),
    ("frames", "frames"),
    ("person", "with a person"),
    ("bad", "bad frames"),
    ("tracks", "people"),
    ("std", "uncertainty, mm"),
    ("", "uncertainty over time, mm"),
    ("seconds", "work, s"),
    ("rate", "frames/s"),
)


@dataclass(frozen=True)
class Row:
    """What of a video stays in memory until the page is written. stages: the median ms per call of each stage."""

    video: str
    status: str
    frames: int
    frames_with_person: int
    bad_frames: int
    seconds: float
    stages: dict[str, float]
    settings: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    drawn: bool
    html: str


def row(video: Video, index: int, page: Path, height: int, quality: int, room: int) -> tuple[Row, int]:
    """The line, and how many bytes of the `room` for pictures and charts are left after it. What does not fit leaves
    nothing, so that no more pictures are made that nobody will see."""
    picture, trouble = _picture(video, height, quality) if room else ("", ())
    curve = chart(video.digest) if video.digest is not None and room else ""
    left = room - len(picture) - len(curve)
    if left < 0:
        picture, curve, left = "", "", 0
    std = 1000 * video.digest.mean_std if video.digest is not None else math.nan
    rate = video.frames / video.seconds if video.seconds > 0 else math.nan
    notes = (*video.notes, *trouble)
    data = {
        "name": text(video.name),
        "status": text(video.status),
        "frames": video.frames,
        "person": video.frames_with_person,
        "bad": video.bad_frames,
        "tracks": video.tracks,
        "std": number(std, 2, ""),
        "seconds": number(video.seconds, 2, ""),
        "rate": number(rate, 2, ""),
    }
    person = str(video.frames_with_person)
    if video.frames:
        person += f' <span class="quiet">({100 * video.frames_with_person / video.frames:.0f} %)</span>'
    kind = CLASSES[video.status]
    cells = [
        f'<td class="pic">{picture}</td>',
        f'<td class="name"><b>{text(video.name)}</b>{_notes(notes)}{_links(video, page)}{_details(video)}</td>',
        f'<td><span class="status {kind}">{text(video.status)}</span></td>',
        *(_cell(value) for value in (video.frames, person, video.bad_frames, video.tracks, number(std, 0))),
        f"<td>{curve}</td>",
        *(_cell(number(value, 1)) for value in (video.seconds, rate)),
    ]
    attributes = " ".join(f'data-{name}="{value}"' for name, value in data.items())
    made = Row(
        video.name,
        video.status,
        video.frames,
        video.frames_with_person,
        video.bad_frames,
        video.seconds,
        {name: times["p50"] for name, times in video.stages.items() if "p50" in times},
        tuple(video.digest.settings.items()) if video.digest is not None else (),
        notes,
        bool(curve),
        f'<tr id="v{index}" class="{kind}-row" {attributes}>{"".join(cells)}</tr>',
    )
    return made, left


def _cell(content: object) -> str:
    return f'<td class="n">{content}</td>'


def _picture(video: Video, height: int, quality: int) -> tuple[str, tuple[str, ...]]:
    """<img> or nothing, and what went wrong."""
    if video.digest is None:
        return "", ()
    try:
        made = thumbnail(video.digest, video.overlay, height, quality)
    except InputError as error:
        return "", (str(error),)
    if made is None:
        return "", ()
    data, width, tall = made
    alt = f"a frame of {text(video.name)} with the fan of hypotheses"
    source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    return f'<img alt="{alt}" width="{width}" height="{tall}" src="{source}">', ()


def _notes(notes: tuple[str, ...]) -> str:
    return "".join(f'<p class="note">{text(note)}</p>' for note in notes)


def _links(video: Video, page: Path) -> str:
    labels = {".h5": "result file", ".mp4": "overlay video"}
    parts = [f'<a href="{link(path, page)}">{labels.get(path.suffix, text(path.name))}</a>' for path in video.files]
    return f"<p>{' · '.join(parts)}</p>" if parts else ""


def _details(video: Video) -> str:
    parts = []
    if video.stages:
        lines = []
        for name, times in video.stages.items():
            values = "".join(_cell(number(times.get(key, math.nan), 1)) for key in ("mean", "p50", "p95"))
            lines.append(f"<tr><th>{text(name)}</th>{values}</tr>")
        head = "<tr><th>ms per call</th><th>mean</th><th>p50</th><th>p95</th></tr>"
        parts.append(f"<table>{head}{''.join(lines)}</table>")
    if video.digest is not None:
        parts.append(pairs_table(video.digest.settings.items()))
    return f"<details><summary>times and settings</summary>{''.join(parts)}</details>" if parts else ""
