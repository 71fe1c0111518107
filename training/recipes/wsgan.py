"""Train the weakly supervised generator (Li & Lee 2020).

    posepipe train configs/train/wsgan_first_cmu.toml    then wsgan_second_cmu.toml, wsgan_cmu.toml: what is shipped
    posepipe train configs/train/wsgan_published.toml    the paper's settings on Human3.6M

The generator turns 2D and a code into a pose and a camera; a discriminator that sees other people's poses (nowhere the
3D that belongs to the 2D) says whether such postures exist. That fixes neither a person's size nor which of many
plausible poses is likely. Mocap has the 3D, so what is shipped is trained with it too: the energy score of a few codes'
hypotheses, beside the paper's losses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from posepipe.errors import InputError
from posepipe.lifters.build import save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.wsgan import losses
from posepipe.lifters.wsgan.net import Discriminator, Encoder
from posepipe.lifters.wsgan.sampler import WsganSampler
from posepipe.training.calibrate import FRAMES, with_calibration
from posepipe.training.energy import best_distance, energy_score
from posepipe.training.hypotheses import draw, evaluate, mean_energy
from posepipe.training.recipes.supply import Source, Validation, training_source, validation_set
from posepipe.training.run import Metrics, Run, set_rate, torch_seed
from posepipe.training.run_config import RunConfig
from posepipe.training.schedules import cosine, epoch_decay_after
from posepipe.training.session import Session
from posepipe.training.template_pose import template_pose
from posepipe.training.warm_start import begin_with

HEAD_SHARE = 0.01  # of its random weights that a head starts from: the features in front of it are large


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """batch: rows drawn per step. people: the first so many of them are lifted, 0 for all. critic: the discriminator
    judges two hypotheses of the first so many people, against as many real poses (2 x critic): those of the last rows,
    which are other people's. epochs: passes in which every frame is lifted once.

    latent: length of the code, 0 for the width. pose_width, kcs_width: the discriminator's branches. codes: hypotheses
    per person and step. reprojection, camera, mmd, diversity, encoder, penalty: weights of the paper's losses. energy,
    best: weights of the supervised ones (metres): energy score, and distance of the best of the codes; 0 as published.
    from_mean: before the first step, every pose is the data's mean posture seen from the front, nearly; published from
    random heads, which put the joints metres away.
    critic_rate: the discriminator's, in proportion to the generator's schedule. betas: Adam's. schedule "epochs": x
    0.94 after every epoch but the first two, as published."""

    people: int = 0
    critic: int = 64
    width: int = 1024
    latent: int = 0
    use_confidence: bool = False
    pose_width: int = 128
    kcs_width: int = 1024
    hypotheses: int = 20
    codes: int = 2
    reprojection: float = losses.WEIGHTS["reprojection"]
    camera: float = losses.WEIGHTS["camera"]
    mmd: float = losses.WEIGHTS["mmd"]
    diversity: float = losses.WEIGHTS["diversity"]
    encoder: float = losses.WEIGHTS["encoder"]
    penalty: float = losses.WEIGHTS["penalty"]
    energy: float = 0.0
    best: float = 0.0
    from_mean: bool = False
    critic_rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)
    weight_decay: float = 0.0
    schedule: Literal["cosine", "epochs"] = "epochs"


class Maker(nn.Module):
    """What is trained against the discriminator: the generator with its camera, and the encoder if there is one."""

    def __init__(self, generator: nn.Module, encoder: Encoder | None) -> None:
        super().__init__()
        self.generator, self.encoder = generator, encoder

    def forward(self, x: Tensor, code: Tensor, critic: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """-> poses (B,H,48), cameras (B,2,3), and the codes that the encoder finds in `pair(poses, critic)`."""
        pose, camera = self.generator(x, code)
        encoded = None if self.encoder is None else self.encoder(pair(pose, critic)).float()
        return pose.float(), camera.float(), encoded


class Critic(nn.Module):
    """The discriminator's loss in one forward, which is what DDP needs. It computes in float32, whatever the run does:
    the MMD is a small difference of large numbers."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, real: Tensor, fake: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
        """-> squared MMD and gradient penalty."""
        with torch.autocast(real.device.type, enabled=False):
            real, fake, mix = (values.float() for values in (real, fake, mix))  # Fabric rounds what goes in
            mmd = losses.mmd2(self.discriminator(fake), self.discriminator(real))
            return mmd, losses.gradient_penalty(self.discriminator, real, fake, mix)


