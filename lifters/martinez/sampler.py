"""Martinez et al. 2017 behind the lifter contract: one hypothesis, no noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from posepipe.lifters.codec import InputCodec, OutputCodec
from posepipe.lifters.joint_codec import mean_of_branches, with_mirror
from posepipe.lifters.martinez.net import ResidualLinear


class MartinezSampler(nn.Module):
    """keypoints (B,17,2), confidence (B,17), noise (B,H) -> hypotheses (B,H,17,3) metres, log_weights (B,H).

    joints: which of the 17 the network sees (the authors' files: 16).
    The noise is ignored but for its shape; H other than 1 would be copies, so the checkpoint fixes H = 1.
    flip: average with the mirrored input (not in the paper; what VideoPose3D's successors do at test time).
    """

    def __init__(
        self, flip: bool = False, use_confidence: bool = True, joints: Sequence[int] = range(17), **network: Any
    ) -> None:
        super().__init__()
        self.flip = flip
        self.input = InputCodec(joints, use_confidence)
        self.net = ResidualLinear(self.input.features, **network)
        self.output = OutputCodec()

    def forward(self, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        pose = self.pose(keypoints, confidence)
        hypotheses = pose[:, None] + torch.zeros_like(noise)[:, :, None, None]
        count = torch.ones_like(noise).sum(1, keepdim=True)
        return hypotheses, torch.zeros_like(noise) - torch.log(count)

    def pose(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        """(B,17,3) metres."""
        if not self.flip:
            return self.output(self.net(self.input(keypoints, confidence)))
        return mean_of_branches(self.output(self.net(self.input(*with_mirror(keypoints, confidence)))))
