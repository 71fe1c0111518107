"""Train the residual linear lifter (Martinez et al. 2017) on mocap seen by virtual cameras.

    posepipe train configs/train/martinez_cmu.toml

Departures from the paper, all in the configuration: confidences as input, MPJPE instead of squared error, AdamW with a
cosine schedule, averaged weights, no max-norm. `max_norm = true`, `loss = "mse"`, `dropout = 0.5` are the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from posepipe.lifters.build import save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.codec import OutputCodec
from posepipe.lifters.martinez.sampler import MartinezSampler
from posepipe.training.optim import AveragedWeights, Throughput, cosine_rate
from posepipe.training.recipes.supply import Validation, training_batches, validation_batches
from posepipe.training.validate import score


@dataclass(frozen=True)
class MartinezConfig:
    """data: motion file of `posepipe data build`. out: the checkpoint to write. steps x batch samples are seen."""

    recipe: str
    data: str
    out: str
    conversion: str = "blazepose33-h36m17@1"
    width: int = 1024
    blocks: int = 2
    dropout: float = 0.0
    max_norm: bool = False
    flip: bool = True
    loss: str = "mpjpe"
    steps: int = 8000
    batch: int = 1024
    rate: float = 1e-3
    weight_decay: float = 1e-3
    average: float = 0.999
    bf16: bool = True
    seed: int = 0
    threads: int = 2
    validate_every: int = 2000


def train(config: MartinezConfig, report: Callable[[int, str], None]) -> dict[str, dict[str, float]]:
    """Run the recipe; `report(step, text)` is called often. Writes config.out and returns the validation metrics."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    validation = validation_batches(Path(config.data))
    network = {key: getattr(config, key) for key in ("width", "blocks", "dropout", "max_norm")}
    header = Checkpoint(
        "martinez", {**network, "flip": config.flip}, "person", config.conversion, (), 1, fixed_hypotheses=1
    )
    sampler = MartinezSampler(**header.network)
    with training_batches(Path(config.data), config.batch, config.seed) as stream:
        standardise(sampler, stream)
        optimiser = torch.optim.AdamW(sampler.parameters(), config.rate, weight_decay=config.weight_decay)
        average, speed = AveragedWeights(sampler, config.average), Throughput(config.steps, config.batch)
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = cosine_rate(step, config.steps, config.rate)
            keypoints, confidence, joints = next(stream)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                z = sampler.net(sampler.input(keypoints, confidence))
            loss = pose_loss(config.loss, sampler.output(z.float()), joints, z.float(), sampler.output)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            average.update(sampler, step)
            if step % 50 == 0:
                report(step, f"loss {loss.item():.4f}, {speed.text(step)}")
            if (step + 1) % config.validate_every == 0 or step + 1 == config.steps:
                with average.applied(sampler):
                    metrics = evaluate(sampler, validation)
                report(step, f"validation {metrics}")
    sampler.load_state_dict(average.values)
    sampler.eval()
    header = with_results(header, sampler, validation, metrics, asdict(config))
    save(Path(config.out), sampler, header)
    return metrics


def standardise(sampler: MartinezSampler, stream: Iterator[tuple[Tensor, Tensor, Tensor]]) -> None:
    """Fill the codecs' means and deviations from the first batches."""
    drawn = [next(stream) for _ in range(20)]
    keypoints, confidence, joints = (torch.cat(parts) for parts in zip(*drawn, strict=True))
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
def evaluate(sampler: MartinezSampler, validation: Validation) -> dict[str, dict[str, float]]:
    """Metrics of the averaged weights with exact and with noisy 2D."""

    def sample(keypoints, confidence):  # type: ignore[no-untyped-def]
        pose = sampler.pose(torch.from_numpy(keypoints), torch.from_numpy(confidence))
        return pose[:, None].numpy(), torch.zeros(len(pose), 1).numpy()

    return {"gt_2d": score(sample, validation.exact), "detector_noise_2d": score(sample, validation.noisy)}


@torch.no_grad()
def with_results(
    header: Checkpoint, sampler: MartinezSampler, validation: Validation, metrics: dict, config: dict
) -> Checkpoint:
    """The header completed with the RMS error per joint under detector noise and with what made the weights."""
    batch = validation.noisy
    pose = sampler.pose(torch.from_numpy(batch.keypoints), torch.from_numpy(batch.confidence))
    error = (pose - torch.from_numpy(batch.joints)).norm(dim=-1)
    residual = tuple(round(float(v), 5) for v in error.pow(2).mean(0).sqrt())
    fields = {**header.__dict__, "residual_std": residual, "provenance": {"config": config, "metrics": metrics}}
    return Checkpoint(**fields)
