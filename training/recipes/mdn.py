"""Train the mixture density lifter (Li & Lee 2019) on mocap seen by virtual cameras, starting from a Martinez trunk.

    posepipe train configs/train/mdn_cmu.toml

The network and its likelihood are the paper's: K isotropic kernels. What differs is the space in which they are
isotropic: outputs are expressed in a basis that is a square root of the covariance of the first stage's residuals, so
that a sample errs as real estimates do (whole limbs in depth) instead of shaking every joint on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from posepipe.errors import CheckpointError
from posepipe.lifters.build import load, save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.martinez.sampler import MartinezSampler
from posepipe.lifters.mdn.losses import dirichlet_prior, mixture_nll
from posepipe.lifters.mdn.sampler import MdnSampler
from posepipe.training.optim import AveragedWeights, Throughput, cosine_rate
from posepipe.training.person_batches import PersonBatch
from posepipe.training.recipes.supply import Validation, training_batches, validation_batches
from posepipe.training.validate import LEVELS, score


@dataclass(frozen=True)
class MdnConfig:
    """start: a Martinez checkpoint of the same width, for the trunk and the residuals. floor: metres added to every
    direction of the residuals, so that no direction is trusted to less. rank: of the directions in which samples move
    (see MdnSampler). pose_weight: weight of the MPJPE of the mixture's mean beside the likelihood. prior: concentration
    of the Dirichlet prior on the mixing weights."""

    recipe: str
    data: str
    out: str
    start: str
    conversion: str = "blazepose33-h36m17@1"
    kernels: int = 5
    hypotheses: int = 20
    dropout: float = 0.0
    floor: float = 0.01
    rank: int = 12
    pose_weight: float = 5.0
    prior: float = 2.0
    steps: int = 6000
    batch: int = 1024
    rate: float = 5e-4
    weight_decay: float = 1e-3
    average: float = 0.999
    bf16: bool = True
    seed: int = 1
    threads: int = 2
    validate_every: int = 2000


def train(config: MdnConfig, report: Callable[[int, str], None]) -> dict[str, dict[str, float]]:
    """Run the recipe; `report(step, text)` is called often. Writes config.out and returns the validation metrics."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    validation = validation_batches(Path(config.data))
    first_header, first = load(Path(config.start))
    if not isinstance(first, MartinezSampler):
        raise CheckpointError(f"{config.start} is a '{first_header.lifter}' checkpoint.", "Start from a martinez one.")
    network = {k: v for k, v in first_header.network.items() if k != "flip"}
    network |= {"kernels": config.kernels, "dropout": config.dropout}
    header = Checkpoint("mdn", network, "person", config.conversion, (49,), config.hypotheses)
    sampler = MdnSampler(**header.network)
    with training_batches(Path(config.data), config.batch, config.seed) as stream:
        start_from(sampler, first, residual_basis(first, stream, config.floor))
        optimiser = torch.optim.AdamW(sampler.parameters(), config.rate, weight_decay=config.weight_decay)
        average, speed = AveragedWeights(sampler, config.average), Throughput(config.steps, config.batch)
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = cosine_rate(step, config.steps, config.rate)
            keypoints, confidence, joints = next(stream)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                hidden = sampler.net.trunk(sampler.input(keypoints, confidence))
            means, sigma, log_alpha = sampler.net.heads(hidden.float())  # sigma = ELU + 1 needs more than 8 bits
            likelihood = mixture_nll(means, sigma, log_alpha, sampler.output.encode(joints))
            prior = dirichlet_prior(log_alpha, config.prior)
            mean_pose = sampler.output((log_alpha.exp()[..., None] * means).sum(1))
            distance = (mean_pose - joints)[:, 1:].norm(dim=-1).mean()
            loss = likelihood / 48 + prior / 48 + config.pose_weight * distance
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(sampler.parameters(), 5.0)
            optimiser.step()
            average.update(sampler, step)
            if step % 50 == 0:
                text = f"nll/48 {likelihood.item() / 48:.3f}, mean {1000 * distance.item():.1f} mm, {speed.text(step)}"
                report(step, text)
            if (step + 1) % config.validate_every == 0:
                with average.applied(sampler):
                    report(step, f"validation {evaluate(sampler, validation, config)}")
    sampler.load_state_dict(average.values)
    sampler.eval()
    calibrate(sampler, validation, config)
    metrics = evaluate(sampler, validation, config)
    provenance = {"config": asdict(config), "metrics": metrics}
    save(Path(config.out), sampler, Checkpoint(**{**header.__dict__, "provenance": provenance}))
    return metrics


