"""DC-GCT: "Double-chain Constraints for 3D Human Pose Estimation in Images and Videos", Kang et al. 2023, arXiv
2308.05298: a local chain of graph convolutions and a global chain of attention that constrain each other.

Tokens are joints: every tensor here is (B, 17, channels).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posepipe.lifters.graph import JOINTS, spatial_partitions
from posepipe.lifters.layers import Attention, DropPath, Mlp


class JointBatchNorm(nn.BatchNorm1d):
    """Batch norm over persons and joints of (B,17,C)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, (-1, JOINTS))


class PartitionedGraphConv(nn.Module):
    """One graph convolution block: one linear map per partition of the neighbourhood, x' = sum_k A_k^T (x W_k), then
    batch norm, ReLU, a linear map per joint, batch norm, GELU."""

    gather: Tensor

    def __init__(self, in_features: int, out_features: int, dropout: float) -> None:
        super().__init__()
        partitions = torch.from_numpy(spatial_partitions())
        self.kernels = len(partitions)
        self.conv = nn.Linear(in_features, self.kernels * out_features)
        self.norm1 = JointBatchNorm(out_features)
        self.linear = nn.Linear(out_features, out_features)
        self.norm2 = JointBatchNorm(out_features)
        self.dropout = nn.Dropout(dropout)
        # (17, 17 * kernels): joint w receives from kernel k of joint v, in the order in which `conv` lays them out.
        gather = partitions.permute(2, 1, 0).reshape(JOINTS, JOINTS * self.kernels)
        self.register_buffer("gather", gather.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.conv(x).unflatten(-1, (self.kernels, -1)).flatten(1, 2)
        x = self.dropout(torch.relu(self.norm1(self.gather @ kernels)))
        return nn.functional.gelu(self.dropout(self.norm2(self.linear(x))))


class LocalConstraint(nn.Module):
    """Local Constraint Module, LCM: layer norm, two graph convolution blocks C -> 2C -> C, layer norm, residual."""

    def __init__(self, dim: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(dim)
        self.gcn1 = PartitionedGraphConv(dim, 2 * dim, dropout)
        self.gcn2 = PartitionedGraphConv(2 * dim, dim, dropout)
        self.norm_out = nn.LayerNorm(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.norm_out(self.gcn2(self.gcn1(self.norm_in(x)))))


class GlobalConstraint(nn.Module):
    """Global Constraint Module, GCM: layer norm, self-attention over all joints, residual."""

    def __init__(self, dim: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.attention(self.norm(x)))


class DoubleChain(nn.Module):
    """One block: a fifth of the channels goes local -> global, the rest global -> local; between the two halves of the
    chains, the Feature Interaction Module (FIM, an MLP over all channels) lets each constrain the other."""

    def __init__(self, dim: int, heads: int, dropout: float, gcn_dropout: float, drop_path: float) -> None:
        super().__init__()
        self.small = dim // 5
        large = dim - self.small
        self.local1 = LocalConstraint(self.small, gcn_dropout, drop_path)
        self.global1 = GlobalConstraint(self.small, heads, dropout, drop_path)
        self.global2 = GlobalConstraint(large, heads, dropout, drop_path)
        self.local2 = LocalConstraint(large, gcn_dropout, drop_path)
        self.norm_fusion = nn.LayerNorm(dim, eps=1e-6)
        self.fusion = Mlp(dim, large, dropout)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        small = self.small
        first, second = self.local1(x[..., :small]), self.global2(x[..., small:])
        fused = torch.cat([first, second], -1)
        shared = fused + self.drop_path(self.fusion(self.norm_fusion(fused)))
        first = self.global1(first + shared[..., :small])
        second = self.local2(second + shared[..., small:])
        x = torch.cat([first, second], -1) + fused
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class DCGCT(nn.Module):
    """(B,17,in_channels) 2D tokens -> (B,17,3) metres, hip not forced to 0. channels must divide by 5 x heads."""

    def __init__(
        self,
        in_channels: int = 2,
        channels: int = 160,
        blocks: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
        gcn_dropout: float = 0.05,
        drop_path: tuple[float, float] = (0.1, 0.3),
    ) -> None:
        super().__init__()
        if channels % (5 * heads):
            raise ValueError(f"channels must divide by {5 * heads} (5 x heads), got {channels}")
        self.embed = nn.Linear(in_channels, channels)
        self.position = nn.Parameter(torch.zeros(1, JOINTS, channels))
        self.dropout = nn.Dropout(dropout)
        rates = torch.linspace(drop_path[0], drop_path[1], blocks).tolist()
        self.blocks = nn.ModuleList(DoubleChain(channels, heads, dropout, gcn_dropout, rate) for rate in rates)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embed(tokens) + self.position)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
