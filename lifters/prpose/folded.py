"""The light modulated GCN of PRPose with fewer operations, from the same parameters under the same names; what is
exported, since it sees every hypothesis (the variance network, once per person, stays as it is).

- Joints come first, (17,N,C): the mixing of joints is then one product of a (17,17) matrix with a (17, N C) one.
- The modulation M and the batch norm, both linear in evaluation, go into one weight matrix per joint.
- relu(x + b) is max(x, -b) + b. What is added goes through the next stage's products ahead of time, once per joint
  and channel, so that no bias is ever added to hypotheses and a stage ends in one pass over them.
- The first stage, on very few channels, is one (17 in, C) matrix per joint.
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
        mixing, weight, own = _line(self.stem.conv, self.stem.norm)
        dense = mixing[:, :, None, None] * weight  # (17 to, 17 from, in, C)
        x = torch.maximum(tokens.flatten(1)[None] @ dense.flatten(1, 2), -own)  # without `own`, which is still to add
        constant = own
        blocks: list[Any] = list(self.blocks)
        for first, second in blocks:
            moved, shift = _stage(second, *_stage(first, x, constant))
            x, constant = x + moved, constant + shift
        x, constant = _convolve(x, constant, *_line(self.head, None))
        return (x + constant).transpose(0, 1)


def _stage(stage: Any, x: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """A stage's result as (17,N,C) and the (17,1,C) to add to it, from its input given in the same way."""
    mixed, bias = _convolve(x, constant, *_line(stage.conv, stage.norm))
    return torch.maximum(mixed, -bias), bias


def _convolve(x: Tensor, constant: Tensor, mixing: Tensor, weight: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    return _mix(mixing, x @ weight), _mix(mixing, constant @ weight) + own


def _line(conv: Any, norm: nn.BatchNorm1d | None) -> tuple[Tensor, Tensor, Tensor]:
    """A convolution, and the norm behind it, as mixing (17,17), weight (17,in,out) and bias (1,1,out)."""
    factor, shift = batch_norm_line(norm) if norm is not None else (1.0, 0.0)
    affinity = conv.adj + conv.adj2
    return (affinity + affinity.T) / 2, conv.W * (conv.M * factor)[:, None], (conv.bias * factor + shift)[None, None]


def _mix(mixing: Tensor, x: Tensor) -> Tensor:
    """(17,17) times (17,N,C) over the joints."""
    return (mixing @ x.flatten(1)).unflatten(1, x.shape[1:])
