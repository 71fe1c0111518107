"""CSV: a line per person and frame, for spreadsheets and pandas (docs/formats.md)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.export.choose import PoseChoice, chosen
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.sink.h5 import Recording, TrackRecord
from posepipe.skeleton import H36M_17

_PER_JOINT = (("x_m", 5), ("y_m", 5), ("z_m", 5), ("std_m", 5), ("u_px", 2), ("v_px", 2), ("confidence", 4))
_ROOT = (("root_x_m", 5), ("root_y_m", 5), ("root_z_m", 5))
_TIME_DECIMALS = 6

COLUMNS: tuple[str, ...] = (
    "frame",
    "track",
    "time_s",
    *(name for name, _ in _ROOT),
    *(f"{joint}_{name}" for joint in H36M_17.joints for name, _ in _PER_JOINT),
)
_DECIMALS = (_TIME_DECIMALS, *(d for _, d in _ROOT), *(d for _ in H36M_17.joints for _, d in _PER_JOINT))


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """One line per person and frame in the order of the frames; what is not known is empty.

    Metres to 0.01 mm, pixels to 0.01. Raises OutputError when the file cannot be written."""
    tables = [_table(recording, track, pose) for track in recording.tracks.values()]
    keys = [
        (int(frame), number, table, row)
        for table, (number, track) in enumerate(recording.tracks.items())
        for row, frame in enumerate(track.frame)
    ]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(COLUMNS)
        for frame, number, table, row in sorted(keys):
            lines.writerow([frame, number, *_texts(tables[table][row])])


def _table(recording: Recording, track: TrackRecord, pose: PoseChoice) -> NDArray[np.float64]:
    """(N, columns) without frame and track."""
    joints = np.concatenate(
        [chosen(track, pose), track.joint_std[..., None], track.keypoints_2d, track.keypoint_confidence[..., None]],
        axis=-1,
    )
    return np.column_stack([recording.pts[track.frame], track.root, joints.reshape(len(joints), -1)])


def _texts(values: NDArray[np.float64]) -> list[str]:
    return [
        f"{round(value, digits) + 0.0:.{digits}f}" if np.isfinite(value) else ""  # + 0.0: no "-0.00000"
        for value, digits in zip(values.tolist(), _DECIMALS, strict=True)
    ]
