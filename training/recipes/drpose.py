"""Train the diffusion of DRPose (Kang et al. 2024) over a frozen first stage.

    posepipe train configs/train/drpose_cmu.toml          what is shipped: mocap seen by virtual cameras
    posepipe train configs/train/drpose_published.toml    the paper's settings on Human3.6M

The paper trains the denoiser to find the clean pose from a noisy one by a distance, and samples in few steps. The
estimate of least mean distance is a median: whatever a noisy pose leaves open comes out as the same middling pose, and
with noise of decimetres to the last step that is most of it, so samples differ far less than they err. What is shipped
departs in three ways, all in the configuration: noise in units of `noise_scale` metres, which is nearer to what is
unknown; beside the clean estimate, the whole sampling loop of K steps is unrolled in training, and its hypotheses are
judged by the energy score, which asks for spread where it is due, and by the best and the mean of them; and the network
starts as the first stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from posepipe.errors import InputError
from posepipe.lifters.build import build_sampler, save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.drpose.net import Denoiser, SGCTLayer
from posepipe.lifters.drpose.sampler import DRPoseSampler
from posepipe.lifters.schedulers import cosine as noise_schedule
from posepipe.lifters.variants import noise_shape
from posepipe.training.calibrate import FRAMES, with_calibration
from posepipe.training.energy import best_distance, energy_score
from posepipe.training.first_stage import adopt, first_stage, standardise_input
from posepipe.training.hypotheses import evaluate, mean_energy
from posepipe.training.recipes.dcgct import JOINT_WEIGHTS
from posepipe.training.recipes.joints import copies
from posepipe.training.recipes.supply import training_source, validation_set, with_steps
from posepipe.training.run import Metrics, Run, set_rate, torch_seed
from posepipe.training.run_config import RunConfig
from posepipe.training.schedules import cosine, epoch_decay
from posepipe.training.session import Session
from posepipe.training.warm_start import begin_with


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """first: checkpoint of the single-hypothesis lifter to refine. first_in_training: leave it in training mode, as the
    authors' code does (dropout on, batch-norm statistics drift); its weights stay in either case.

    channels, layers, heads, refinement_hidden, dropout, refinement_dropout: of the denoiser. start: "first" makes it
    give the first stage's pose before the first step. standardise: 2D inputs to mean 0 and deviation 1.
    sampling_steps, faithful (clamp to 1.1 m), noise_scale, flip: of the sampler.

    Losses, each with its weight: distance, square (of the joints of the clean estimate, at a random time per sample,
    from `draws` noisy poses); and of `rolled` hypotheses that the sampler's own steps lead to: energy (score), best
    (distance of the best of them), aggregate (distance of their mean). The paper has the distance alone. weighted: the
    paper's joint weights in distance and square. both_copies: every sample is followed by its mirror image, as
    published.

    schedule "epochs": x 0.95 after each epoch, x 0.5 after each 5th, as published (adam = "amsgrad")."""

    first: str
    first_in_training: bool = False
    channels: int = 96
    layers: int = 5
    heads: int = 4
    refinement_hidden: int = 1024
    dropout: float = 0.0
    refinement_dropout: float = 0.0
    start: Literal["first", "random"] = "first"
    standardise: bool = True
    use_confidence: bool = True
    flip: bool = True
    sampling_steps: int = 2
    faithful: bool = False
    noise_scale: float = 0.1
    hypotheses: int = 20
    distance: float = 0.0
    square: float = 10.0
    energy: float = 1.0
    best: float = 1.0
    aggregate: float = 1.0
    draws: int = 2
    rolled: int = 8
    weighted: bool = False
    both_copies: bool = False
    schedule: Literal["cosine", "epochs"] = "cosine"
    adam: Literal["adamw", "amsgrad"] = "adamw"
    weight_decay: float = 1e-3
    clip: float = 1.0


def train(config: Config, session: Session) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics. Raises CheckpointError for a first stage
    that cannot be one, InputError for settings without a loss."""
    fabric = session.fabric
    check_losses(config)
    torch.manual_seed(torch_seed(config.seed, 0, 2**32 - 1))
    first_header, first = first_stage(Path(config.first), config)
    source = training_source(config, session.rank)
    config = with_steps(config, source, fabric.world_size)
    validation = validation_set(config)
    header = header_of(config, first_header)
    sampler = build_sampler(header)
    assert isinstance(sampler, DRPoseSampler)
    adopt(sampler.first, first)
    if config.standardise:
        standardise_input(sampler.input, source.first(20))
    if config.start == "first":
        start_as_first(sampler.net)
    begin_with(sampler, header, config.weights)
    adopt(sampler.first, first)  # the one that this run names, whatever `weights` had
    sampler.to(session.device)
    net, optimiser = session.setup(config, sampler.net, optimiser_of(config, sampler.net))
    run = Run(config, session, sampler, [optimiser])
    sampler.train()
    with source.from_step(run.start, session.rank) as stream:
        for step in run.steps():
            set_rate(optimiser, rate(config, step, max(1, source.rows // (config.batch * fabric.world_size))))
            keypoints, confidence, joints = copies(session.to_device(next(stream)), config.both_copies)
            sampler.first.train(config.first_in_training)  # validation leaves everything in training mode
            with torch.no_grad():
                estimate = sampler.first.pose(keypoints, confidence)
            tokens = sampler.input(keypoints, confidence)
            parts: dict[str, Tensor] = {}
            if config.distance or config.square:
                clean = denoised(net, sampler, tokens, estimate, joints, config.draws)
                parts |= pointwise(clean, joints, config)
            if rolls(config):
                rolled = roll(net, sampler, tokens, estimate, config.rolled)
                parts |= of_hypotheses(rolled[:, :, 1:], joints[:, 1:], config)
            loss = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
            optimiser.zero_grad()
            fabric.backward(loss)
            if config.clip:
                fabric.clip_gradients(net, optimiser, max_norm=config.clip, error_if_nonfinite=False)
            optimiser.step()
            run.after(step, loss=loss, **parts)
            if run.due(step):
                with run.averaged():
                    metrics = evaluate(sampler, header.noise_shape, validation, config.hypotheses)
                run.validated(step, metrics, mean_energy(metrics))
    if run.finish():
        if config.keypoints == "virtual":
            header = with_calibration(sampler, header, Path(config.data), frames=min(FRAMES, config.validation_frames))
            run.metrics = evaluate(sampler, header.noise_shape, validation, config.hypotheses)
        save(Path(config.out), sampler, replace(header, provenance={**run.provenance(), **header.provenance}))
    return run.metrics


def check_losses(config: Config) -> None:
    """Raises InputError for settings that ask for nothing, or for the spread of a single hypothesis."""
    if not (config.distance or config.square or rolls(config)):
        raise InputError("The weights of all losses are 0: nothing to learn.", "Give `distance` or `energy` a weight.")
    if config.energy and config.rolled < 2:
        raise InputError(f"The energy score of {config.rolled} hypothesis is not defined.", "Set rolled = 2 or more.")


def rolls(config: Config) -> bool:
    """Whether any loss needs the sampling loop."""
    return bool(config.energy or config.best or config.aggregate)


def header_of(config: Config, first: Checkpoint) -> Checkpoint:
    """The contract of the weights to come. What is the sampler's default is left out."""
    names = ("channels", "layers", "heads", "refinement_hidden", "faithful", "use_confidence", "flip")
    network: dict[str, Any] = {name: getattr(config, name) for name in names}
    network |= {"first": {"lifter": first.lifter, **first.network}, "steps": config.sampling_steps}
    if config.dropout != 0.1:
        network["dropout"] = config.dropout
    if config.refinement_dropout != 0.5:
        network["refinement_dropout"] = config.refinement_dropout
    if config.noise_scale != 1.0:
        network["noise_scale"] = config.noise_scale
    shape = noise_shape("drpose", network)
    return Checkpoint(
        "drpose", network, config.space, config.conversion, shape, config.hypotheses, steps=config.sampling_steps
    )


@torch.no_grad()
def start_as_first(net: Denoiser) -> None:
    """Make the denoiser give the first stage's pose: it goes through three channels of its own, which nothing changes
    yet (the rest of the network begins near, and not at, nothing, so that it learns from the first step)."""
    net.input.weight[:, :, :3] = 0
    net.input.bias[:3] = 0
    net.output.weight.mul_(0.02)
    net.output.weight[:, :3] = 0
    net.output.bias.zero_()
    for axis in range(3):
        net.input.weight[0, axis, axis] = 1.0
        net.output.weight[0, axis, axis] = 1.0
    net.modulation.weight.zero_()
    gates = net.modulation.bias.zero_().view(len(net.layers), 6, net.channels)
    gates[:, [2, 5], 3:] = 0.1
    for layer in net.layers:
        assert isinstance(layer, SGCTLayer)
        layer.cheb2.weight.mul_(0.1)
        layer.cheb2.weight[:, :, :3] = 0
        layer.cheb2.bias[:3] = 0


def optimiser_of(config: Config, net: Denoiser) -> torch.optim.Optimizer:
    """Adam with amsgrad as published, or AdamW."""
    if config.adam == "amsgrad":
        return torch.optim.Adam(net.parameters(), config.rate, amsgrad=True)
    return torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.weight_decay)


def rate(config: Config, step: int, epoch: int) -> float:
    """The learning rate of a step."""
    return (
        epoch_decay(step, epoch, config.rate)
        if config.schedule == "epochs"
        else cosine(step, config.steps, config.rate)
    )


def noisy(joints: Tensor, times: Tensor, noise: Tensor, scale: float) -> Tensor:
    """(B,17,3) clean, (B,) times, (B,D,17,3) standard normals -> (B,D,17,3) as the forward process has them then
    (Nichol & Dhariwal 2021, eq. 9)."""
    kept = torch.tensor([noise_schedule.alpha_bar(int(t)) for t in times], device=joints.device)[:, None, None, None]
    return kept.sqrt() * joints[:, None] + (1 - kept).sqrt() * scale * noise


def denoised(
    net: Denoiser, sampler: DRPoseSampler, tokens: Tensor, estimate: Tensor, joints: Tensor, draws: int
) -> Tensor:
    """(B,D,17,3): the clean estimates from D noisy poses each, at one random time per sample."""
    times = torch.randint(0, noise_schedule.TRAIN_STEPS, (len(joints),))
    noise = torch.randn(len(joints), draws, 17, 3, device=joints.device)
    seen = sampler.clamp(noisy(joints, times, noise, sampler.noise_scale))
    clean: Tensor = net(tokens, seen, estimate, times.to(joints.device)).float()
    return clean


def pointwise(clean: Tensor, joints: Tensor, config: Config) -> dict[str, Tensor]:
    """The losses of single estimates that config gives a weight, metres and square metres; the hip's target is 0."""
    weights = torch.tensor(JOINT_WEIGHTS if config.weighted else (1.0,) * 17, device=clean.device)
    error = clean - joints[:, None]
    parts = {}
    if config.distance:
        parts["distance"] = (error.norm(dim=-1) * weights).mean()
    if config.square:
        parts["square"] = (error.square().sum(-1) * weights).mean()
    return parts


def of_hypotheses(rolled: Tensor, joints: Tensor, config: Config) -> dict[str, Tensor]:
    """The losses of many hypotheses (B,H,J,3) that config gives a weight, metres."""
    parts = {}
    if config.energy:
        parts["energy"] = energy_score(rolled, joints)
    if config.best:
        parts["best"] = best_distance(rolled, joints)
    if config.aggregate:
        parts["aggregate"] = (rolled.mean(1) - joints).norm(dim=-1).mean()
    return parts


def roll(net: Denoiser, sampler: DRPoseSampler, tokens: Tensor, estimate: Tensor, count: int) -> Tensor:
    """(B,count,17,3): what the sampler's steps lead to, of one mirror branch, with the way there for the gradient."""
    scheduler = sampler.scheduler
    noise = sampler.noise_scale * torch.randn(len(tokens), count, scheduler.draws, 17, 3, device=tokens.device)
    sample, previous, clean = noise[:, :, 0], None, None
    for step, time in enumerate(scheduler.timesteps):
        times = torch.full((len(tokens),), time, device=tokens.device)
        clean = sampler.clamp(net(tokens, sampler.clamp(sample), estimate, times).float())
        drawn = noise[:, :, step + 1] if step + 1 < scheduler.draws else None
        sample = scheduler.step(step, clean, sample, drawn, previous)
        previous = clean
    assert clean is not None
    return clean
