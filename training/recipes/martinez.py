"""Train the residual linear lifter (Martinez et al. 2017).

    posepipe train configs/train/martinez_first_cmu.toml    then martinez_cmu.toml: what is shipped
    posepipe train configs/train/martinez_published.toml    the paper's settings on Human3.6M

Departures of the first, all in the configuration: confidences as input, MPJPE instead of squared error, AdamW with a
cosine schedule, averaged weights, no max-norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from posepipe.lifters.build import save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.codec import OutputCodec
from posepipe.lifters.martinez.sampler import MartinezSampler
from posepipe.lifters.mdn.sampler import MdnSampler
from posepipe.training.recipes.supply import Sample, Validation, training_source, validation_set, with_steps
from posepipe.training.run import Metrics, Run, set_rate, torch_seed
from posepipe.training.run_config import RunConfig
from posepipe.training.schedules import cosine, exponential
from posepipe.training.session import Session
from posepipe.training.validate import score
from posepipe.training.warm_start import begin_with


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """joints: which of the 17 the network sees. use_confidence: give it confidences too. flip: average with the
    mirrored input at test time. schedule "exponential": x decay every decay_steps, without stairs, as published."""

    width: int = 1024
    blocks: int = 2
    dropout: float = 0.0
    max_norm: bool = False
    flip: bool = True
    joints: tuple[int, ...] = tuple(range(17))
    use_confidence: bool = True
    loss: Literal["mpjpe", "mse"] = "mpjpe"
    schedule: Literal["cosine", "exponential"] = "cosine"
    decay: float = 0.96
    decay_steps: int = 100_000
    weight_decay: float = 1e-3


def train(config: Config, session: Session) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics."""
    fabric = session.fabric
    torch.manual_seed(torch_seed(config.seed, 0, 2**32 - 1))
    source = training_source(config, session.rank)
    config = with_steps(config, source, fabric.world_size)
    validation = validation_set(config)
    header = header_of(config)
    sampler = MartinezSampler(**header.network)
    standardise(sampler, source.first(20))
    begin_with(sampler, header, config.weights)
    sampler.to(session.device)
    optimiser = torch.optim.AdamW(sampler.parameters(), config.rate, weight_decay=config.weight_decay, fused=True)
    net, optimiser = session.setup(config, sampler.net, optimiser)
    run = Run(config, session, sampler, [optimiser])
    sampler.train()
    with source.from_step(run.start, session.rank) as stream:
        for step in run.steps():
            set_rate(optimiser, rate(config, step))
            keypoints, confidence, joints = session.to_device(next(stream))
            z = net(sampler.input(keypoints, confidence))
            loss = pose_loss(config.loss, sampler.output(z), joints, z, sampler.output)
            optimiser.zero_grad()
            fabric.backward(loss)
            if config.clip:
                fabric.clip_gradients(net, optimiser, max_norm=config.clip, error_if_nonfinite=False)
            optimiser.step()
            run.after(step, loss=loss)
            if run.due(step):
                with run.averaged():
                    metrics = evaluate(sampler, validation)
                run.validated(step, metrics, metrics["detector_noise_2d"]["mpjpe"])
    if run.finish():
        residual = residual_std(sampler, validation)
        completed = {**header.__dict__, "residual_std": residual, "provenance": run.provenance()}
        save(Path(config.out), sampler, Checkpoint(**completed))
    return run.metrics


def header_of(config: Config) -> Checkpoint:
    """The contract of the weights to come. What is the sampler's default is left out."""
    network = {key: getattr(config, key) for key in ("width", "blocks", "dropout", "max_norm", "flip")}
    if config.joints != tuple(range(17)):
        network["joints"] = list(config.joints)
    if not config.use_confidence:
        network["use_confidence"] = False
    return Checkpoint("martinez", network, config.space, config.conversion, (), 1, fixed_hypotheses=1)


def rate(config: Config, step: int) -> float:
    """The learning rate of a step."""
    if config.schedule == "exponential":
        return exponential(step, config.rate, config.decay, config.decay_steps)
    return cosine(step, config.steps, config.rate)


@torch.no_grad()
def standardise(sampler: MartinezSampler | MdnSampler, drawn: Sample) -> None:
    """Fill the codecs' means and deviations from some of the data."""
    keypoints, confidence, joints = drawn
    keypoints, confidence = (values[:, sampler.input.joints] for values in (keypoints, confidence))
    seen = (confidence > 0)[..., None]
    count = seen.sum(0)
    mean = torch.where(seen, keypoints, 0).sum(0) / count
    sampler.input.mean.copy_(mean)
    sampler.input.std.copy_((torch.where(seen, (keypoints - mean) ** 2, 0).sum(0) / count).sqrt())
    flat = joints[:, 1:].flatten(1)
    sampler.output.mean.copy_(flat.mean(0))
    sampler.output.basis.copy_(torch.diag(flat.std(0)))


def pose_loss(kind: str, pose: Tensor, joints: Tensor, z: Tensor, codec: OutputCodec) -> Tensor:
    """ "mpjpe": mean joint distance in metres; "mse": squared error of the standardised outputs, as published."""
    if kind == "mse":
        return ((z - codec.encode(joints)) ** 2).mean()
    return (pose - joints)[:, 1:].norm(dim=-1).mean()


@torch.no_grad()
def evaluate(sampler: MartinezSampler, validation: Validation) -> Metrics:
    """Metrics with exact and with noisy 2D."""
    device = sampler.input.mean.device

    def sample(keypoints: NDArray, confidence: NDArray) -> tuple[NDArray, NDArray]:
        pose = sampler.pose(torch.from_numpy(keypoints).to(device), torch.from_numpy(confidence).to(device)).cpu()
        return pose[:, None].numpy(), torch.zeros(len(pose), 1).numpy()

    return {"gt_2d": score(sample, validation.exact), "detector_noise_2d": score(sample, validation.noisy)}


@torch.no_grad()
def residual_std(sampler: MartinezSampler, validation: Validation) -> tuple[float, ...]:
    """(17) the RMS error per joint on the noisy validation data, metres."""
    batch = validation.noisy
    pose = sampler.pose(torch.from_numpy(batch.keypoints), torch.from_numpy(batch.confidence))
    error = (pose - torch.from_numpy(batch.joints)).norm(dim=-1)
    return tuple(round(float(v), 5) for v in error.pow(2).mean(0).sqrt())
