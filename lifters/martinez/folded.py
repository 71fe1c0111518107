"""Martinez' trunk with fewer operations, from the same parameters under the same names; what is exported for a CPU.

Batch norm, linear in evaluation, and norm clipping go into the linear layer's matrix and bias, so that a stage is one
product with its ReLU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posepipe.lifters.layers import batch_norm_line
from posepipe.lifters.martinez.net import Trunk


class FoldedTrunk(Trunk):
    """(B, in_features) -> (B, width), as Trunk in evaluation."""

    def __init__(self, trunk: Trunk) -> None:
        nn.Module.__init__(self)
        for name, child in trunk.named_children():
            self.add_module(name, child)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = _stage(self.stem, x)
        blocks: list[Any] = list(self.blocks)
        for first, second in blocks:
            x = x + _stage(second, _stage(first, x))
        return x


def _stage(stage: Any, x: Tensor) -> Tensor:
    factor, shift = batch_norm_line(stage.norm)
    linear = stage.linear
    return torch.relu(nn.functional.linear(x, linear.clipped() * factor[:, None], linear.bias * factor + shift))
