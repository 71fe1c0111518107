"""Joint positions -> a skeleton of constant bone lengths and the rotations that pose it, for BVH.

A joint with several children (hip, thorax) can turn only as a whole, but an estimated pelvis is not rigid. So each of
their bones hangs on a helper of length 0 that takes up the rest of the rotation, as CMU's `LHipJoint` does: every
bone then has exactly the direction that it was seen in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.export.clip import last_good
from posepipe.skeleton import H36M_17

# The rest pose: a T, upright, facing +z with y up; so the person's left is +x. Direction from a joint's parent to it.
_UP, _DOWN, _LEFT, _RIGHT = (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0)
_REST = {
    **dict.fromkeys(("spine", "thorax", "neck", "head"), _UP),
    **dict.fromkeys(("r_knee", "r_ankle", "l_knee", "l_ankle"), _DOWN),
    **dict.fromkeys(("l_hip", "l_shoulder", "l_elbow", "l_wrist"), _LEFT),
    **dict.fromkeys(("r_hip", "r_shoulder", "r_elbow", "r_wrist"), _RIGHT),
}
_NO_LENGTH = 1e-6  # metres; a shorter bone has no direction
_NO_ANGLE = 1e-3  # sine of the angle below which two directions span no plane

# Joints with several children and the bones (from, to) that say how they are turned: leftwards, upwards.
_FRAMES = {"hip": (("r_hip", "l_hip"), ("hip", "spine")), "thorax": (("r_shoulder", "l_shoulder"), ("spine", "thorax"))}


@dataclass(frozen=True)
class Node:
    """One joint of the BVH tree. parent: index of its node, -1 at the root. offset: (3,) metres from the parent's
    node, in the rest pose. joint: its index in H36M-17, None for a helper. bone: the H36M-17 joint that its rotation
    points at; None for an end of a limb and for the joints of several children."""

    name: str
    parent: int
    offset: NDArray[np.float64]
    joint: int | None
    bone: int | None


@dataclass(frozen=True)
class Motion:
    """nodes: parents before their children. root: (N, 3) metres, of the first node. rotations: (N, nodes, 3, 3), from
    a node's frame to its parent's; the rest pose is the identity everywhere."""

    nodes: tuple[Node, ...]
    root: NDArray[np.float64]
    rotations: NDArray[np.float64]


def bone_lengths(joints: NDArray) -> NDArray[np.float64]:
    """(N, 17, 3) -> (17,) the median over the clip of each joint's distance from its parent; 0 for the hip."""
    lengths = np.zeros(17)
    for parent, child in H36M_17.bones:
        lengths[child] = np.median(np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1))
    return lengths


def fit(joints: NDArray) -> Motion:
    """(N, 17, 3) metres, y up, all finite -> the motion whose bones have constant lengths and the seen directions.

    A bone's rotation is the smallest that turns it from its parent's frame (swing without twist). The hip is turned by
    the line of the hips and the spine, the thorax by the shoulders and the spine."""
    nodes = _nodes(bone_lengths(joints))
    turned = np.empty((len(joints), len(nodes), 3, 3))  # from the node's frame to the world
    for index, node in enumerate(nodes):
        above = turned[:, node.parent] if node.parent >= 0 else np.broadcast_to(np.eye(3), (len(joints), 3, 3))
        if node.bone is not None:
            start, name = H36M_17.parents[node.bone], H36M_17.joints[node.bone]
            turned[:, index] = _swung(above, np.array(_REST[name], float), joints[:, node.bone] - joints[:, start])
        elif node.name in _FRAMES:
            turned[:, index] = _frame(joints, node.name)
        else:
            turned[:, index] = above
    parents = [max(node.parent, 0) for node in nodes]
    local = np.swapaxes(turned[:, parents], -1, -2) @ turned
    local[:, 0] = turned[:, 0]
    return Motion(nodes, joints[:, 0].copy(), local)


