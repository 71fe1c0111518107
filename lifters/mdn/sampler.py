"""Li & Lee 2019 behind the lifter contract: hypotheses drawn from the mixture, or its component means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from posepipe.lifters.calibration import Calibration, calibrated
from posepipe.lifters.codec import InputCodec, OutputCodec
from posepipe.lifters.mdn.net import MixtureDensityNet

MAX_TAIL = 1.0  # beyond e times the kernel's deviation a sample no longer has the bones of a person


class MdnSampler(nn.Module):
    """keypoints (B,17,2), confidence (B,17), noise (B,H,49) -> hypotheses (B,H,17,3) metres, log_weights (B,H).

    mode "sample": noise[..., 0] chooses the kernel (through the normal distribution function, so that every input is a
    standard normal) and noise[..., 1:] moves around its mean; samples weigh the same, -log H.
    mode "means": H = K hypotheses are the kernel means, weighted by the mixing weights, as the paper evaluates them.
    joints: which of the 17 the network sees (the authors' files: 16). calibrated: the spread of the samples was
    fitted after training (calibration.py).

    Three buffers, all neutral unless a recipe fits them on validation data, shape the samples beyond the paper:
    directions (48,48), a projection onto those in which real estimates err most (noise in the others only blurs);
    spread, a factor on sigma; tail (48), a vector along a discarded direction, whose noise n makes the factor
    exp(min(n . tail, 1)) that a whole sample shares: errors of whole poses have heavier tails than a Gaussian.
    """

    spread: Tensor
    directions: Tensor
    tail: Tensor

    def __init__(
        self,
        mode: str = "sample",
        use_confidence: bool = True,
        joints: Sequence[int] = range(17),
        calibrated: bool = False,
        **network: Any,
    ) -> None:
        super().__init__()
        if mode not in ("sample", "means"):
            raise ValueError(f"mode must be 'sample' or 'means', not {mode!r}")
        self.mode = mode
        self.input = InputCodec(joints, use_confidence)
        self.net = MixtureDensityNet(self.input.features, **network)
        self.output = OutputCodec()
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("directions", torch.eye(48))
        self.register_buffer("tail", torch.zeros(48))
        self.calibration = Calibration() if calibrated else None

    def forward(self, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        means, sigma, log_alpha = self.net(self.input(keypoints, confidence))
        if self.mode == "means":
            return self.output(means), log_alpha + 0.0 * noise[..., 0]
        one_hot = _choose(log_alpha, noise[..., 0])
        centre = one_hot @ means
        moves = noise[..., 1:]
        tail = torch.clamp(moves @ self.tail[:, None], max=MAX_TAIL)
        scale = (one_hot @ sigma[..., None]) * self.spread * torch.exp(tail)
        hypotheses = self.output(centre + scale * (moves @ self.directions))
        zero = torch.zeros_like(noise[..., 0])
        log_weights = zero - torch.log(torch.ones_like(zero).sum(1, keepdim=True))
        return calibrated(self.calibration, hypotheses, log_weights, confidence)


def _choose(log_alpha: Tensor, normal: Tensor) -> Tensor:
    """Inverse-transform choice of a kernel: (B,K) log mixing weights, (B,H) standard normals -> (B,H,K) one-hot."""
    uniform = 0.5 * (1.0 + torch.erf(normal / math.sqrt(2.0)))
    # cumsum as a product with a triangular matrix: plain MatMul everywhere, and exact enough for a handful of kernels.
    kernels = log_alpha.shape[1]
    upper = torch.triu(torch.ones(kernels, kernels, dtype=log_alpha.dtype, device=log_alpha.device))
    edges = (log_alpha.exp() @ upper)[:, None, : kernels - 1]
    index = (uniform[..., None] > edges).to(log_alpha.dtype).sum(-1, keepdim=True)
    return (index == torch.arange(kernels, dtype=log_alpha.dtype, device=log_alpha.device)).to(log_alpha.dtype)
