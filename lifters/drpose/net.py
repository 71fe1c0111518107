"""The denoiser of DRPose: "Diffusion-based Pose Refinement and Multi-hypothesis Generation for 3D Human Pose
Estimation", Kang et al. 2024, arXiv 2401.04921: the Scalable Graph Convolution Transformer (SGCT) predicts the clean
pose from a noisy one, and the Pose Refinement Module (PRM) blends it with the first stage's estimate.

Shapes: B persons, H hypotheses, 17 joints, C channels. What depends on the person alone has a hypothesis axis of 1 and
is computed once; broadcasting does the rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from posepipe.lifters.graph import JOINTS, chebyshev
from posepipe.lifters.layers import Attention

TERMS = 3  # Chebyshev polynomials of order 0, 1 and 2


class ChebConv(nn.Module):
    """Chebyshev graph convolution (Defferrard et al. 2016, §2.1): sum_k T_k (x W_k) + b, (...,17,in) -> (...,17,out).

    weight: (3, in, out)."""

    terms: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(TERMS, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_normal_(self.weight)
        self.register_buffer("terms", torch.from_numpy(chebyshev(TERMS - 1))[1:], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_part(x, slice(None)) + self.bias

    def linear_part(self, x: Tensor, rows: slice) -> Tensor:
        """The convolution without its bias, of only those input channels: since it is linear, inputs that change at
        different rates can be convolved apart and added."""
        zeroth, first, second = (x @ self.weight[k, rows] for k in range(TERMS))
        return zeroth + self.terms[0] @ first + self.terms[1] @ second


class LearnedGraph(nn.Module):
    """GraphNet of GraFormer (Zhao et al. 2022): two graph convolutions C -> 2C -> C over one learned adjacency A,
    normalised as D^-1/2 A D^-1/2 with D its column sums."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(torch.eye(JOINTS))
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.fc2 = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        degree = (self.adjacency.sum(0) + 1e-5) ** -0.5
        mix = degree[:, None] * self.adjacency * degree[None, :]
        return self.fc2(mix @ torch.relu(self.fc1(mix @ x)))


