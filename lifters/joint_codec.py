"""What graph and attention networks need around the lifter contract: a token per joint in, hip-relative joints out."""

from __future__ import annotations

import torch
from torch import Tensor

from posepipe.lifters.codec import MIRROR, InputCodec, mirror_joints, mirror_keypoints, pick, seen


class JointCodec(InputCodec):
    """(B,17,2) keypoints and (B,17) confidences -> (B,17,2) tokens, or (B,17,3) with the confidence appended.

    With the default statistics (mean 0, deviation 1) and use_confidence False the network sees the keypoints as they
    are, as the published systems do in `screen` space."""

    def __init__(self, use_confidence: bool = False) -> None:
        super().__init__(use_confidence=use_confidence)

    @property
    def channels(self) -> int:
        return 3 if self.use_confidence else 2

    def forward(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        flat = super().forward(keypoints, confidence)
        xy = flat[:, :34].unflatten(1, (17, 2))
        return torch.cat([xy, flat[:, 34:, None]], -1) if self.use_confidence else xy

    def slope(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        """(B,17,2): how far the tokens move for every unit that the keypoints do, 0 for joints that are not there. So
        the tokens of many noisy poses of one person are its own and a product, and nothing is looked for in each."""
        return seen(keypoints, confidence)[..., None].to(self.std.dtype) / self.std


def with_mirror(keypoints: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
    """(B,17,2), (B,17) -> (2B,17,2), (2B,17): the inputs and, behind them, their mirror images. One pass over twice
    the batch costs less than two passes."""
    return torch.cat([keypoints, mirror_keypoints(keypoints)]), torch.cat([confidence, pick(confidence, 1, MIRROR)])


def mean_of_branches(joints: Tensor) -> Tensor:
    """(2B,...,17,3) answers to `with_mirror`'s inputs -> (B,...,17,3), the mean of plain and mirrored-back."""
    branches = joints.unflatten(0, (2, -1))  # and not chunk, which torch.export cannot follow for a symbolic batch
    return 0.5 * (branches[0] + mirror_joints(branches[1]))


def hip_at_origin(joints: Tensor) -> Tensor:
    """(...,17,3) -> the same with the hip set to 0, as the authors' evaluations do: they overwrite the hip and do not
    subtract it, since all other joints are already predicted relative to the true hip."""
    return torch.cat([torch.zeros_like(joints[..., :1, :]), joints[..., 1:, :]], -2)


def equal_log_weights(slots: Tensor) -> Tensor:
    """(B,H) of anything -> (B,H) filled with -log H."""
    zero = torch.zeros_like(slots)
    return zero - torch.log(torch.ones_like(slots).sum(1, keepdim=True))
