"""Train the mixture density lifter (Li & Lee 2019) on mocap seen by virtual cameras, starting from a Martinez trunk.

    posepipe train configs/train/mdn_first_cmu.toml    then mdn_cmu.toml: what is shipped
    posepipe train configs/train/mdn_published.toml    the paper's settings on Human3.6M

The network and its likelihood are the paper's: K isotropic kernels. What differs is the space in which they are
isotropic: outputs are expressed in a basis that is a square root of the covariance of the first stage's residuals, so
that a sample errs as real estimates do (whole limbs in depth) instead of shaking every joint on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posepipe.errors import CheckpointError
from posepipe.lifters.build import load, save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.martinez.sampler import MartinezSampler
from posepipe.lifters.mdn.losses import dirichlet_prior, hide_limb_joints, mixture_nll
from posepipe.lifters.mdn.net import MixtureDensityNet
from posepipe.lifters.mdn.sampler import MdnSampler
from posepipe.training.calibrate import FRAMES, with_calibration
from posepipe.training.person_batches import PersonBatch
from posepipe.training.recipes.martinez import standardise
from posepipe.training.recipes.supply import Sample, Validation, training_source, validation_set, with_steps
from posepipe.training.run import Metrics, Run, set_rate, torch_seed
from posepipe.training.run_config import RunConfig
from posepipe.training.schedules import cosine, exponential
from posepipe.training.session import Session
from posepipe.training.validate import LEVELS, score
from posepipe.training.warm_start import begin_with


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """start: a Martinez checkpoint, for the trunk (its size with it) and the residuals; none: from scratch, as
    published, and width, blocks, max_norm, joints, use_confidence count. mode "sample" draws from the mixture (and is
    calibrated), "means" gives the kernel means as published.

    floor: metres added to every direction of the residuals, so that no direction is trusted to less. rank: of the
    directions in which samples move (see MdnSampler). pose_weight: weight of the MPJPE of the mixture's mean beside the
    likelihood. prior: concentration of the Dirichlet prior on the mixing weights. hide: so many random limb joints (0,
    1 or 2) of every sample are not seen: the paper's missing-joint training."""

    start: str | None = None
    width: int = 1024
    blocks: int = 2
    max_norm: bool = False
    joints: tuple[int, ...] = tuple(range(17))
    use_confidence: bool = True
    mode: Literal["sample", "means"] = "sample"
    kernels: int = 5
    hypotheses: int = 20
    dropout: float = 0.0
    floor: float = 0.01
    rank: int = 12
    pose_weight: float = 5.0
    prior: float = 2.0
    hide: Literal[0, 1, 2] = 0
    schedule: Literal["cosine", "exponential"] = "cosine"
    decay: float = 0.96
    decay_steps: int = 100_000
    rate: float = 5e-4
    clip: float = 5.0
    weight_decay: float = 1e-3
    steps: int = 6000
    seed: int = 1


