"""Motion given as joint positions: the npz layout of our CMU action clips, and the bone that this layout lost.

Layout: one array (T, J, 3) per clip, metres, y up, beside `joint_names` (J,), `parents` (J,) and `fps` (scalar). A
joint stands at the *start* of the bone of its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.safe_npz import read_arrays

# The clips were made from the skeleton of CMU subject 02 with the offsets of `thorax` and of both `wrist` bones set to
# zero: neck and clavicles start at the *lower* end of the thorax, and the figure is 117 mm too short. The clavicles
# do not move against the thorax in CMU's model (their channels are zero), so the two of them fix its rotation and with
# it the lost bone, exactly: thorax = _SUM (l + r) + _DIFFERENCE (l - r) + _NORMAL (l x r)/|l x r|, l and r the clavicle
# vectors. The numbers follow from the rest pose in 02.asf (tests/training/test_mocap_positions.py computes them anew).
_SUM, _DIFFERENCE, _NORMAL = 1.13849246, -0.00462195, 0.03406864


@dataclass(frozen=True)
class PositionClips:
    """clips[name]: (T, J, 3) float64 metres, y up. parents[j]: index of the parent joint, -1 at the root."""

    clips: dict[str, NDArray[np.float64]]
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    fps: float


def read_positions(path: Path) -> PositionClips:
    """Read a positions npz (never unpickles). Raises InputError for a missing file, another layout, an array of another
    shape, or values that are not finite."""
    hint = "Expected an npz with joint_names, parents, fps and one (T, J, 3) array per clip."
    arrays = read_arrays(path, hint)
    missing = [key for key in ("joint_names", "parents", "fps") if key not in arrays]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)}.", hint)
    try:
        names = tuple(str(name) for name in arrays.pop("joint_names"))
        parents = tuple(int(parent) for parent in arrays.pop("parents"))
        fps = float(arrays.pop("fps"))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: joint_names, parents and fps are not what they should be ({error}).", hint) from None
    if len(parents) != len(names) or not all(-1 <= p < i for i, p in enumerate(parents)) or not 0 < fps < 10_000:
        raise InputError(f"{path}: joint_names, parents and fps do not fit together.", hint)
    if not arrays:
        raise InputError(f"{path} has no clips.", hint)
    for key, values in arrays.items():
        if values.ndim != 3 or values.shape[1:] != (len(names), 3) or values.dtype.kind != "f" or not len(values):
            raise InputError(f"{path}: clip '{key}' has shape {values.shape}, needs (T, {len(names)}, 3).", hint)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
        if bad.size:
            raise InputError(f"{path}: clip '{key}' has positions that are not finite, first in frame {bad[0]}.")
    return PositionClips({key: values.astype(np.float64) for key, values in arrays.items()}, names, parents, fps)


def restore_thorax(source: PositionClips) -> PositionClips:
    """Put the lost thorax bone back: moves neck, head, and arms away from `Spine1` (see the note at _SUM).

    Does nothing when the bone is there. Raises InputError when the layout lacks the joints this needs."""
    names = source.joint_names
    needed = ("Spine1", "Neck", "LeftShoulder", "LeftArm", "RightShoulder", "RightArm")
    missing = [name for name in needed if name not in names]
    if missing:
        raise InputError(f"The position clips have no joints named {', '.join(missing)}.")
    base, neck, l_start, l_end, r_start, r_end = (names.index(name) for name in needed)
    above = np.zeros(len(names), bool)
    for joint, parent in enumerate(source.parents):
        above[joint] = joint in (neck, l_start, r_start) or (parent >= 0 and bool(above[parent]))
    restored = {}
    for key, joints in source.clips.items():
        if np.linalg.norm(joints[:, neck] - joints[:, base], axis=-1).max() > 0.01:
            restored[key] = joints
            continue
        left, right = joints[:, l_end] - joints[:, l_start], joints[:, r_end] - joints[:, r_start]
        normal = np.cross(left, right)
        normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
        thorax = _SUM * (left + right) + _DIFFERENCE * (left - right) + _NORMAL * normal
        restored[key] = joints + above[None, :, None] * thorax[:, None, :]
    return PositionClips(restored, names, source.parents, source.fps)
