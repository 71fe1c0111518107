"""What only a whole clip can say, added to a result file before it is closed: people's size and the ground.

Works on blocks of rows, so that memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.refine.ground import ANKLE_HEIGHT, Ground, fit_ground
from posepipe.pipeline.refine.stature import ADULT, factor_to, seen_whole, stature, typical

_BLOCK = 4096  # rows
_LOOKS = 20_000  # rows that the ground is fitted to, evenly taken from all
_LENGTHS = ("hypotheses", "pose", "joint_std", "root", "pose_smoothed", "root_smoothed")


def finish_clip(file: Any, height: float | None) -> Ground | None:
    """Bring every person in an open result file (h5py.File) to `height` metres, if it is given, and fit the ground.

    Each track gets the attributes stature (metres, median over the clip, as the file now has it) and scale (what every
    length of it was multiplied with: 1 without a height); the file gets `ground` (JSON of Ground) where one was found.
    """
    groups = [group for _, group in sorted(file["tracks"].items(), key=lambda item: int(item[0]))]
    for group in groups:
        tall, whole = _statures(group)
        factor = 1.0 if height is None else factor_to(height, tall, whole)
        if factor != 1.0:
            _multiply(group, factor)
        group.attrs["scale"] = factor
        group.attrs["stature"] = factor * typical(tall, whole)
    ground = _ground(groups, 1.0 if height is None else height / ADULT)
    if ground is not None:
        file.attrs["ground"] = ground.to_json()
    return ground


def _statures(group: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rows = list(_blocks(len(group["pose"])))
    tall = [stature(group["pose"][block]) for block in rows]
    whole = [seen_whole(group["keypoint_confidence"][block]) for block in rows]
    return np.concatenate([*tall, np.zeros(0)]), np.concatenate([*whole, np.zeros(0, bool)])


def _multiply(group: Any, factor: float) -> None:
    for name in _LENGTHS:
        if name in group:
            data = group[name]
            for block in _blocks(len(data), data.chunks[0]):
                data[block] = (data[block].astype(np.float64) * factor).astype(data.dtype)


def _ground(groups: list[Any], size: float) -> Ground | None:
    rows = sum(len(group["pose"]) for group in groups)
    stride = max(1, -(-rows // _LOOKS))
    pose, root = [np.zeros((0, 17, 3))], [np.zeros((0, 3))]
    for group in groups:
        names = ("pose_smoothed", "root_smoothed") if "pose_smoothed" in group else ("pose", "root")
        for block in _blocks(len(group["pose"]), _BLOCK * stride):
            pose.append(group[names[0]][block][::stride])
            root.append(group[names[1]][block][::stride])
    return fit_ground(np.concatenate(pose), np.concatenate(root), size * ANKLE_HEIGHT)


def _blocks(rows: int, size: int = _BLOCK) -> Iterator[slice]:
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
