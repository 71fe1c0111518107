"""The losses of Li & Lee 2019 (CVPR) and its missing-joint training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LIMB_JOINTS = (2, 3, 5, 6, 12, 13, 15, 16)  # knees, ankles, elbows, wrists of H36M-17


def mixture_nll(means: Tensor, sigma: Tensor, log_alpha: Tensor, target: Tensor) -> Tensor:
    """means (B,K,D), sigma (B,K), log_alpha (B,K), target (B,D) -> mean negative log-likelihood. As published,
    sigma is clipped to [1e-15, 1e15] and alpha to at least 1e-8."""
    dims = target.shape[-1]
    sigma = sigma.clamp(1e-15, 1e15)
    distance = (target[:, None] - means).square().sum(-1)
    log_alpha = log_alpha.clamp(min=math.log(1e-8))
    exponent = log_alpha - 0.5 * dims * math.log(2 * math.pi) - dims * sigma.log() - distance / (2 * sigma.square())
    return -torch.logsumexp(exponent, 1).mean()


def dirichlet_prior(log_alpha: Tensor, concentration: float = 2.0) -> Tensor:
    """(B,K) -> the loss that keeps all kernels in use, -(concentration - 1) sum_k log alpha_k."""
    return -(concentration - 1.0) * log_alpha.clamp(min=math.log(1e-8)).sum(1).mean()


def hide_limb_joints(confidence: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """(B,17) confidences with `count` (1 or 2) random limb joints of each person set to 0, which the input codec turns
    into the mean pose's coordinates: the authors' missing-joint mode, for training and for evaluation."""
    if count not in (1, 2):
        raise ValueError(f"one or two joints can be missing, not {count}")
    order = torch.rand(len(confidence), len(LIMB_JOINTS), generator=generator).argsort(1)[:, :count]
    hidden = torch.tensor(LIMB_JOINTS)[order].to(confidence.device)
    return confidence.scatter(1, hidden, 0.0)
