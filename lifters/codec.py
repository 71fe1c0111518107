"""What stands between a network and the lifter contract: selecting joints, standardising, and the way back to metres.

Both are torch modules with buffers only, so that their numbers travel inside the checkpoint and the exported graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from posepipe.skeleton import H36M_17

MIRROR = list(H36M_17.mirror)
ALL_BUT_HIP = tuple(range(1, 17))


class InputCodec(nn.Module):
    """(B,17,2) keypoints and (B,17) confidences -> (B,F) standardised features.

    joints: which joints the network sees. use_confidence: append the confidences. A keypoint that is NaN or has
    confidence 0 becomes the mean (0 after standardising), so NaN in one person cannot reach another.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, joints: Sequence[int] = range(17), use_confidence: bool = True) -> None:
        super().__init__()
        self.joints = list(joints)
        self.use_confidence = use_confidence
        self.register_buffer("mean", torch.zeros(len(self.joints), 2))
        self.register_buffer("std", torch.ones(len(self.joints), 2))

    @property
    def features(self) -> int:
        return len(self.joints) * (3 if self.use_confidence else 2)

    def forward(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        xy, c = keypoints, confidence
        if self.joints != list(range(17)):
            xy, c = pick(xy, 1, self.joints), pick(c, 1, self.joints)
        there = seen(xy, c)
        zero = torch.zeros_like(c)
        xy = torch.where(there[..., None], (xy - self.mean) / self.std, zero[..., None])
        flat = xy.flatten(1)
        return torch.cat([flat, torch.where(there, c, zero)], 1) if self.use_confidence else flat


def seen(keypoints: Tensor, confidence: Tensor) -> Tensor:
    """(...,J,2), (...,J) -> (...,J): which keypoints there are."""
    return (confidence > 0) & ~torch.isnan(keypoints).any(-1)


class OutputCodec(nn.Module):
    """(..., 3 J) network outputs -> (..., 17, 3) metres: y = z @ basis^T + mean for the joints that the network gives,
    0 for the hip.

    basis is diagonal for the published per-dimension standardisation; a full matrix (a square root of the covariance
    of the residuals) makes a kernel that is isotropic for the network follow the shape of real errors.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, joints: Sequence[int] = ALL_BUT_HIP) -> None:
        super().__init__()
        if list(joints) != list(ALL_BUT_HIP):
            raise ValueError("only 'every joint but the hip' is supported")
        self.register_buffer("mean", torch.zeros(48))
        self.register_buffer("basis", torch.eye(48))

    def forward(self, z: Tensor) -> Tensor:
        flat = z @ self.basis.T + self.mean
        joints = flat.unflatten(-1, (16, 3))
        return torch.cat([torch.zeros_like(joints[..., :1, :]), joints], -2)

    def encode(self, joints: Tensor) -> Tensor:
        """(..., 17, 3) metres -> (..., 48) network outputs; the inverse of forward."""
        flat = joints[..., 1:, :].flatten(-2) - self.mean
        return torch.linalg.solve(self.basis, flat.mT).mT if flat.dim() == 2 else flat @ torch.linalg.inv(self.basis).T


def pick(x: Tensor, dim: int, indices: Sequence[int]) -> Tensor:
    """x with only these indices along dim.

    One Gather in the exported graph, where x[:, list] becomes a GatherND among a dozen shape operators. On a GPU slices
    that are put together: an index tensor would be copied from the host in every call, which waits for the GPU and
    which no CUDA graph can hold."""
    if on_gpu(x):
        return torch.cat([x.narrow(dim, first, count) for first, count in runs(indices)], dim)
    return x.index_select(dim, torch.tensor(list(indices), device=x.device))


def runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Indices as (first, how many) of ascending stretches: 4, 5, 6, 1, 2 -> (4, 3), (1, 2)."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and index == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((index, 1))
    return found


def on_gpu(x: Tensor) -> bool:
    return x.is_cuda


def mirror_keypoints(keypoints: Tensor) -> Tensor:
    """(..., 17, 2) -> left and right swapped, x negated (input spaces are centred on x = 0)."""
    return _x_negated(pick(keypoints, -2, MIRROR))


def mirror_joints(joints: Tensor) -> Tensor:
    """(..., 17, 3) -> left and right swapped, x negated."""
    return _x_negated(pick(joints, -2, MIRROR))


def _x_negated(x: Tensor) -> Tensor:
    if on_gpu(x):
        return torch.cat([-x[..., :1], x[..., 1:]], -1)
    return x * torch.tensor([-1.0] + [1.0] * (x.shape[-1] - 1), device=x.device)
