"""HTNet: "Human Topology Aware Network for 3D Human Pose Estimation", Cai et al. 2023 (ICASSP), arXiv 2302.09790.

Three mixers look at the body on three scales: joints (LJC), limbs (IPC) and the whole body (GBI), chained one behind
the other over thirds of the channels (figure 2). Tokens are joints: every tensor here is (B, 17, channels).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posepipe.lifters.graph import JOINTS, modulated_adjacency
from posepipe.lifters.layers import Attention, DropPath, Mlp

R_LEG, L_LEG, L_ARM, R_ARM = (1, 2, 3), (4, 5, 6), (11, 12, 13), (14, 15, 16)
LIMBS = (R_LEG, L_LEG, L_ARM, R_ARM)


class ModulatedGraphConv(nn.Module):
    """Modulated graph convolution (Zou & Tang 2021, "Modulated Graph Convolutional Network for 3D Human Pose
    Estimation"): (A*I)(M*xW0) + (A*(1-I))(M*xW1) + b, with A the symmetric part of the skeleton's affinity plus a
    learned one."""

    adj: Tensor
    eye: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(2, in_features, out_features))
        self.M = nn.Parameter(torch.empty(JOINTS, out_features))
        self.adj2 = nn.Parameter(torch.full((JOINTS, JOINTS), 1e-6))
        self.bias = nn.Parameter(torch.empty(out_features))
        nn.init.xavier_uniform_(self.W, gain=1.414)
        nn.init.xavier_uniform_(self.M, gain=1.414)
        nn.init.uniform_(self.bias, -(out_features**-0.5), out_features**-0.5)
        self.register_buffer("adj", torch.from_numpy(modulated_adjacency()), persistent=False)
        self.register_buffer("eye", torch.eye(JOINTS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        affinity = self.adj + self.adj2
        affinity = (affinity + affinity.T) / 2
        own = (affinity * self.eye).sum(1, keepdim=True) * self.M
        return own * (x @ self.W[0]) + (affinity * (1 - self.eye)) @ (self.M * (x @ self.W[1])) + self.bias


class LocalJointConnection(nn.Module):
    """LJC: two modulated graph convolutions between layer norms, with a residual connection."""

    def __init__(self, dim: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(dim)
        self.gcn1 = ModulatedGraphConv(dim, hidden)
        self.gcn2 = ModulatedGraphConv(hidden, dim)
        self.norm_out = nn.LayerNorm(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.gcn1(self.norm_in(x)))
        return x + self.drop_path(self.norm_out(self.gcn2(hidden)))


class LimbPool(nn.Module):
    """One scale of IPC: the last `size` joints of each limb become one token (a convolution whose stride is its width,
    so a linear layer on the joined tokens), which then replaces the joints that hang from the first of them.

    (B,17,C) -> (B,17,C), the normalised input with those joints overwritten."""

    read: Tensor
    write: Tensor

    def __init__(self, dim: int, size: int, targets: dict[int, int], hidden: int, dropout: float, drop_path: float):
        super().__init__()
        self.size = size
        self.norm = nn.LayerNorm(dim)
        self.pool = nn.Linear(size * dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden, dropout)
        self.drop_path = DropPath(drop_path)
        write = [JOINTS + targets[j] if j in targets else j for j in range(JOINTS)]
        self.register_buffer("read", torch.tensor([j for limb in LIMBS for j in limb[-size:]]), persistent=False)
        self.register_buffer("write", torch.tensor(write), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        tokens = x.index_select(1, self.read).unflatten(1, (len(LIMBS), self.size)).flatten(2)
        pooled = self.drop_path(nn.functional.gelu(self.pool(tokens)))
        pooled = pooled + self.drop_path(self.mlp(self.norm_mlp(pooled)))
        return torch.cat([x, pooled], 1).index_select(1, self.write)


class IntraPartConstraint(nn.Module):
    """IPC: limbs pooled over their three joints and over their last two, both added to the input."""

    def __init__(self, dim: int, hidden: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        three = {j: t for t, limb in enumerate(LIMBS) for j in limb[1:]}
        two = {limb[2]: t for t, limb in enumerate(LIMBS)}
        self.three = LimbPool(dim, 3, three, hidden, dropout, drop_path)
        self.two = LimbPool(dim, 2, two, hidden, dropout, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(x) + self.two(x) + x


class GlobalBodyInteraction(nn.Module):
    """GBI: self-attention over all joints, with a residual connection."""

    def __init__(self, dim: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.attention(self.norm(x)))


class HierarchicalMixer(nn.Module):
    """One block (figure 2, "channel-split progressive"): each scale has a third of the channels and adds to it what the
    finer scale found."""

    def __init__(self, dim: int, hidden: int, gcn_hidden: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        third = dim // 3
        self.third = third
        self.ljc = LocalJointConnection(third, gcn_hidden, drop_path)
        self.ipc = IntraPartConstraint(third, hidden, dropout, drop_path)
        self.gbi = GlobalBodyInteraction(third, heads, dropout, drop_path)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, hidden, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = x[..., : self.third], x[..., self.third : 2 * self.third], x[..., 2 * self.third :]
        joints = self.ljc(first)
        parts = self.ipc(joints + second)
        body = self.gbi(parts + last)
        x = torch.cat([joints, parts, body], -1)
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class HTNet(nn.Module):
    """(B,17,in_channels) 2D tokens -> (B,17,3) metres, hip not forced to 0. channels must divide by 3 x heads."""

    def __init__(
        self,
        in_channels: int = 2,
        channels: int = 240,
        blocks: int = 3,
        hidden: int = 1024,
        gcn_hidden: int = 384,
        heads: int = 8,
        dropout: float = 0.1,
        drop_path: tuple[float, float] = (0.1, 0.3),
    ) -> None:
        super().__init__()
        if channels % (3 * heads):
            raise ValueError(f"channels must divide by {3 * heads} (3 x heads), got {channels}")
        self.embed = nn.Linear(in_channels, channels)
        self.position = nn.Parameter(torch.zeros(1, JOINTS, channels))
        self.dropout = nn.Dropout(dropout)
        rates = torch.linspace(drop_path[0], drop_path[1], blocks).tolist()
        self.blocks = nn.ModuleList(
            HierarchicalMixer(channels, hidden, gcn_hidden, heads, dropout, rate) for rate in rates
        )
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embed(tokens) + self.position)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))
