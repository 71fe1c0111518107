"""Acclaim skeletons and motions as values, and forward kinematics over all frames at once.

Conventions as in asfamc.py, which reads the files: y up, lengths in file units until metres_per_unit is applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROOT = "root"


@dataclass(frozen=True)
class Bone:
    """One bone of an ASF file. direction: unit vector (file frame). length: file units. axis: the bone frame's angles
    as written, in the file's unit, applied in the order of axis_order ("XYZ": about x first). dof: its channels in
    AMC order. limits: one (low, high) per channel, or empty."""

    name: str
    direction: tuple[float, float, float]
    length: float
    axis: tuple[float, float, float]
    axis_order: str
    dof: tuple[str, ...] = ()
    limits: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class AcclaimSkeleton:
    """An ASF file. bones are ordered parents first; parents[name] is a bone name or "root".

    metres_per_unit multiplies positions and bone lengths. degrees: whether angles in this file are degrees.
    """

    bones: tuple[Bone, ...]
    parents: dict[str, str]
    metres_per_unit: float
    degrees: bool
    root_order: tuple[str, ...]
    root_position: tuple[float, float, float]
    root_orientation: tuple[float, float, float]
    root_axis: str

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the J joints that forward_kinematics returns: "root", then the *end* of every bone."""
        return (ROOT, *(bone.name for bone in self.bones))

    @property
    def joint_parents(self) -> tuple[int, ...]:
        """Index of each joint's parent in joint_names, -1 for the root."""
        names = self.joint_names
        return (-1, *(names.index(self.parents[bone.name]) for bone in self.bones))


@dataclass(frozen=True)
class AcclaimMotion:
    """An AMC file: channels[name] is (T, number of channels) float64 in the file's units; degrees: of its angles.
    truncated: the file ended inside a frame, which was left out."""

    channels: dict[str, NDArray[np.float64]]
    degrees: bool
    frames: int
    truncated: bool = False


def rotation(angles: NDArray[np.float64], order: str) -> NDArray[np.float64]:
    """(..., k) radians about the k axes named by order (letters of "XYZ", the first is applied first) -> (..., 3, 3)
    matrices for column vectors: "XYZ" gives Rz @ Ry @ Rx."""
    result = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for column, letter in enumerate(order.upper()):
        cos, sin = np.cos(angles[..., column]), np.sin(angles[..., column])
        i = "XYZ".index(letter)
        j, k = (i + 1) % 3, (i + 2) % 3
        one = np.zeros((*angles.shape[:-1], 3, 3))
        one[..., i, i] = 1.0
        one[..., j, j] = one[..., k, k] = cos
        one[..., j, k], one[..., k, j] = -sin, sin
        result = one @ result
    return result


def forward_kinematics(skeleton: AcclaimSkeleton, motion: AcclaimMotion) -> NDArray[np.float64]:
    """Joint positions (T, J, 3) in metres, world frame of the files (y up); joints as skeleton.joint_names.

    With C the rotation of a bone's `axis`, M that of its channels and P the accumulated rotation of its parent:
    G = P C M C^-1, end = end of the parent + G @ direction * length. The root turns by C M C^-1 too and stands at
    its rest position plus its translation channels."""
    file_unit = np.pi / 180 if skeleton.degrees else 1.0
    motion_unit = np.pi / 180 if motion.degrees else 1.0
    values = motion.channels[ROOT]
    order = skeleton.root_order
    translation = np.stack([values[:, order.index(c)] for c in ("tx", "ty", "tz")], axis=1)
    turns = [(i, c[1]) for i, c in enumerate(order) if c[0] == "r"]
    frame_of = rotation(np.array(skeleton.root_orientation) * file_unit, skeleton.root_axis)
    turn = rotation(values[:, [i for i, _ in turns]] * motion_unit, "".join(letter for _, letter in turns))
    rotations = {ROOT: frame_of @ turn @ frame_of.T}
    ends = {ROOT: (np.array(skeleton.root_position) + translation) * skeleton.metres_per_unit}
    for bone in skeleton.bones:
        parent = skeleton.parents[bone.name]
        turned = rotations[parent]
        if bone.dof:
            frame_of = rotation(np.array(bone.axis) * file_unit, bone.axis_order)
            own = rotation(motion.channels[bone.name] * motion_unit, "".join(channel[1] for channel in bone.dof))
            turned = turned @ (frame_of @ own @ frame_of.T)
        rotations[bone.name] = turned
        offset = np.array(bone.direction) * (bone.length * skeleton.metres_per_unit)
        ends[bone.name] = ends[parent] + turned @ offset
    return np.stack([ends[joint] for joint in skeleton.joint_names], axis=1)
