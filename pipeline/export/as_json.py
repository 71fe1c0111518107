"""JSON: everything but the other hypotheses in one document, for the web and other languages (docs/formats.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.export.choose import PoseChoice, chosen
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.sink.h5 import Recording, TrackRecord
from posepipe.skeleton import H36M_17

VERSION = 1


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """Strict JSON: what is not known is null. Metres to 0.01 mm, pixels to 0.01.

    Raises OutputError when the file cannot be written."""
    document = {
        "format": "posepipe-json",
        "version": VERSION,
        "pose": str(pose),
        "units": "m",
        "axes": "camera: x right, y down, z forward",
        "joint_names": list(H36M_17.joints),
        "parents": list(H36M_17.parents),
        "header": _header(recording),
        "frames": {"time": _plain(recording.pts, 6), "status": recording.status.tolist()},
        "tracks": [{"id": number, **_track(track, pose)} for number, track in recording.tracks.items()],
    }
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(document, file, allow_nan=False, separators=(",", ":"))
        file.write("\n")


def _track(track: TrackRecord, pose: PoseChoice) -> dict[str, list]:
    return {
        "frame": track.frame.tolist(),
        "joints": _plain(chosen(track, pose), 5),
        "joint_std": _plain(track.joint_std, 5),
        "root": _plain(track.root, 5),
        "keypoints": _plain(track.keypoints_2d, 2),
        "confidence": _plain(track.keypoint_confidence, 4),
    }


def _header(recording: Recording) -> dict[str, object]:
    """The result file's attributes; what JSON has no number for becomes null."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in recording.header.items()}
    return {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in plain.items()}


def _plain(values: NDArray, decimals: int) -> list:
    """Nested lists of rounded numbers, with None for what is not finite."""
    rounded = np.round(values.astype(np.float64), decimals) + 0.0
    finite = np.isfinite(rounded)
    if finite.all():
        return rounded.tolist()
    mixed = rounded.astype(object)
    mixed[~finite] = None
    return mixed.tolist()
