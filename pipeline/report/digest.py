"""What a report needs of a result file, without reading all of it into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.pipeline.sink.h5 import FORMAT_VERSION, STATUS_CORRUPT, row_columns
from posepipe.safe_h5 import READ_ERRORS, array, dataset, groups, open_h5
from posepipe.types import Hypotheses, Pose2D, Pose3D, Track

_MOST_ROWS = 20_000_000  # more than a month of video; a file that claims more is damaged
# The attributes that say how a file was made, in the order in which they are shown.
_SETTINGS = (
    "posepipe_version", "detector", "conversion", "lifter", "hypotheses", "steps", "aggregate", "noise_refresh",
    "backend", "seed", "lifted_from", "person_height", "camera", "checkpoint_sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One person's uncertainty over time. frame: (N,) index into the source. std: (N,) metres, the mean over the
    joints, NaN where unknown."""

    track: int
    frame: NDArray[np.int64]
    std: NDArray[np.float64]


@dataclass(frozen=True)
class Digest:
    """source: what the video was called. pts: (T,) seconds; status: (T,) STATUS_*. lines: one per person. typical: a
    frame with a person who is as uncertain as that person usually is; None without anybody. size: width, height in
    pixels. settings: name -> text."""

    path: Path
    source: str
    pts: NDArray[np.float64]
    status: NDArray[np.uint8]
    lines: tuple[Line, ...]
    typical: int | None
    size: tuple[int, int]
    settings: Mapping[str, str]

    @property
    def bad_frames(self) -> int:
        return int((self.status == STATUS_CORRUPT).sum())

    @property
    def frames_with_person(self) -> int:
        return len(np.unique(np.concatenate([np.zeros(0, np.int64), *(line.frame for line in self.lines)])))

    @property
    def mean_std(self) -> float:
        """Metres over all people and frames; NaN where nothing is known."""
        values = np.concatenate([np.zeros(0), *(line.std for line in self.lines)])
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def digest(path: Path) -> Digest:
    """Raises InputError for a file that is no complete result file."""
    try:
        with open_h5(path) as file:
            return _digest(path, file)
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(f"{path.name} is damaged or no result file ({error}).", "Process its video again.") from None


def _digest(path: Path, file: h5py.File) -> Digest:
    said = {name: _plain(value) for name, value in file.attrs.items()}
    if said.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{path.name} is not a result file of this posepipe's format.", "Process its video again.")
    pts, status = dataset(file, "frames/pts", "f", (None,)), dataset(file, "frames/status", "u", (None,))
    frames = len(pts)
    if said.get("frames") != frames or len(status) != frames or frames > _MOST_ROWS:
        raise InputError(f"{path.name} is incomplete: it was not closed properly.", "Process its video again.")
    lines = []
    for name, group in sorted(groups(file, "tracks").items(), key=lambda item: int(item[0])):
        std, index = dataset(group, "joint_std", "f", (None, 17)), array(group, "frame", "iu", (None,))
        rows = len(index)
        if len(std) != rows or rows > frames:
            raise InputError(f"{path.name} is damaged: track {name} does not fit together.", "Process its video again.")
        index = index.astype(np.int64)
        if rows and (index.min() < 0 or index.max() >= frames or (np.diff(index) <= 0).any()):
            raise InputError(f"{path.name} has frames out of order in track {name}.", "Process its video again.")
        lines.append(Line(int(name), index, _mean(std[()])))
    settings = {name: str(said[name]) for name in _SETTINGS if name in said}
    size = max(1, int(float(str(said.get("width", 1))))), max(1, int(float(str(said.get("height", 1)))))
    source = str(said.get("source", ""))
    return Digest(path, source, pts[()].astype(np.float64), status[()], tuple(lines), _typical(lines), size, settings)


def _mean(std: NDArray) -> NDArray[np.float64]:
    """(N, 17) -> (N,) over what is known."""
    known = np.isfinite(std)
    count = known.sum(1)
    return np.where(count > 0, np.where(known, std, 0).sum(1) / np.maximum(count, 1), np.nan)


def _typical(lines: list[Line]) -> int | None:
    longest = max(lines, key=lambda line: len(line.frame), default=None)
    if longest is None or not len(longest.frame):
        return None
    if not np.isfinite(longest.std).any():
        return int(longest.frame[len(longest.frame) // 2])
    return int(longest.frame[np.nanargmin(np.abs(longest.std - np.nanmedian(longest.std)))])


def people_at(path: Path, frame: int) -> tuple[Track, ...]:
    """Everybody in one frame of a result file that digest() took. Raises InputError when it cannot be read."""
    people = []
    try:
        with open_h5(path) as file:
            for name, group in sorted(groups(file, "tracks").items(), key=lambda item: int(item[0])):
                rows = np.flatnonzero(array(group, "frame", "iu", (None,)) == frame)
                if not len(rows):
                    continue
                row = int(rows[0])
                columns = {
                    column: dataset(group, column, "f", (None, *(None if n == 1 else n for n in shape)))
                    for column, (shape, _) in row_columns(1, "float32").items()
                    if column != "frame"
                }
                at = {column: values[row] for column, values in columns.items()}
                seen = Pose2D(at["keypoints_2d"], at["keypoint_confidence"], "h36m17")
                fan = Hypotheses(at["hypotheses"].astype(np.float32), at["log_weights"])
                body = Pose3D(at["pose"], at["joint_std"], at["root"])
                people.append(Track(int(name), seen, seen, fan, body))
    except READ_ERRORS as error:
        raise InputError(f"{path.name} is damaged ({error}).", "Process its video again.") from None
    return tuple(people)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return ", ".join(str(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value
