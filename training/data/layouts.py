"""Joint orders and axes of published data sets, as tables onto H36M-17.

Human3.6M: 32 joints, of which 17 move (Ionescu et al. 2014; the selection that Pavllo et al. 2019, VideoPose3D, make by
removing static joints). MPI-INF-3DHP: 28 joints, of which the 17 "relevant" ones make up the test set (Mehta et al.
2017; names and order: mpii_get_joint_set.m, which comes with the data). Its onto-H36M order is anatomical: its neck is
H36M's thorax, its head H36M's neck, its head_top H36M's head.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from posepipe.skeleton import H36M_17, MPI_INF_3DHP_17

H36M_32_TO_17 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)

_NAMES_3DHP = {"hip": "pelvis", "thorax": "neck", "neck": "head", "head": "head_top"}
MPI_INF_17_TO_H36M = tuple(MPI_INF_3DHP_17.index(_NAMES_3DHP.get(joint, joint)) for joint in H36M_17.joints)
# The 28 joints in the order of the files; None: not among the 17.
_ALL_3DHP = (
    *(None, None, None, "spine", "pelvis", "neck", "head", "head_top"),
    *(None, "l_shoulder", "l_elbow", "l_wrist", None),
    *(None, "r_shoulder", "r_elbow", "r_wrist", None),
    *("l_hip", "l_knee", "l_ankle", None, None),
    *("r_hip", "r_knee", "r_ankle", None, None),
)
MPI_INF_28_TO_H36M = tuple(_ALL_3DHP.index(_NAMES_3DHP.get(joint, joint)) for joint in H36M_17.joints)

# p_y_up = matrix @ p. Proper turns both, so left stays left.
Z_UP_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
CAMERA_TO_Y_UP = np.diag([1.0, -1, -1])


def to_y_up(points: NDArray, turn: NDArray) -> NDArray[np.float64]:
    """(..., 3) points -> the same, turned by one of the matrices above."""
    return np.asarray(points, np.float64) @ turn.T


def clip_name(*parts: str) -> str:
    """A name that is one HDF5 group and one word on a command line."""
    return re.sub(r"[^\w.-]+", "_", "_".join(parts)).strip("._") or "clip"
