"""The light modulated GCN of PRPose with fewer operations, from the same parameters under the same names; what is
exported, since it sees every hypothesis (the variance network, once per person, stays as it is).

Joints come first, (17,N,C): the mixing of joints is then one product of a (17,17) matrix with a (17, N C) one. The
modulation M and the batch norm, both linear in evaluation, go into one weight matrix per joint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posepipe.lifters.layers import batch_norm_line
from posepipe.lifters.prpose.net import LightGraphConv, ModulatedGcn


class FoldedLightGcn(ModulatedGcn):
    """(N,17,in_channels) -> (N,17,out_channels), as ModulatedGcn with light=True in evaluation."""

    def __init__(self, net: ModulatedGcn) -> None:
        nn.Module.__init__(self)
        if not isinstance(net.head, LightGraphConv):
            raise ValueError("only the light network has this form")
        for name, child in net.named_children():
            self.add_module(name, child)
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        x = _stage(self.stem, tokens.transpose(0, 1))
        blocks: list[Any] = list(self.blocks)
        for first, second in blocks:
            x = x + _stage(second, _stage(first, x))
        return _convolve(self.head, x, 1.0, 0.0).transpose(0, 1)


def _stage(stage: Any, x: Tensor) -> Tensor:
    factor, shift = batch_norm_line(stage.norm)
    return torch.relu(_convolve(stage.conv, x, factor, shift))


def _convolve(conv: Any, x: Tensor, factor: Tensor | float, shift: Tensor | float) -> Tensor:
    """The convolution's result times `factor` plus `shift`, (17,N,in) -> (17,N,out)."""
    affinity = conv.adj + conv.adj2
    weight = conv.W * (conv.M * factor)[:, None]  # (17, in, out)
    mixed = ((affinity + affinity.T) / 2) @ (x @ weight).flatten(1)
    return mixed.unflatten(1, (-1, weight.shape[2])) + (conv.bias * factor + shift)
