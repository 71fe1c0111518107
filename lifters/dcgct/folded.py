"""DC-GCT's graph convolution with fewer operations, from the same parameters under the same names; what is exported.

Both batch norms are linear in evaluation, so they go into the linear layers before them. What the first layer's bias
becomes behind the mixing of joints is a constant per joint. Joints are mixed on the narrower side of the first layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posepipe.lifters.dcgct.net import PartitionedGraphConv
from posepipe.lifters.layers import batch_norm_line


class FoldedPartitionedGraphConv(PartitionedGraphConv):
    """(B,17,in) -> (B,17,out), as PartitionedGraphConv in evaluation."""

    def __init__(self, conv: PartitionedGraphConv) -> None:
        nn.Module.__init__(self)
        self.kernels = conv.kernels
        for name, child in conv.named_children():
            self.add_module(name, child)
        self.register_buffer("gather", conv.gather, persistent=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        factor, shift = batch_norm_line(self.norm1)
        weight = self.conv.weight.unflatten(0, (self.kernels, -1)) * factor[:, None]  # (kernels, out, in)
        bias = self.gather.unflatten(1, (-1, self.kernels)).sum(1) @ self.conv.bias.unflatten(0, (self.kernels, -1))
        hidden = self._mixed(x, weight) + (bias * factor + shift)
        factor, shift = batch_norm_line(self.norm2)
        linear = torch.relu(hidden) @ (self.linear.weight * factor[:, None]).T + (self.linear.bias * factor + shift)
        return nn.functional.gelu(linear)

    def _mixed(self, x: Tensor, weight: Tensor) -> Tensor:
        """sum_k A_k^T x W_k^T, (B,17,out)."""
        joints, (kernels, out_features, in_features) = x.shape[1], weight.shape
        if in_features < out_features:
            first = self.gather.unflatten(1, (joints, kernels)).permute(0, 2, 1).flatten(0, 1)  # (17 to, kernel; from)
            wide = (first @ x).unflatten(1, (joints, kernels)).flatten(2)
            return wide @ weight.permute(0, 2, 1).flatten(0, 1)
        wide = (x @ weight.flatten(0, 1).T).unflatten(-1, (kernels, out_features)).flatten(1, 2)
        return self.gather @ wide