def train(config: Config, session: Session) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics. Raises InputError for a batch without
    enough other people for the discriminator."""
    fabric = session.fabric
    check_rows(config)
    torch.manual_seed(torch_seed(config.seed, 0, 2**32 - 1))
    source = training_source(config, session.rank)
    epoch = epoch_steps(config, source, fabric.world_size)
    if config.epochs:
        config = replace(config, steps=config.epochs * epoch)
    validation = validation_set(config)
    header = header_of(config)
    sampler, (latent,) = WsganSampler(**header.network), header.noise_shape
    if config.from_mean:
        begin_at(sampler, template_pose(source.first(8)[2]).mean(0))
    begin_with(sampler, header, config.weights)
    encoder = Encoder(config.width, latent) if config.encoder else None
    discriminator = Discriminator(config.pose_width, config.kcs_width)
    maker: nn.Module = Maker(sampler.net, encoder).to(session.device)
    judge: nn.Module = Critic(discriminator).to(session.device)
    sampler.to(session.device)
    maker, maker_optimiser = session.setup(config, maker, optimiser_of(config, maker, config.rate))
    judge, judge_optimiser = session.setup(config, judge, optimiser_of(config, judge, config.critic_rate))
    others: dict[str, nn.Module] = {"discriminator": discriminator}
    if encoder is not None:
        others["encoder"] = encoder
    run = Run(config, session, sampler, [maker_optimiser, judge_optimiser], others)
    sampler.train()
    with source.from_step(run.start, session.rank) as stream:
        for step in run.steps():
            share = rate(config, step, epoch)
            set_rate(maker_optimiser, config.rate * share)
            set_rate(judge_optimiser, config.critic_rate * share)
            rows = session.to_device(next(stream))
            real = template_pose(rows[2][-2 * config.critic :])
            keypoints, confidence, joints = (values[: config.people or None] for values in rows)
            x = sampler.given(keypoints, confidence)
            code = torch.randn(len(x), config.codes, latent, device=x.device)
            pose, camera, encoded = maker(x, code, config.critic)
            fake = pair(pose, config.critic)

            mix = torch.rand(len(real), 1, device=x.device)
            mmd, penalty = judge(real, fake.detach(), mix)
            judge_optimiser.zero_grad()
            fabric.backward(config.penalty * penalty - mmd)
            judge_optimiser.step()

            discriminator.requires_grad_(False)
            parts = {
                "reprojection": reprojection(x, camera, pose),
                "camera": losses.camera_loss(camera),
                "mmd": losses.mmd2(discriminator(fake), discriminator(real)),
            }
            if config.diversity:
                parts["diversity"] = losses.diversity(fake, pair(code, config.critic))
            if encoded is not None:
                parts["encoder"] = losses.encoder_loss(encoded, pair(code, config.critic))
            if config.energy or config.best:
                placed, truth = sampler.place(pose, camera)[:, :, 1:], joints[:, 1:]
                parts["energy"] = energy_score(placed, truth)
                parts["best"] = best_distance(placed, truth)
            loss = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
            maker_optimiser.zero_grad()
            fabric.backward(loss)
            discriminator.requires_grad_(True)
            if config.clip:
                fabric.clip_gradients(maker, maker_optimiser, max_norm=config.clip, error_if_nonfinite=False)
            maker_optimiser.step()
            run.after(step, loss=loss, **parts, penalty=penalty)
            if run.due(step):
                with run.averaged():
                    metrics = evaluate(sampler, header.noise_shape, validation, config.hypotheses)
                run.validated(step, metrics, mean_energy(metrics))
    if run.finish():
        if config.keypoints == "virtual":
            header = with_calibration(sampler, header, Path(config.data), frames=min(FRAMES, config.validation_frames))
            run.metrics = evaluate(sampler, header.noise_shape, validation, config.hypotheses)
        residual, provenance = residual_std(sampler, header, validation), {**run.provenance(), **header.provenance}
        save(Path(config.out), sampler, replace(header, residual_std=residual, provenance=provenance))
    return run.metrics


def check_rows(config: Config) -> None:
    """The discriminator's real poses must be other people's than those lifted in front of it."""
    judged = max(config.people, config.critic)
    if config.people and config.people < config.critic:
        raise InputError(f"people = {config.people} are fewer than critic = {config.critic}.", "Make `critic` smaller.")
    if config.batch < judged + 2 * config.critic or config.critic < 2 or config.codes < 2:
        raise InputError(
            f"batch = {config.batch} has no room for {judged} people and 2 x {config.critic} others' poses.",
            "Use critic >= 2, codes >= 2 and batch >= max(people, critic) + 2 x critic.",
        )


def header_of(config: Config) -> Checkpoint:
    """The contract of the weights to come."""
    network = {"width": config.width, "latent": config.latent or config.width}
    if config.use_confidence:
        network["use_confidence"] = True
    return Checkpoint("wsgan", network, config.space, config.conversion, (network["latent"],), config.hypotheses)


@torch.no_grad()
def begin_at(sampler: WsganSampler, pose: Tensor) -> None:
    """Heads that give nearly this pose (48) and a camera in front of it, whatever the input and the code."""
    for head, bias in ((sampler.net.pose.head, pose), (sampler.net.camera.head, torch.eye(2, 3).flatten())):
        head.weight.mul_(HEAD_SHARE)
        head.bias.copy_(bias)


def optimiser_of(config: Config, module: nn.Module, peak: float) -> torch.optim.Optimizer:
    """Adam as published where weight_decay is 0."""
    return torch.optim.AdamW(module.parameters(), peak, betas=config.betas, weight_decay=config.weight_decay)


def epoch_steps(config: Config, source: Source, devices: int) -> int:
    """Steps in which as many people are lifted as the data has."""
    return max(1, source.rows // ((config.people or config.batch) * devices))


def rate(config: Config, step: int, epoch: int) -> float:
    """The learning rate of a step, in proportion to the highest."""
    if config.schedule == "epochs":
        return epoch_decay_after(step, epoch, 1.0)
    return cosine(step, config.steps, 1.0)


def pair(values: Tensor, people: int) -> Tensor:
    """(B,H,n) -> (2 people,n): the first hypotheses of the first people, then their second ones."""
    return torch.cat([values[:people, 0], values[:people, 1]])


def reprojection(x: Tensor, camera: Tensor, pose: Tensor) -> Tensor:
    """The paper's, over all hypotheses (B,H,48). Joints that were not seen (both numbers exactly 0) count nothing."""
    target = x[:, :32]
    seen = (target.unflatten(1, (2, 16)) != 0).any(1).to(x.dtype)
    count = pose.shape[1]
    repeated = (values.repeat_interleave(count, 0) for values in (target, camera, seen))
    target, camera, seen = repeated
    return losses.reprojection(target, camera, pose.flatten(0, 1), seen)


def residual_std(sampler: WsganSampler, header: Checkpoint, validation: Validation) -> tuple[float, ...]:
    """(17) the RMS error per joint of the pose of code 0, on the noisy validation data, metres."""
    noisy = validation.noisy
    zero = WsganSampler(**{**header.network, "mode": "zero"}).eval()
    zero.load_state_dict(sampler.state_dict())
    poses, _ = draw(zero, header.noise_shape, noisy.keypoints, noisy.confidence, 1)
    squares = ((poses[:, 0] - noisy.joints) ** 2).sum(-1)
    return tuple(round(float(v), 5) for v in np.sqrt(squares.mean(0)))
