"""The denoiser of DRPose with less work for the same numbers: what is exported for a CPU.

`net.py` says what is calculated, this file how to do it cheaply, from the same parameters under the same names:

- Joints come first: (17, P, H, C), P persons (mirror images included). A graph convolution's mixing of joints is then
  one product of a (17,17) matrix with a (17, P H C) one, instead of P H small ones.
- A Chebyshev convolution costs one product and not three: T_0, T_1 and T_2 have the same eigenvectors, so in the
  eigenbasis of the Laplacian, sum_k T_k x W_k is, for eigenvector j, x_j (sum_k T_k(lambda_j) W_k) (the convolution
  theorem; Defferrard et al. 2016, §2.1, avoid it for graphs that are large or change; 17 joints are neither).
- Layer norm's weight and bias go into the condition's scale and shift; the shift goes through the next linear layer
  ahead of time, since it does not depend on the hypothesis; the scale of attention goes into the queries' weights.
- The second mixing of GraphNet happens after fc2, on half as many channels.

All weights are derived from the parameters inside the graph, by operations on constants that runtimes do at load time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posepipe.lifters.drpose.net import TERMS, Denoiser, Person
from posepipe.lifters.graph import JOINTS, chebyshev, chebyshev_spectrum


class FoldedDenoiser(Denoiser):
    """`Denoiser`'s prepare, modulate and denoise, for evaluation; shares the given one's parameters and their names.

    Norm is approximated: sqrt(variance) + 1e-6 in net.py is sqrt(variance + 1e-12) here, which is a relative difference
    of 1e-6 / deviation, so that one LayerNormalization does it."""

    terms: Tensor
    to_spectrum: Tensor
    from_spectrum: Tensor
    responses: Tensor

    def __init__(self, net: Denoiser) -> None:
        nn.Module.__init__(self)
        self.channels = net.channels
        for name, child in net.named_children():
            self.add_module(name, child)
        to_spectrum, from_spectrum, responses = chebyshev_spectrum(TERMS - 1)
        constants = {
            "terms": chebyshev(TERMS - 1),
            "to_spectrum": to_spectrum,
            "from_spectrum": from_spectrum,
            "responses": responses,
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(value).to(net.input.weight.dtype), persistent=False)
        self.eval()

    def prepare(self, tokens: Tensor, first: Tensor) -> Person:
        person = super().prepare(tokens, first)
        return Person(first[:, None], _joints_first(person.tokens), _joints_first(person.condition), person.refinement)

    def modulate(self, person: Person, embedded: Tensor) -> tuple[Tensor, ...]:
        """6 tensors (17,P,1,.) per layer: for attention the factor, the biases of queries, keys and values as one
        (17,P,1,3C) and the gate; for the learned graph the factor, its first layer's bias (17,P,1,2C) and the gate."""
        raw = super().modulate(person, embedded)
        layers: list[Any] = list(self.layers)
        result: list[Tensor] = []
        for index, layer in enumerate(layers):
            shift1, scale1, gate1, shift2, scale2, gate2 = raw[6 * index : 6 * index + 6]
            unit = layer.norm1.correction**-0.5  # LayerNormalization divides by the biased deviation
            bias1 = layer.norm1.bias * (1 + scale1) + shift1
            bias2 = self._mix(_mixing(layer), layer.norm2.bias * (1 + scale2) + shift2)
            attention, graph = layer.attention, layer.graph
            result += (
                layer.norm1.weight * unit * (1 + scale1),
                nn.functional.linear(bias1, attention.qkv.weight, attention.qkv.bias) * _query_scale(layer),
                gate1,
                layer.norm2.weight * unit * (1 + scale2),
                nn.functional.linear(bias2, graph.fc1.weight, graph.fc1.bias),
                gate2,
            )
        return tuple(result)

    def denoise(self, noisy: Tensor, person: Person, modulation: tuple[Tensor, ...]) -> Tensor:
        x = person.tokens + self._noisy_tokens(noisy)
        layers: list[Any] = list(self.layers)
        for index, layer in enumerate(layers):
            factor1, bias1, gate1, factor2, bias2, gate2 = modulation[6 * index : 6 * index + 6]
            x = x + gate1 * self._attend(layer, _normalised(x) * factor1, bias1)
            x = x + gate2 * self._graph(layer, _normalised(x) * factor2, bias2)
            x = x + self._cheb(layer.cheb2, self._cheb(layer.cheb1, x))
        return self.refinement(self._poses(x), person.first, person.refinement)

    def _noisy_tokens(self, noisy: Tensor) -> Tensor:
        """(P,H,17,3) -> (17,P,H,C): the input convolution as one (51,C) matrix for every joint."""
        channels = self.input.weight[:, 3:6].flatten(1)  # (3, 3 C)
        dense = (self.terms.flatten(1).T @ channels).unflatten(0, (JOINTS, JOINTS))  # (17 to, 17 from, 3 C)
        dense = dense.unflatten(-1, (3, self.channels)).flatten(1, 2)  # (17, 51, C)
        tokens = noisy.flatten(2).flatten(0, 1)[None] @ dense
        return tokens.unflatten(1, noisy.shape[:2])

    def _attend(self, layer: Any, x: Tensor, bias: Tensor) -> Tensor:
        attention, size = layer.attention, self.channels
        weight = attention.qkv.weight * _query_scale(layer)[:, None]
        query, key, value = (
            (x @ weight[part].T + bias[..., part]).flatten(1, 2).unflatten(-1, (attention.heads, -1))
            for part in (slice(0, size), slice(size, 2 * size), slice(2 * size, 3 * size))
        )  # (17, P H, heads, C / heads)
        weights = torch.softmax(query.permute(1, 2, 0, 3) @ key.permute(1, 2, 3, 0), -1)
        mixed = (weights @ value.permute(1, 2, 0, 3)).permute(2, 0, 1, 3).flatten(2)
        return attention.proj(mixed).unflatten(1, x.shape[1:3])

    def _graph(self, layer: Any, x: Tensor, bias: Tensor) -> Tensor:
        graph, mix = layer.graph, _mixing(layer)
        hidden = torch.relu(self._mix(mix, x) @ graph.fc1.weight.T + bias)
        return self._mix(mix, hidden @ graph.fc2.weight.T) + graph.fc2.bias

    def _cheb(self, conv: Any, x: Tensor) -> Tensor:
        """The convolution and its ReLU."""
        weight = (self.responses @ conv.weight.flatten(1)).unflatten(-1, conv.weight.shape[1:])  # (17, C, C)
        spectrum = self._mix(self.to_spectrum, x).flatten(1, 2) @ weight
        return torch.relu(self._mix(self.from_spectrum, spectrum.unflatten(1, x.shape[1:3])) + conv.bias)

    def _poses(self, x: Tensor) -> Tensor:
        """(17,P,H,C) -> (P,H,17,3): the last convolution, its mixing on 3 channels as one (17,51) matrix."""
        parts = x @ self.output.weight.permute(1, 0, 2).flatten(1)  # (17, P, H, terms 3)
        parts = parts.unflatten(-1, (TERMS, 3)).permute(3, 0, 1, 2, 4)  # (terms, 17, P, H, 3)
        mixing = self.terms.permute(1, 0, 2).flatten(1)  # (17 to, terms and 17 from)
        joints = (mixing @ parts.flatten(0, 1).flatten(1)).unflatten(1, (*x.shape[1:3], 3))
        return joints.permute(1, 2, 0, 3) + self.output.bias

    @staticmethod
    def _mix(matrix: Tensor, x: Tensor) -> Tensor:
        """(17,17) times (17,P,H,C) over the joints."""
        return (matrix @ x.flatten(1)).unflatten(1, x.shape[1:])


def _joints_first(x: Tensor) -> Tensor:
    """(P,1,17,C) -> (17,P,1,C)."""
    return x.permute(2, 0, 1, 3)


def _normalised(x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, x.shape[-1:], eps=1e-12)


def _mixing(layer: Any) -> Tensor:
    adjacency = layer.graph.adjacency
    degree = (adjacency.sum(0) + 1e-5) ** -0.5
    return degree[:, None] * adjacency * degree[None, :]


def _query_scale(layer: Any) -> Tensor:
    """(3C): what the rows of queries are multiplied with, and ones."""
    size = layer.attention.proj.weight.shape[0]
    ones = torch.ones(size, dtype=layer.attention.proj.weight.dtype)
    return torch.cat([ones * layer.attention.scale, ones, ones])
