"""Poses without a camera, as the discriminator of Li & Lee 2020 judges them: turned to face one way, so that only the
posture is left. The authors publish no data preparation; like RepNet (Wandt & Rosenhahn 2019, §3.2: "aligned to a
template" by hips and shoulders) we turn by hips and shoulders, here in closed form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from posepipe.lifters.wsgan.net import JOINTS
from posepipe.lifters.wsgan.sampler import CAMERA_SCALE
from posepipe.skeleton import H36M_17

_L_HIP, _R_HIP, _THORAX, _L_SHOULDER, _R_SHOULDER = (
    H36M_17.index(name) for name in ("l_hip", "r_hip", "thorax", "l_shoulder", "r_shoulder")
)


def facing(joints: Tensor) -> Tensor:
    """(B,17,3) metres in any frame -> (B,3,3) rotations from it to the person's own: x from right to left hip and
    shoulder together, y down from thorax to hip as far as across x, z behind the person."""
    across = joints[:, _L_HIP] - joints[:, _R_HIP] + joints[:, _L_SHOULDER] - joints[:, _R_SHOULDER]
    x = functional.normalize(across, dim=-1)
    down = joints[:, 0] - joints[:, _THORAX]
    y = functional.normalize(down - (down * x).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], 1)


def template_pose(joints: Tensor) -> Tensor:
    """(B,17,3) metres in any frame -> (B,48) coordinate-major, in the person's own frame, in units of CAMERA_SCALE
    metres, the mean of the 16 joints at 0 (as it is in the 2D that they must project to)."""
    order = [H36M_17.index(name) for name in JOINTS]
    turned = facing(joints) @ joints[:, order].mT
    return ((turned - turned.mean(-1, keepdim=True)) / CAMERA_SCALE).flatten(1)
