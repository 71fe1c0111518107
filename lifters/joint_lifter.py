"""A network that maps joint tokens straight to a pose, behind the lifter contract: one hypothesis, no noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from posepipe.lifters.joint_codec import JointCodec, equal_log_weights, hip_at_origin, mean_of_branches, with_mirror


class JointLifter(nn.Module):
    """keypoints (B,17,2), confidence (B,17), noise (B,H) -> hypotheses (B,H,17,3) metres, log_weights (B,H).

    make_net: number of input channels per joint -> a network (B,17,channels) -> (B,17,3) metres. flip: average with
    the mirrored input, as the authors of HTNet and DC-GCT do at test time. The noise is ignored but for its shape; H
    other than 1 would be copies, so the checkpoint fixes H = 1.
    """

    def __init__(self, make_net: Callable[[int], nn.Module], flip: bool, use_confidence: bool) -> None:
        super().__init__()
        self.flip = flip
        self.input = JointCodec(use_confidence)
        self.net = make_net(self.input.channels)

    def forward(self, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        pose = hip_at_origin(self.pose(keypoints, confidence))
        slots = torch.zeros_like(noise)
        return pose[:, None] + slots[:, :, None, None], equal_log_weights(slots)

    def pose(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        """(B,17,3) metres, the hip as the network gives it."""
        if not self.flip:
            return self.net(self.input(keypoints, confidence))
        return mean_of_branches(self.net(self.input(*with_mirror(keypoints, confidence))))
