"""Martinez' lifter as PRPose's: not in the paper, which has HTNet and the light GCN, but its hypotheses spread further
for the same noise, and it is the fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from posepipe.lifters.martinez.sampler import MartinezSampler


class MartinezTokens(nn.Module):
    """(N,17,3) tokens, keypoints as given and confidence -> (N,17,3) metres. Standardises by its own statistics."""

    def __init__(self, network: Mapping[str, Any]) -> None:
        super().__init__()
        self.martinez = MartinezSampler(**network)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.martinez.pose(tokens[..., :2], tokens[..., 2])