@torch.no_grad()
def residual_basis(first: MartinezSampler, stream: Iterator[tuple[Tensor, Tensor, Tensor]], floor: float) -> Tensor:
    """Symmetric square root (48, 48) of the second moment of the first stage's errors, metres, plus floor^2 I."""
    errors = []
    for _ in range(40):
        keypoints, confidence, joints = next(stream)
        errors.append((joints - first.pose(keypoints, confidence))[:, 1:].flatten(1))
    error = torch.cat(errors).double()
    moment = error.T @ error / len(error) + floor**2 * torch.eye(48, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(moment)
    return (vectors * values.sqrt() @ vectors.T).float()


@torch.no_grad()
def start_from(sampler: MdnSampler, first: MartinezSampler, basis: Tensor) -> None:
    """Copy codecs and trunk; every kernel starts as the first stage's output in the new basis, a little apart."""
    sampler.input.load_state_dict(first.input.state_dict())
    sampler.output.mean.copy_(first.output.mean)
    sampler.output.basis.copy_(basis)
    net, kernels = sampler.net, sampler.net.kernels
    net.trunk.load_state_dict(first.net.trunk.state_dict())
    change = torch.linalg.solve(basis, first.output.basis)
    weight, bias = change @ first.net.head.weight, change @ first.net.head.bias
    net.mu.weight.copy_(weight.repeat_interleave(kernels, 0))
    apart = 0.7 * torch.randn(48, kernels)
    net.mu.bias.copy_((bias[:, None] + apart).flatten())
    for head in (net.sigma, net.alpha):
        head.weight.mul_(0.1)
        head.bias.zero_()


@torch.no_grad()
def sample(sampler: MdnSampler, keypoints, confidence, count: int, seed: int = 0):  # type: ignore[no-untyped-def]
    """Hypotheses of the sampler as numpy, from seeded noise, in blocks."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(keypoints), 2000):
        k, c = (torch.from_numpy(a[start : start + 2000]) for a in (keypoints, confidence))
        parts.append(sampler(k, c, torch.randn(len(k), count, 49, generator=generator)))
    return tuple(torch.cat(p).numpy() for p in zip(*parts, strict=True))


def evaluate(sampler: MdnSampler, validation: Validation, config: MdnConfig) -> dict[str, dict[str, float]]:
    """Aggregate, best of 5 and of H, coverage; with exact and with noisy 2D. On a quarter of the frames."""
    result, count = {}, config.hypotheses
    for name, batch in (("gt_2d", validation.exact), ("detector_noise_2d", validation.noisy)):
        result[name] = score(lambda k, c: sample(sampler, k, c, count), part(batch, slice(0, None, 4)), best=(5, count))
    return result


@torch.no_grad()
def keep_directions(sampler: MdnSampler, rank: int) -> Tensor:
    """Let samples move in the `rank` directions in which the residuals are largest; returns the least one, (48)."""
    basis = sampler.output.basis.double()
    _, vectors = torch.linalg.eigh(basis @ basis.T)
    kept = vectors[:, -rank:]
    sampler.directions.copy_(kept @ kept.T)
    return vectors[:, 0].float()


@torch.no_grad()
def calibrate(sampler: MdnSampler, validation: Validation, config: MdnConfig) -> None:
    """Set `spread` and `tail` so that the regions cover what they claim under the detector's noise, on validation
    frames that `evaluate` does not use."""
    least = keep_directions(sampler, config.rank)
    small = part(validation.noisy, slice(2, None, 8))
    best = float("inf")
    fitted = (1.0, 0.0)
    for tail in (0.3, 0.5, 0.7, 0.9):
        for spread in (0.8, 0.9, 1.0, 1.1, 1.25, 1.4):
            sampler.spread.fill_(spread)
            sampler.tail.copy_(tail * least)
            metrics = score(lambda k, c: sample(sampler, k, c, 50), small)
            miss = sum(abs(metrics[f"coverage_{round(100 * p)}"] - p) for p in LEVELS)
            if miss < best:
                best, fitted = miss, (spread, tail)
    sampler.spread.fill_(fitted[0])
    sampler.tail.copy_(fitted[1] * least)


def part(batch: PersonBatch, rows: slice) -> PersonBatch:
    """Some rows of a batch."""
    return PersonBatch(batch.keypoints[rows], batch.confidence[rows], batch.joints[rows])