def _nodes(lengths: NDArray[np.float64]) -> tuple[Node, ...]:
    """The tree, depth first."""
    nodes: list[Node] = []

    def add(joint: int, parent: int) -> None:
        name = H36M_17.joints[joint]
        children = [c for c, p in enumerate(H36M_17.parents) if p == joint]
        offset = lengths[joint] * np.array(_REST.get(name, (0, 0, 0)), float)
        nodes.append(Node(name, parent, offset, joint, children[0] if len(children) == 1 else None))
        here = len(nodes) - 1
        for child in children:
            if len(children) > 1:
                nodes.append(Node(f"{name}_to_{H36M_17.joints[child]}", here, np.zeros(3), None, child))
                add(child, len(nodes) - 1)
            else:
                add(child, here)

    add(0, -1)
    return tuple(nodes)


def _unit(vectors: NDArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N, 3) -> the unit vectors and which of them have a direction."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, _NO_LENGTH), length[:, 0] > _NO_LENGTH


def _swung(above: NDArray, rest: NDArray, bone: NDArray) -> NDArray[np.float64]:
    """(N, 3, 3) frames `above`, turned the shortest way so that `rest` (along x or y) points along `bone` (N, 3)."""
    start = above @ rest
    target, known = _unit(bone)
    target = np.where(known[:, None], target, start)
    axis = np.cross(start, target)
    cosine = np.einsum("ni,ni->n", start, target)[:, None, None]
    cross = np.zeros((len(bone), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= np.swapaxes(cross, -1, -2)
    swing = np.eye(3) + cross + cross @ cross / np.maximum(1 + cosine, 1e-8)
    about = above[:, :, 2]  # exactly opposite: half a turn about z, to which rest is perpendicular
    half_turn = 2 * about[:, :, None] * about[:, None, :] - np.eye(3)
    return np.where(cosine > -1 + 1e-8, swing, half_turn) @ above


def _frame(joints: NDArray, name: str) -> NDArray[np.float64]:
    """(N, 3, 3) with x leftwards and y upwards as _FRAMES says; where that has no answer, the frame before it."""
    (right, left), (low, high) = (tuple(map(H36M_17.index, pair)) for pair in _FRAMES[name])
    x, sideways = _unit(joints[:, left] - joints[:, right])
    up, upwards = _unit(joints[:, high] - joints[:, low])
    y = up - np.einsum("ni,ni->n", up, x)[:, None] * x
    good = sideways & upwards & (np.linalg.norm(y, axis=-1) > _NO_ANGLE)
    if not good.any():
        return np.broadcast_to(np.eye(3), (len(joints), 3, 3))
    y, _ = _unit(y)
    return np.stack([x, y, np.cross(x, y)], axis=-1)[last_good(good)]


def euler_zxy(rotations: NDArray) -> NDArray[np.float64]:
    """(N, J, 3, 3) -> (N, J, 3) degrees about z, x, y: R = Rz Rx Ry, without jumps over time.

    Every rotation has two triples of angles, and each angle is free by whole turns: the nearest to the frame before
    is taken, so that programs that interpolate between frames do not spin limbs around."""
    r = rotations
    flat = np.hypot(r[..., 0, 1], r[..., 1, 1])
    x = np.arctan2(r[..., 2, 1], flat)
    free = flat > 1e-6  # otherwise z and y turn about the same line
    z = np.where(free, np.arctan2(-r[..., 0, 1], r[..., 1, 1]), np.arctan2(r[..., 1, 0], r[..., 0, 0]))
    y = np.where(free, np.arctan2(-r[..., 2, 0], r[..., 2, 2]), 0.0)
    first = np.degrees(np.stack([z, x, y], axis=-1))
    second = np.stack([first[..., 0] + 180, 180 - first[..., 1], first[..., 2] + 180], axis=-1)
    angles = np.empty_like(first)
    before = np.zeros(first.shape[1:])
    for frame in range(len(first)):
        near = [c + 360 * np.round((before - c) / 360) for c in (first[frame], second[frame])]
        far = [np.abs(c - before).sum(-1, keepdims=True) for c in near]
        before = angles[frame] = np.where(far[0] <= far[1], near[0], near[1])
    return angles
