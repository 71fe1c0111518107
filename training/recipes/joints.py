"""The loop that HTNet and DC-GCT share: their authors train both networks alike, up to the loss' weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from posepipe.lifters.build import build_sampler, save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.codec import mirror_joints
from posepipe.lifters.joint_codec import with_mirror
from posepipe.lifters.joint_lifter import JointLifter
from posepipe.training.recipes.supply import Source, Validation, training_source, validation_set, with_steps
from posepipe.training.run import Metrics, Run, set_rate, torch_seed
from posepipe.training.run_config import RunConfig
from posepipe.training.schedules import cosine, epoch_decay
from posepipe.training.session import Session
from posepipe.training.validate import score
from posepipe.training.warm_start import begin_with

Sample = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class JointsConfig(RunConfig):
    """channels, blocks, heads, dropout, drop_path: of the network. flip: average with the mirrored input at test time.

    both_copies: every sample is followed by its mirror image, so a step sees twice the batch, as published. schedule
    "epochs": x 0.95 after each epoch, x 0.5 after each 5th, as published (Adam with amsgrad: adam = "amsgrad")."""

    blocks: int = 3
    heads: int = 8
    dropout: float = 0.0
    drop_path: tuple[float, float] = (0.0, 0.0)
    flip: bool = True
    use_confidence: bool = True
    both_copies: bool = False
    schedule: Literal["cosine", "epochs"] = "cosine"
    adam: Literal["adamw", "amsgrad"] = "adamw"
    weight_decay: float = 1e-3


def train_joints(
    config: JointsConfig, session: Session, lifter: str, network: dict[str, object], joint_weights: Sequence[float]
) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics.

    joint_weights: (17), of each joint's distance in the loss; the hip's target is 0, as published."""
    fabric = session.fabric
    torch.manual_seed(torch_seed(config.seed, 0, 2**32 - 1))
    source = training_source(config, session.rank)
    config = with_steps(config, source, fabric.world_size)
    validation = validation_set(config)
    network = {
        **{key: getattr(config, key) for key in ("blocks", "heads", "dropout", "flip", "use_confidence")},
        **network,
        "drop_path": list(config.drop_path),
    }
    header = Checkpoint(lifter, network, config.space, config.conversion, (), 1, fixed_hypotheses=1)
    sampler = build_sampler(header)
    assert isinstance(sampler, JointLifter)
    begin_with(sampler, header, config.weights)
    sampler.to(session.device)
    net, optimiser = session.setup(config, sampler.net, optimiser_of(config, sampler))
    run = Run(config, session, sampler, [optimiser])
    weights = torch.tensor(joint_weights, device=session.device)
    sampler.train()
    with source.from_step(run.start, session.rank) as stream:
        for step in run.steps():
            set_rate(optimiser, rate(config, step, source, fabric.world_size))
            keypoints, confidence, joints = copies(session.to_device(next(stream)), config.both_copies)
            pose = net(sampler.input(keypoints, confidence)).float()
            loss = ((pose - joints).norm(dim=-1) * weights).mean()
            optimiser.zero_grad()
            fabric.backward(loss)
            if config.clip:
                fabric.clip_gradients(net, optimiser, max_norm=config.clip, error_if_nonfinite=False)
            optimiser.step()
            run.after(step, loss=loss)
            if run.due(step):
                with run.averaged():
                    metrics = evaluate(sampler, validation)
                run.validated(step, metrics, metrics["gt_2d"]["mpjpe"] + metrics["detector_noise_2d"]["mpjpe"])
    if run.finish():
        completed = {
            **header.__dict__,
            "residual_std": residual_std(sampler, validation),
            "provenance": run.provenance(),
        }
        save(Path(config.out), sampler, Checkpoint(**completed))
    return run.metrics


def optimiser_of(config: JointsConfig, sampler: JointLifter) -> torch.optim.Optimizer:
    """Adam with amsgrad as published, or AdamW."""
    if config.adam == "amsgrad":
        return torch.optim.Adam(sampler.parameters(), config.rate, amsgrad=True)
    return torch.optim.AdamW(sampler.parameters(), config.rate, weight_decay=config.weight_decay, fused=True)


def rate(config: JointsConfig, step: int, source: Source, devices: int) -> float:
    """The learning rate of a step."""
    if config.schedule == "epochs":
        return epoch_decay(step, max(1, source.rows // (config.batch * devices)), config.rate)
    return cosine(step, config.steps, config.rate)


def copies(sample: Sample, both: bool) -> Sample:
    """The sample, and behind it its mirror image if both."""
    if not both:
        return sample
    keypoints, confidence, joints = sample
    return *with_mirror(keypoints, confidence), torch.cat([joints, mirror_joints(joints)])


@torch.no_grad()
def poses(sampler: JointLifter, keypoints: NDArray, confidence: NDArray) -> Tensor:
    """(N,17,3) metres of numpy inputs, in blocks, on the CPU."""
    device = next(sampler.parameters()).device
    parts = []
    for start in range(0, len(keypoints), 2000):
        block = (torch.from_numpy(a[start : start + 2000]).to(device) for a in (keypoints, confidence))
        parts.append(sampler.pose(*block).cpu())
    pose = torch.cat(parts)
    pose[:, 0] = 0
    return pose


def evaluate(sampler: JointLifter, validation: Validation) -> Metrics:
    """Metrics with exact and with noisy 2D."""

    def sample(keypoints: NDArray, confidence: NDArray) -> tuple[NDArray, NDArray]:
        pose = poses(sampler, keypoints, confidence)
        return pose[:, None].numpy(), torch.zeros(len(pose), 1).numpy()

    return {"gt_2d": score(sample, validation.exact), "detector_noise_2d": score(sample, validation.noisy)}


def residual_std(sampler: JointLifter, validation: Validation) -> tuple[float, ...]:
    """(17) the RMS error per joint on the noisy validation data, metres."""
    batch = validation.noisy
    error = (poses(sampler, batch.keypoints, batch.confidence) - torch.from_numpy(batch.joints)).norm(dim=-1)
    return tuple(round(float(v), 5) for v in error.pow(2).mean(0).sqrt())
