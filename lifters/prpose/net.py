"""The networks of PRPose, Zeng et al. 2024, "Probabilistic Restoration with Adaptive Noise Sampling for 3D Human Pose
Estimation": two variance networks and the light modulated GCN lifter. Tokens are joints: (B,17,channels).

Modulated GCN: Zou & Tang 2021, "Modulated Graph Convolutional Network for 3D Human Pose Estimation" (ICCV).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posepipe.lifters.graph import JOINTS, modulated_adjacency
from posepipe.lifters.htnet.net import ModulatedGraphConv


class LightGraphConv(nn.Module):
    """Modulated graph convolution without the diagonal split: one matrix for a joint itself and its neighbours,
    A (M * x W) + b with A the symmetric part of the skeleton's affinity plus a learned one."""

    adj: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(1, in_features, out_features))
        self.M = nn.Parameter(torch.empty(JOINTS, out_features))
        self.adj2 = nn.Parameter(torch.full((JOINTS, JOINTS), 1e-6))
        self.bias = nn.Parameter(torch.empty(out_features))
        nn.init.xavier_uniform_(self.W, gain=1.414)
        nn.init.xavier_uniform_(self.M, gain=1.414)
        nn.init.uniform_(self.bias, -(out_features**-0.5), out_features**-0.5)
        self.register_buffer("adj", torch.from_numpy(modulated_adjacency()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        affinity = self.adj + self.adj2
        return ((affinity + affinity.T) / 2) @ (self.M * (x @ self.W[0])) + self.bias


class GraphStage(nn.Module):
    """Graph convolution, batch norm over people and joints, ReLU."""

    def __init__(self, in_features: int, width: int, light: bool) -> None:
        super().__init__()
        self.conv = LightGraphConv(in_features, width) if light else ModulatedGraphConv(in_features, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x).flatten(0, 1)).unflatten(0, (-1, JOINTS)))


class ModulatedGcn(nn.Module):
    """(B,17,in_channels) -> (B,17,out_channels): a stage, `blocks` residual pairs of stages, a graph convolution.

    With out_channels 1 it is the variance network, with light=True and out_channels 3 the light lifter ("MGCN_lw")."""

    def __init__(self, in_channels: int, out_channels: int, width: int, blocks: int = 4, light: bool = False) -> None:
        super().__init__()
        self.stem = GraphStage(in_channels, width, light)
        self.blocks = nn.ModuleList(
            nn.Sequential(GraphStage(width, width, light), GraphStage(width, width, light)) for _ in range(blocks)
        )
        self.head = LightGraphConv(width, out_channels) if light else ModulatedGraphConv(width, out_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.stem(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class LinearStage(nn.Module):
    def __init__(self, in_features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(torch.relu(self.norm(self.linear(x))))


class LinearVariance(nn.Module):
    """(B,17,in_channels) -> (B,17,1): the small variance network, all joints in one vector, `blocks` residual pairs."""

    def __init__(self, in_channels: int = 2, width: int = 64, blocks: int = 1, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem = LinearStage(JOINTS * in_channels, width, dropout)
        self.blocks = nn.ModuleList(
            nn.Sequential(LinearStage(width, width, dropout), LinearStage(width, width, dropout)) for _ in range(blocks)
        )
        self.head = nn.Linear(width, JOINTS)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.stem(tokens.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)[..., None]
