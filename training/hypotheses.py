"""What many-hypothesis recipes measure while they train: aggregate, oracles, coverage, energy score; from the same
noise every time."""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posepipe.training.energy import energy_score
from posepipe.training.person_batches import PersonBatch
from posepipe.training.recipes.supply import Validation
from posepipe.training.run import Metrics
from posepipe.training.validate import score

BLOCK = 5000  # hypotheses at a time


@torch.no_grad()
def draw(
    sampler: nn.Module,
    noise_shape: tuple[int, ...],
    keypoints: NDArray,
    confidence: NDArray,
    count: int,
    seed: int = 0,
) -> tuple[NDArray, NDArray]:
    """(N,count,17,3) metres and (N,count) log weights of a sampler in eval mode, in blocks, from seeded noise."""
    generator = torch.Generator().manual_seed(seed)
    device = next(sampler.parameters()).device
    parts = []
    rows = max(1, BLOCK // count)
    for start in range(0, len(keypoints), rows):
        k, c = (torch.from_numpy(a[start : start + rows]) for a in (keypoints, confidence))
        noise = torch.randn(len(k), count, *noise_shape, generator=generator)
        parts.append(sampler(k.to(device), c.to(device), noise.to(device)))
    joints, log_weights = (torch.cat(p).cpu().numpy() for p in zip(*parts, strict=True))
    return joints, log_weights


def measure(sampler: nn.Module, noise_shape: tuple[int, ...], batch: PersonBatch, count: int) -> dict[str, float]:
    """Millimetres and shares of validate.score, and `energy`: the energy score (equal weights), a proper score, so
    lower cannot be had by more or less spread than is due."""
    joints, log_weights = draw(sampler, noise_shape, batch.keypoints, batch.confidence, count)
    result = score(lambda k, c: (joints, log_weights), batch, best=tuple(sorted({min(5, count), count})))
    truth = torch.from_numpy(batch.joints)
    energy = _energy(torch.from_numpy(joints), truth)
    return {**result, "energy": round(1000 * energy, 2)}


def evaluate(sampler: nn.Module, noise_shape: tuple[int, ...], validation: Validation, count: int) -> Metrics:
    """With exact and with noisy 2D."""
    pairs = (("gt_2d", validation.exact), ("detector_noise_2d", validation.noisy))
    return {name: measure(sampler, noise_shape, batch, count) for name, batch in pairs}


def mean_energy(metrics: Metrics) -> float:
    """What weights are chosen by: the mean of both energy scores, millimetres."""
    return 0.5 * (metrics["gt_2d"]["energy"] + metrics["detector_noise_2d"]["energy"])


def _energy(joints: Tensor, truth: Tensor) -> float:
    """Metres, over the joints but the hip; in blocks, since it looks at all pairs of hypotheses."""
    parts = zip(joints[:, :, 1:].split(200), truth[:, 1:].split(200), strict=True)
    return sum(float(energy_score(block, true)) * len(true) for block, true in parts) / len(truth)