class Norm(nn.Module):
    """Layer norm as GraFormer has it: the unbiased standard deviation, with epsilon added to it and not under the root
    (both matter for parity)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.correction = dim / (dim - 1)

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = torch.sqrt((centred * centred).mean(-1, keepdim=True) * self.correction)
        return self.weight * centred / (deviation + 1e-6) + self.bias


class SGCTLayer(nn.Module):
    """One layer of the SGCT: attention and learned graph, each scaled, shifted and gated by the condition (adaLN,
    Peebles & Xie 2023, §3.2), then a residual pair of Chebyshev convolutions."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(dim), Norm(dim)
        self.attention = Attention(dim, heads, 0.0, dropout)
        self.graph = LearnedGraph(dim)
        self.cheb1, self.cheb2 = ChebConv(dim, dim), ChebConv(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        x = x + gate1 * self.dropout(self.attention(self.norm1(x) * (1 + scale1) + shift1))
        x = x + gate2 * self.dropout(self.graph(self.norm2(x) * (1 + scale2) + shift2))
        return x + torch.relu(self.cheb2(torch.relu(self.cheb1(x))))


class PoseRefinement(nn.Module):
    """PRM: weights in 0..1 for x and y of every joint, from both poses; blends x and y, takes z from the
    denoiser. Its first layer reads, joint by joint, the denoised pose and then the first stage's; the share of the
    latter is computed once per person."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(JOINTS * 6, hidden)
        self.fc2 = nn.Linear(hidden, JOINTS * 2)
        self.dropout = nn.Dropout(dropout)

    def prepare(self, first: Tensor) -> Tensor:
        """(B,1,17,3) -> (B,1,hidden), the part of the hidden layer that depends on the first stage's pose."""
        weight = self.fc1.weight.unflatten(1, (JOINTS, 6))[:, :, 3:].flatten(1)
        return nn.functional.linear(first.flatten(2), weight, self.fc1.bias)

    def forward(self, pose: Tensor, first: Tensor, prepared: Tensor) -> Tensor:
        weight = self.fc1.weight.unflatten(1, (JOINTS, 6))[:, :, :3].flatten(1)
        hidden = prepared + nn.functional.linear(pose.flatten(2), weight)
        trust = torch.sigmoid(self.fc2(self.dropout(nn.functional.gelu(hidden)))).unflatten(-1, (JOINTS, 2))
        blended = trust * pose[..., :2] + (1 - trust) * first[..., :2]
        return torch.cat([blended, pose[..., 2:]], -1)


class Person:
    """What the denoiser needs to know of a person, computed once for all hypotheses and steps (hypothesis axis 1).

    first: (B,1,17,3) first-stage pose. tokens: (B,1,17,C) its share of the input. condition: (B,1,17,C) of the 2D
    keypoints. refinement: (B,1,hidden) its share of the PRM."""

    def __init__(self, first: Tensor, tokens: Tensor, condition: Tensor, refinement: Tensor) -> None:
        self.first, self.tokens, self.condition, self.refinement = first, tokens, condition, refinement


class Denoiser(nn.Module):
    """2D tokens (B,17,in_channels), noisy (B,H,17,3), first-stage pose (B,17,3), times (B,) -> clean (B,H,17,3)."""

    def __init__(
        self,
        in_channels: int = 2,
        channels: int = 96,
        layers: int = 5,
        heads: int = 4,
        refinement_hidden: int = 1024,
        dropout: float = 0.1,
        refinement_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.input = ChebConv(6, channels)
        self.condition = ChebConv(in_channels, channels)
        self.time1 = nn.Linear(channels, 2 * channels)
        self.time2 = nn.Linear(2 * channels, channels)
        self.layers = nn.ModuleList(SGCTLayer(channels, heads, dropout) for _ in range(layers))
        # shift, scale and gate of both halves of all layers: they see the same condition, so one matrix makes them all.
        self.modulation = nn.Linear(channels, layers * 6 * channels)
        self.output = ChebConv(channels, 3)
        self.refinement = PoseRefinement(refinement_hidden, refinement_dropout)

    def forward(self, tokens: Tensor, noisy: Tensor, first: Tensor, times: Tensor) -> Tensor:
        """Any mixture of times in a batch; for training. The sampler calls prepare, modulate and denoise."""
        person = self.prepare(tokens, first)
        embedded = self.embed_time(time_features(times, self.channels))[:, None, None]
        return self.denoise(noisy, person, self.modulate(person, embedded))

    def prepare(self, tokens: Tensor, first: Tensor) -> Person:
        first = first[:, None]
        return Person(
            first,
            self.input.linear_part(first, slice(0, 3)) + self.input.bias,
            self.condition(tokens)[:, None],
            self.refinement.prepare(first),
        )

    def embed_time(self, features: Tensor) -> Tensor:
        """(..., C) features of a time -> (..., C)."""
        return self.time2(nn.functional.silu(self.time1(features)))

    def modulate(self, person: Person, embedded: Tensor) -> tuple[Tensor, ...]:
        """6 tensors (B,1,17,C) per layer, for one step; embedded broadcasts to (B,1,17,C)."""
        all_of_them = self.modulation(nn.functional.silu(person.condition + embedded))
        return all_of_them.unflatten(-1, (6 * len(self.layers), -1)).unbind(-2)

    def denoise(self, noisy: Tensor, person: Person, modulation: tuple[Tensor, ...]) -> Tensor:
        x = person.tokens + self.input.linear_part(noisy, slice(3, 6))
        for index, layer in enumerate(self.layers):
            x = layer(x, modulation[6 * index : 6 * index + 6])
        return self.refinement(self.output(x), person.first, person.refinement)


def time_features(times: Tensor, channels: int) -> Tensor:
    """(N,) times -> (N, channels) sines, then cosines, at geometric frequencies from 1 to 1/10000 (Vaswani et al. 2017,
    §3.5, with the last exponent exactly 1)."""
    half = channels // 2
    exponent = torch.arange(half, device=times.device) * (-math.log(10000.0) / (half - 1))
    phase = times[:, None].float() * torch.exp(exponent)[None]
    return torch.cat([phase.sin(), phase.cos()], -1)