class _ExactHeads(nn.Module):
    """The network of the loop: the trunk in the run's precision, the heads exact (sigma = ELU + 1 needs more than 8
    bits)."""

    def __init__(self, net: MixtureDensityNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.net.trunk(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.net.heads(hidden.float())


def train(config: Config, session: Session) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics."""
    fabric = session.fabric
    torch.manual_seed(torch_seed(config.seed, 0, 2**32 - 1))
    source = training_source(config, session.rank)
    config = with_steps(config, source, fabric.world_size)
    validation = validation_set(config)
    header, sampler = beginning(config, source.first(40))
    begin_with(sampler, header, config.weights)
    sampler.to(session.device)
    optimiser = torch.optim.AdamW(sampler.parameters(), config.rate, weight_decay=config.weight_decay, fused=True)
    net, optimiser = session.setup(config, _ExactHeads(sampler.net), optimiser)
    run = Run(config, session, sampler, [optimiser])
    sampler.train()
    with source.from_step(run.start, session.rank) as stream:
        for step in run.steps():
            set_rate(optimiser, rate(config, step))
            keypoints, confidence, joints = session.to_device(next(stream))
            if config.hide:
                confidence = hide_limb_joints(confidence, config.hide)
            means, sigma, log_alpha = net(sampler.input(keypoints, confidence))
            likelihood = mixture_nll(means, sigma, log_alpha, sampler.output.encode(joints))
            prior = dirichlet_prior(log_alpha, config.prior)
            mean_pose = sampler.output((log_alpha.exp()[..., None] * means).sum(1))
            distance = (mean_pose - joints)[:, 1:].norm(dim=-1).mean()
            loss = likelihood / 48 + prior / 48 + config.pose_weight * distance
            optimiser.zero_grad()
            fabric.backward(loss)
            if config.clip:
                fabric.clip_gradients(net, optimiser, max_norm=config.clip, error_if_nonfinite=False)
            optimiser.step()
            run.after(step, loss=loss, nll_per_number=likelihood / 48, mean_m=distance)
            if run.due(step):
                with run.averaged():
                    metrics = evaluate(sampler, validation, config)
                run.validated(step, metrics, metrics["detector_noise_2d"]["mpjpe"])
    if run.finish():
        if config.mode == "sample":
            shape_samples(sampler, validation, config)
            if config.keypoints == "virtual":
                header = with_calibration(
                    sampler, header, Path(config.data), frames=min(FRAMES, config.validation_frames)
                )
            run.metrics = evaluate(sampler, validation, config)
        save(Path(config.out), sampler, replace(header, provenance={**run.provenance(), **header.provenance}))
    return run.metrics


def beginning(config: Config, drawn: Sample) -> tuple[Checkpoint, MdnSampler]:
    """The header and the sampler before the first step, from config.start or from scratch."""
    first: MartinezSampler | None = None
    if config.start:
        first_header, loaded = load(Path(config.start))
        if not isinstance(loaded, MartinezSampler):
            raise CheckpointError(
                f"{config.start} is a '{first_header.lifter}' checkpoint.", "Start from a martinez one."
            )
        first, network = loaded, {k: v for k, v in first_header.network.items() if k != "flip"}
    else:
        network = {"width": config.width, "blocks": config.blocks, "max_norm": config.max_norm}
        if config.joints != tuple(range(17)):
            network["joints"] = list(config.joints)
        if not config.use_confidence:
            network["use_confidence"] = False
    network |= {"kernels": config.kernels, "dropout": config.dropout}
    fixed = None
    if config.mode == "means":
        network["mode"], fixed = "means", config.kernels
    hypotheses = fixed or config.hypotheses
    header = Checkpoint("mdn", network, config.space, config.conversion, (49,), hypotheses, fixed_hypotheses=fixed)
    sampler = MdnSampler(**network)
    if first is not None:
        start_from(sampler, first, residual_basis(first, drawn, config.floor))
    else:
        standardise(sampler, drawn)
    return header, sampler


def rate(config: Config, step: int) -> float:
    """The learning rate of a step."""
    if config.schedule == "exponential":
        return exponential(step, config.rate, config.decay, config.decay_steps)
    return cosine(step, config.steps, config.rate)


@torch.no_grad()
def residual_basis(first: MartinezSampler, drawn: Sample, floor: float) -> Tensor:
    """Symmetric square root (48, 48) of the second moment of the first stage's errors, metres, plus floor^2 I."""
    keypoints, confidence, joints = drawn
    error = torch.cat(
        [
            (true - first.pose(xy, c))[:, 1:].flatten(1)
            for xy, c, true in zip(keypoints.split(4096), confidence.split(4096), joints.split(4096), strict=True)
        ]
    ).double()
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
def sample(
    sampler: MdnSampler, keypoints: NDArray, confidence: NDArray, count: int, seed: int = 0
) -> tuple[NDArray, NDArray]:
    """Hypotheses of the sampler as numpy, from seeded noise, in blocks."""
    generator = torch.Generator().manual_seed(seed)
    device = sampler.output.mean.device
    parts = []
    for start in range(0, len(keypoints), 2000):
        k, c = (torch.from_numpy(a[start : start + 2000]) for a in (keypoints, confidence))
        noise = torch.randn(len(k), count, 49, generator=generator)
        parts.append(sampler(k.to(device), c.to(device), noise.to(device)))
    joints, log_weights = (torch.cat(p).cpu().numpy() for p in zip(*parts, strict=True))
    return joints, log_weights


def evaluate(sampler: MdnSampler, validation: Validation, config: Config) -> Metrics:
    """Aggregate, best of 5 and of H, coverage; with exact and with noisy 2D. On a quarter of the frames."""
    result, count = {}, config.kernels if config.mode == "means" else config.hypotheses
    for name, batch in (("gt_2d", validation.exact), ("detector_noise_2d", validation.noisy)):
        result[name] = score(
            lambda k, c: sample(sampler, k, c, count), part(batch, slice(0, None, 4)), best=tuple(sorted({5, count}))
        )
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
def shape_samples(sampler: MdnSampler, validation: Validation, config: Config) -> None:
    """Set `spread` and `tail`, which whole poses share, so that the regions come near to what they claim under the
    detector's noise, on validation frames that `evaluate` does not use. What is left to do joint by joint, the
    calibration does: without these two it would have to bend bones for it."""
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
