"""Layers that more than one of the transformer-like lifters uses. Tokens are joints: (..., 17, channels)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear, GELU, dropout, linear, dropout (Vaswani et al. 2017, §3.3, with GELU)."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.dropout(nn.functional.gelu(self.fc1(x)))))


class Attention(nn.Module):
    """Multi-head self-attention over the joints, (...,17,C) -> (...,17,C) (Vaswani et al. 2017, §3.2.2).

    One matrix makes queries, keys and values; output dropout, and dropout of the attention weights if asked for."""

    def __init__(self, dim: int, heads: int, dropout: float, weight_dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels do not divide into {heads} heads")
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.weight_dropout = nn.Dropout(weight_dropout)

    def forward(self, x: Tensor) -> Tensor:
        # unbind and not chunk, which is exported as a sequence, a type that TensorRT does not have
        query, key, value = (self._split(part) for part in self.qkv(x).unflatten(-1, (3, -1)).unbind(-2))
        weights = torch.softmax((query * self.scale) @ key.transpose(-1, -2), -1)
        mixed = self.weight_dropout(weights) @ value
        return self.dropout(self.proj(mixed.transpose(-2, -3).flatten(-2)))

    def _split(self, x: Tensor) -> Tensor:
        """(...,17,C) -> (...,heads,17,C/heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, whole samples of a residual branch are left out with
    probability `rate` and the others scaled up; the identity in evaluation."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand(x.shape[:1] + (1,) * (x.dim() - 1), device=x.device, dtype=x.dtype) >= self.rate
        return x * kept / (1.0 - self.rate)


def batch_norm_line(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """(factor, shift), each (C,), of a batch norm in evaluation: x * factor + shift (Ioffe & Szegedy 2015, alg. 2)."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a batch norm without running statistics has no fixed factor")
    factor = norm.weight * (variance + norm.eps) ** -0.5
    return factor, norm.bias - mean * factor
