"""What the motion formats (BVH, TRC, C3D, GLB) share: y up, positions in space, one file per person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.pipeline.export.choose import PoseChoice, chosen
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.sink.h5 import Recording, TrackRecord

# Camera frame (x right, y down, z forward) -> x right, y up, z towards the camera: half a turn about x.
Y_UP = np.array([1.0, -1.0, -1.0])

_FALLBACK_FPS = 25.0
_MOST_REPEATS = 10  # a grid of so many times the source's frames comes from a broken time stamp


def last_good(good: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) -> (N,) index of the last True at or before each place, of the first one before that. At least one True."""
    index = np.maximum.accumulate(np.where(good, np.arange(len(good)), -1))
    return np.where(index < 0, int(np.argmax(good)), index)


def held(root: NDArray) -> NDArray[np.float64]:
    """(N, 3) metres -> the same without gaps: an unknown (NaN) root stays where it was last; all 0 if none is known."""
    good = np.isfinite(root).all(axis=1)
    return root[last_good(good)].astype(np.float64) if good.any() else np.zeros(root.shape)


def placed(track: TrackRecord, pose: PoseChoice) -> NDArray[np.float64]:
    """(N, 17, 3) metres, y up: the chosen pose where the person stands in front of the camera (at 0 if unknown)."""
    return (chosen(track, pose) + held(track.root)[:, None]) * Y_UP


def frame_rate(recording: Recording) -> float:
    """Frames per second: from the median time between frames, else what the header says."""
    steps = np.diff(recording.pts)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    if len(steps):
        return float(1 / np.median(steps))
    said = float(str(recording.header.get("fps", 0)))
    return said if np.isfinite(said) and said > 0 else _FALLBACK_FPS


def even_frames(recording: Recording) -> NDArray[np.int64]:
    """Indices into /frames at even steps of 1 / frame_rate over the whole source: what was on the screen then.

    For a source of constant frame rate every frame once. Where time stamps go back or leap, every frame once too."""
    pts, every = recording.pts, np.arange(len(recording.pts))
    if len(pts) < 2 or not np.isfinite(pts).all() or (np.diff(pts) <= 0).any():
        return every
    step = 1 / frame_rate(recording)
    count = (pts[-1] - pts[0]) / step
    if count > _MOST_REPEATS * len(pts):
        return every
    times = pts[0] + step * np.arange(round(count) + 1)
    return np.searchsorted(pts, times + step / 2, side="right") - 1


def rising_times(recording: Recording) -> NDArray[np.float64]:
    """(T,) seconds since the first frame, always rising: the source's own, or even steps where those are broken."""
    pts = recording.pts
    since = pts - pts[:1]
    # Also after rounding, since the formats keep times as float32.
    if np.isfinite(since).all() and (np.diff(since.astype(np.float32)) > 0).all():
        return since
    return np.arange(len(pts)) / frame_rate(recording)


def files_of(recording: Recording, path: Path) -> dict[int, Path]:
    """Track -> its file: `path` itself for one person, <stem>.track<ID><suffix> beside it for several.

    Raises InputError when nobody was found: these formats cannot hold nobody."""
    if not any(len(record.frame) for record in recording.tracks.values()):
        source = recording.header.get("source", "the source")
        raise InputError(
            f"Nobody was found in {source}: there is no motion to export.", "csv, json and npz can be empty."
        )
    tracks = [number for number, record in recording.tracks.items() if len(record.frame)]
    if len(tracks) == 1:
        return {tracks[0]: path}
    return {number: path.with_name(f"{path.stem}.track{number}{path.suffix}") for number in tracks}


@contextmanager
def atomic_files(files: Mapping[int, Path]) -> Iterator[dict[int, Path]]:
    """Temporary paths for several files that appear together, after all of them were written, or not at all."""
    with ExitStack() as stack:
        yield {number: stack.enter_context(atomic_path(path)) for number, path in files.items()}
