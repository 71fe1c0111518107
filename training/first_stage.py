"""The frozen lifter that DRPose refines and PRPose disturbs: read from its checkpoint and copied into a sampler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from posepipe.errors import CheckpointError
from posepipe.lifters.build import load
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.codec import InputCodec
from posepipe.training.recipes.supply import Sample
from posepipe.training.run_config import RunConfig

SINGLE = ("htnet", "dcgct", "martinez")


def first_stage(path: Path, config: RunConfig, known: tuple[str, ...] = SINGLE) -> tuple[Checkpoint, Any]:
    """A checkpoint of one of the known lifters, without mirror averaging. Raises CheckpointError if it is another
    lifter's, or was trained on other keypoints than config has."""
    if not path.exists():
        raise CheckpointError(
            f"The first stage {path} is not there.", "Train it first (htnet, dcgct), or give another as `first`."
        )
    header, sampler = load(path, {"network": {"flip": False}})
    if header.lifter not in known:
        raise CheckpointError(
            f"{path} is a '{header.lifter}' checkpoint.", f"Give one of {', '.join(known)} as `first`."
        )
    for name, wanted in (("space", config.space), ("conversion", config.conversion)):
        if getattr(header, name) != wanted:
            raise CheckpointError(
                f"{path} has {name} '{getattr(header, name)}', this run '{wanted}'.", "Take a first stage that fits."
            )
    return header, sampler


def adopt(module: nn.Module, trained: nn.Module) -> None:
    """Give a module the weights of a trained one of the same architecture, and freeze it."""
    module.load_state_dict(trained.state_dict())
    module.requires_grad_(False)
    module.eval()


@torch.no_grad()
def standardise_input(codec: InputCodec, drawn: Sample) -> None:
    """Fill the input codec's means and deviations from the keypoints that are seen."""
    keypoints, confidence, _ = drawn
    seen = (confidence > 0)[..., None]
    count = seen.sum(0)
    mean = torch.where(seen, keypoints, 0).sum(0) / count
    codec.mean.copy_(mean)
    codec.std.copy_((torch.where(seen, (keypoints - mean) ** 2, 0).sum(0) / count).sqrt())
