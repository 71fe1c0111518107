"""Which of the poses in a recording is exported, and the checks that every export rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, UsageError
from posepipe.pipeline.sink.h5 import Recording, TrackRecord, read_h5
from posepipe.skeleton import H36M_17


@dataclass(frozen=True)
class PoseChoice:
    """hypothesis: the index of one of the H hypotheses, from 0; None for the aggregate. smoothed: the aggregate and the
    place as they are after smoothing over time."""

    hypothesis: int | None = None
    smoothed: bool = False

    def __str__(self) -> str:
        if self.smoothed:
            return "smoothed"
        return "aggregate" if self.hypothesis is None else f"hypothesis:{self.hypothesis}"


def parse_pose(text: str) -> PoseChoice:
    """`aggregate`, `smoothed` or `hypothesis:K`; raises UsageError for anything else."""
    if text in ("aggregate", "smoothed"):
        return PoseChoice(smoothed=text == "smoothed")
    kind, _, number = text.partition(":")
    if kind == "hypothesis" and number.isascii() and number.isdigit():
        return PoseChoice(int(number))
    raise UsageError(f"There is no pose '{text}'.", "Use aggregate, smoothed, or hypothesis:K with K from 0.")


def load(path: Path, pose: PoseChoice, track: int | None = None) -> Recording:
    """Read a result file to export from; only the one person when `track` is given. With a smoothed choice the
    recording's pose and root are the smoothed ones.

    Raises InputError for a file that is no complete result file or does not fit together, UsageError for a track or
    a hypothesis that it does not have."""
    try:
        recording = read_h5(path)
    except OSError as error:  # a name that the file system refuses, a folder that may not be entered
        raise InputError(f"Cannot look at {path} ({error.strerror}).", "Check the path and its permissions.") from None
    for number, record in recording.tracks.items():
        rows = len(record.frame)
        fits = record.pose.shape == (rows, 17, 3) and record.hypotheses.shape[2:] == (17, 3)
        fits &= record.keypoints_2d.shape == (rows, 17, 2) and record.root.shape == (rows, 3)
        fits &= record.joint_std.shape == record.keypoint_confidence.shape == (rows, 17)
        if not fits or recording.header.get("skeleton") != H36M_17.name:
            raise InputError(f"{path} does not hold {H36M_17.name} poses in track {number}.", "Run posepipe run again.")
        inside = rows == 0 or (record.frame[0] >= 0 and record.frame[-1] < len(recording.pts))
        if not inside or (np.diff(record.frame) <= 0).any():
            raise InputError(f"{path} has frames out of order in track {number}.", "Run posepipe run again.")
        count = record.hypotheses.shape[1]
        if pose.hypothesis is not None and pose.hypothesis >= count:
            raise UsageError(f"{path} has no hypothesis {pose.hypothesis}.", f"It holds 0 to {count - 1}.")
    if pose.smoothed:
        recording = replace(recording, tracks={n: _smoothed(record, path) for n, record in recording.tracks.items()})
    if track is None:
        return recording
    if track not in recording.tracks:
        known = ", ".join(map(str, recording.tracks)) or "none: nobody was found"
        raise UsageError(f"{path} has no track {track}.", f"Its tracks: {known}.")
    return replace(recording, tracks={track: recording.tracks[track]})


def _smoothed(record: TrackRecord, path: Path) -> TrackRecord:
    if record.pose_smoothed is None or record.root_smoothed is None:
        raise UsageError(f"{path} has no smoothed poses.", "Run posepipe run again, without --no-smooth.")
    return replace(record, pose=record.pose_smoothed, root=record.root_smoothed)


def chosen(track: TrackRecord, pose: PoseChoice) -> NDArray[np.float64]:
    """(N, 17, 3) metres, hip at the origin, camera frame: the aggregate or one hypothesis of every row."""
    joints = track.pose if pose.hypothesis is None else track.hypotheses[:, pose.hypothesis]
    return joints.astype(np.float64)
