"""Train the adaptive noise of PRPose (Zeng et al. 2024) around a frozen lifter.

    posepipe train configs/train/prpose_cmu.toml           what is shipped: around our HTNet
    posepipe train configs/train/prpose_mgcn_cmu.toml      the light GCN, which is trained beside it
    posepipe train configs/train/prpose_martinez_cmu.toml  ours: around the residual linear lifter
    posepipe train configs/train/prpose_published.toml     the paper's settings on Human3.6M

The variance network learns, from the 2D pose alone, how wrong the lifter will be at each joint, in proportion to its
mean error. alpha turns that into noise on the 2D pose; the paper gives it by hand for each data set. What is shipped
takes it from validation frames: more noise covers more, and costs the aggregate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from posepipe.errors import InputError
from posepipe.lifters.build import build_sampler, save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.prpose.sampler import Networks, PrposeSampler
from posepipe.lifters.variants import noise_shape
from posepipe.training.calibrate import FRAMES, with_calibration
from posepipe.training.first_stage import adopt, first_stage, standardise_input
from posepipe.training.hypotheses import evaluate, mean_energy
from posepipe.training.recipes.joints import copies
from posepipe.training.recipes.supply import Source, training_source, validation_set, with_steps
from posepipe.training.run import Metrics, Run, set_rate, torch_seed
from posepipe.training.run_config import RunConfig
from posepipe.training.schedules import cosine, epoch_decay
from posepipe.training.session import Session
from posepipe.training.warm_start import begin_with


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """lifter "htnet" or "martinez": the frozen one of the checkpoint `first`. "mgcn": the light GCN with lifter_width
    channels, which is trained along by MPJPE, and whose inputs are standardised if `standardise`.

    variance, variance_width, variance_blocks: the network for the noise. alpha: noise per unit of it, in units of the
    input space; of `alphas`, if any, the best on validation frames instead (alpha_score). faithful: as PrposeSampler
    has it. both_copies: every sample is followed by its mirror image, as published. schedule "epochs": x 0.95 after
    each epoch, x 0.5 after each 5th, as published (adam = "amsgrad")."""

    lifter: Literal["htnet", "mgcn", "martinez"] = "htnet"
    first: str | None = None
    lifter_width: int = 128
    standardise: bool = True
    variance: Literal["mgcn", "mlp"] = "mgcn"
    variance_width: int = 256
    variance_blocks: int = 4
    variance_dropout: float = 0.5
    alpha: float = 0.005
    alphas: tuple[float, ...] = ()
    faithful: bool = False
    use_confidence: bool = True
    hypotheses: int = 20
    both_copies: bool = False
    schedule: Literal["cosine", "epochs"] = "cosine"
    adam: Literal["adamw", "amsgrad"] = "adamw"
    weight_decay: float = 1e-3


class Both(nn.Module):
    """The network of the loop: tokens -> pose of the lifter, ratio of the variance network. A frozen lifter stays in
    evaluation mode, whatever the rest is in."""

    def __init__(self, networks: Networks, frozen: bool) -> None:
        super().__init__()
        self.networks, self.frozen = networks, frozen

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if self.frozen:
            self.networks.lifter.eval()
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            pose = self.networks.lifter(tokens)
        return pose, self.networks.variance(tokens)


def train(config: Config, session: Session) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics. Raises InputError for settings that
    contradict each other, CheckpointError for a first stage that cannot be one."""
    fabric = session.fabric
    torch.manual_seed(torch_seed(config.seed, 0, 2**32 - 1))
    source = training_source(config, session.rank)
    config = with_steps(config, source, fabric.world_size)
    validation = validation_set(config)
    header, sampler = beginning(config, source)
    if config.weights:
        lifter = {name: value.clone() for name, value in sampler.net.lifter.state_dict().items()}
        begin_with(sampler, header, config.weights)
        if config.first:  # the one that this run names, whatever `weights` had
            sampler.net.lifter.load_state_dict(lifter)
    sampler.to(session.device)
    frozen = config.lifter != "mgcn"
    mean_error = mean_distance(sampler, source, session.device) if frozen else None
    net, optimiser = session.setup(config, Both(sampler.net, frozen), optimiser_of(config, sampler))
    run = Run(config, session, sampler, [optimiser])
    sampler.train()
    with source.from_step(run.start, session.rank) as stream:
        for step in run.steps():
            set_rate(optimiser, rate(config, step, max(1, source.rows // (config.batch * fabric.world_size))))
            keypoints, confidence, joints = copies(session.to_device(next(stream)), config.both_copies)
            pose, ratio = (values.float() for values in net(sampler.input(keypoints, confidence)))
            distance = (pose - joints).norm(dim=-1, keepdim=True)
            error = distance.detach()
            target = error / (error.mean() if mean_error is None else mean_error)
            parts = {"variance": (ratio - target).square().mean()}
            if not frozen:
                parts["mpjpe"] = distance.mean()
            loss = torch.stack(list(parts.values())).sum()
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
        if config.alphas:
            scores = {}
            for alpha in config.alphas:
                sampler.alpha = alpha
                scores[alpha] = evaluate(sampler, header.noise_shape, validation, config.hypotheses)
            sampler.alpha = min(scores, key=lambda alpha: alpha_score(scores[alpha]))
            run.metrics = scores[sampler.alpha]
        header = replace(header, network={**header.network, "alpha": sampler.alpha})
        if config.keypoints == "virtual":
            header = with_calibration(sampler, header, Path(config.data), frames=min(FRAMES, config.validation_frames))
            run.metrics = evaluate(sampler, header.noise_shape, validation, config.hypotheses)
        save(Path(config.out), sampler, replace(header, provenance={**run.provenance(), **header.provenance}))
    return run.metrics


def beginning(config: Config, source: Source) -> tuple[Checkpoint, PrposeSampler]:
    """The header and the sampler before the first step."""
    network: dict[str, Any] = {
        "lifter": config.lifter,
        "variance": config.variance,
        "alpha": config.alpha,
        "faithful": config.faithful,
        "use_confidence": config.use_confidence,
        "variance_network": {"width": config.variance_width, "blocks": config.variance_blocks},
    }
    if config.variance == "mlp":
        network["variance_network"]["dropout"] = config.variance_dropout
    if config.lifter == "mgcn":
        if config.first:
            raise InputError("The light GCN is trained here and has no first stage.", "Leave out `first`.")
        network["lifter_network"] = {"width": config.lifter_width}
        sampler = built(header_of(config, network))
        if config.standardise:
            standardise_input(sampler.input, source.first(20))
        return header_of(config, network), sampler
    if not config.first:
        raise InputError(f"PRPose around {config.lifter} needs it trained.", "Give its checkpoint as `first`.")
    trained, first = first_stage(Path(config.first), config, (config.lifter,))
    given = trained.network.get("use_confidence", config.lifter == "martinez")
    if given != config.use_confidence:
        raise InputError(
            f"{config.first} has use_confidence {not config.use_confidence}.", "Set `use_confidence` alike here."
        )
    own = {"flip"} if config.lifter == "martinez" else {"flip", "use_confidence"}
    network["lifter_network"] = {k: v for k, v in trained.network.items() if k not in own}
    sampler = built(header_of(config, network))
    if config.lifter == "martinez":
        adopt(sampler.net.lifter.get_submodule("martinez"), first)
    else:
        adopt(sampler.net.lifter, first.net)
        sampler.input.load_state_dict(first.input.state_dict())
    return header_of(config, network), sampler


def header_of(config: Config, network: dict[str, Any]) -> Checkpoint:
    """The contract of the weights to come."""
    shape = noise_shape("prpose", network)
    return Checkpoint("prpose", network, config.space, config.conversion, shape, config.hypotheses)


def built(header: Checkpoint) -> PrposeSampler:
    sampler = build_sampler(header)
    assert isinstance(sampler, PrposeSampler)
    return sampler


@torch.no_grad()
def mean_distance(sampler: PrposeSampler, source: Source, device: torch.device) -> float:
    """Mean distance of a frozen lifter's joints from the truth on training data, metres."""
    sampler.eval()
    blocks = zip(*(part.split(2000) for part in source.first(10)), strict=True)
    total = count = 0.0
    for keypoints, confidence, joints in ((part.to(device) for part in block) for block in blocks):
        distance = (sampler.net.lifter(sampler.input(keypoints, confidence)) - joints).norm(dim=-1)
        total += float(distance.sum())
        count += distance.numel()
    return total / count


def alpha_score(metrics: Metrics) -> float:
    """Energy score and error of the aggregate, millimetres. The energy score alone takes noise that makes the aggregate
    worse than no noise at all; how wide the regions are is fitted afterwards in any case."""
    aggregate = 0.5 * (metrics["gt_2d"]["mpjpe"] + metrics["detector_noise_2d"]["mpjpe"])
    return mean_energy(metrics) + aggregate


def optimiser_of(config: Config, sampler: PrposeSampler) -> torch.optim.Optimizer:
    """Of what is not frozen: Adam with amsgrad as published, or AdamW."""
    parameters = [p for p in sampler.parameters() if p.requires_grad]
    if config.adam == "amsgrad":
        return torch.optim.Adam(parameters, config.rate, amsgrad=True)
    return torch.optim.AdamW(parameters, config.rate, weight_decay=config.weight_decay)


def rate(config: Config, step: int, epoch: int) -> float:
    """The learning rate of a step."""
    if config.schedule == "epochs":
        return epoch_decay(step, epoch, config.rate)
    return cosine(step, config.steps, config.rate)
