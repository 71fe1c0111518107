"""Could a body do that? Bone lengths, joint angles and motion of H36M-17 poses, in numpy; no truth model is learned.

Every measure can be taken of the true poses too, and should be. The limits of `breaches` were set wide: none of 39,491
frames of real motion (CMU, climbing and martial arts among it) breaks one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.skeleton import H36M_17

Array = NDArray[np.floating]
_PARENT, _CHILD = (np.array(ends) for ends in zip(*H36M_17.bones, strict=True))
_MIRROR = np.array(H36M_17.mirror)
_OF_CHILD = {int(child): i for i, child in enumerate(_CHILD)}
_LEFT = np.array([_OF_CHILD[c] for c in H36M_17.left])
_RIGHT = np.array([_OF_CHILD[int(_MIRROR[c])] for c in H36M_17.left])
_LIMBS = [i for i, c in enumerate(H36M_17.left) if H36M_17.joints[c][2:] in ("knee", "ankle", "elbow", "wrist")]

BREACHES = ("knee bent backwards", "knee or elbow folded flat", "left and right unequal")
BACKWARDS_DEG, FOLDED_DEG, UNEQUAL = 20.0, 165.0, 1.25


def bone_lengths(joints: Array) -> Array:
    """(..., 17, 3) -> (..., 16) metres, in the order of H36M_17.bones."""
    return np.linalg.norm(joints[..., _CHILD, :] - joints[..., _PARENT, :], axis=-1)


def bone_asymmetry(joints: Array) -> Array:
    """Mean difference between the lengths of left and right bones: (..., 17, 3) -> (...) metres."""
    lengths = bone_lengths(joints)
    return np.abs(lengths[..., _LEFT] - lengths[..., _RIGHT]).mean(-1)


def bone_error(joints: Array, truth: Array) -> Array:
    """Mean difference of bone lengths from the true person's: (..., 17, 3), (..., 17, 3) -> (...) metres."""
    return np.abs(bone_lengths(joints) - bone_lengths(truth)).mean(-1)


def breaches(joints: Array) -> NDArray[np.bool_]:
    """(..., 17, 3) -> (..., 3), in the order of BREACHES.

    A knee is bent backwards when the shank stands more than BACKWARDS_DEG before the thigh's line, about the axis from
    the right to the left hip (bending forwards is judged where that axis lies across the thigh, not along it). Folded
    flat: thigh and shank, or upper arm and forearm, more than FOLDED_DEG from straight. Unequal: a limb's bone is
    UNEQUAL times as long as its partner."""
    axis = _unit(joints[..., H36M_17.index("l_hip"), :] - joints[..., H36M_17.index("r_hip"), :])
    backwards, folded = [], []
    for side in ("l_", "r_"):
        for first, middle, last in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
            a, b, c = (joints[..., H36M_17.index(side + name), :] for name in (first, middle, last))
            upper, lower = _unit(b - a), _unit(c - b)
            straight = (upper * lower).sum(-1)
            folded.append(straight < np.cos(np.radians(FOLDED_DEG)))
            if middle == "knee":
                across = axis - (axis * upper).sum(-1, keepdims=True) * upper
                bend = (np.cross(upper, lower) * _unit(across)).sum(-1)
                backwards.append((bend < -np.sin(np.radians(BACKWARDS_DEG))) & (_norm(across)[..., 0] > 0.7))
    lengths = np.maximum(bone_lengths(joints), 1e-9)
    ratio = lengths[..., _LEFT[_LIMBS]] / lengths[..., _RIGHT[_LIMBS]]
    unequal = np.maximum(ratio, 1 / ratio).max(-1) > UNEQUAL
    return np.stack([np.any(backwards, axis=0), np.any(folded, axis=0), unequal], axis=-1)


def velocity_error(poses: Array, truth: Array) -> Array:
    """MPJVE (Pavllo et al. 2019): mean error of the step from frame to frame. (T, J, 3) twice -> () metres a frame."""
    return np.linalg.norm(np.diff(poses - truth, axis=0), axis=-1).mean()


def acceleration(poses: Array) -> Array:
    """Mean size of the second difference, the shaking that one sees: (T, J, 3) -> () metres a frame squared."""
    return np.linalg.norm(np.diff(poses, 2, axis=0), axis=-1).mean()


def _norm(vectors: Array) -> Array:
    return np.linalg.norm(vectors, axis=-1, keepdims=True)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(_norm(vectors), 1e-9)
