"""The residual linear network of Martinez et al. 2017, "A simple yet effective baseline for 3d human pose estimation"
(ICCV 2017), §3 and figure 1: linear - batch norm - ReLU - dropout, twice in each residual block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaxNormLinear(nn.Linear):
    """A linear layer whose weight matrix is scaled to a Frobenius norm of at most 1 (§3.2, "max-norm"; the authors clip
    the whole matrix, in the forward pass, at test time too; the stored matrix stays unclipped)."""

    def __init__(self, in_features: int, out_features: int, max_norm: bool = True) -> None:
        super().__init__(in_features, out_features)
        self.max_norm = max_norm

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.clipped(), self.bias)

    def clipped(self) -> Tensor:
        """(out_features, in_features), the matrix that is used."""
        if not self.max_norm:
            return self.weight
        norm = torch.sqrt((self.weight * self.weight).sum())
        return self.weight / torch.clamp(norm, min=1.0)


class Stage(nn.Module):
    """Linear, batch norm (eps 1e-3 as in TensorFlow 1), ReLU, dropout."""

    def __init__(self, in_features: int, width: int, dropout: float, max_norm: bool) -> None:
        super().__init__()
        self.linear = MaxNormLinear(in_features, width, max_norm)
        self.norm = nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(torch.relu(self.norm(self.linear(x))))


class Trunk(nn.Module):
    """(B, in_features) -> (B, width): the first stage and `blocks` residual blocks. The mixture density network of Li &
    Lee 2019 stands on the same trunk."""

    def __init__(self, in_features: int, width: int, blocks: int, dropout: float, max_norm: bool) -> None:
        super().__init__()
        self.stem = Stage(in_features, width, dropout, max_norm)
        self.blocks = nn.ModuleList(
            nn.Sequential(Stage(width, width, dropout, max_norm), Stage(width, width, dropout, max_norm))
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return x


class ResidualLinear(nn.Module):
    """(B, in_features) standardised 2D -> (B, out_features) standardised 3D."""

    def __init__(
        self,
        in_features: int,
        out_features: int = 48,
        width: int = 1024,
        blocks: int = 2,
        dropout: float = 0.5,
        max_norm: bool = True,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(in_features, width, blocks, dropout, max_norm)
        self.head = MaxNormLinear(width, out_features, max_norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))
