"""Going on from the weights of an earlier run, under other settings: `weights` of a configuration.

Unlike --resume, which continues the same run to the bit, this begins a new one: its own schedule, data and optimiser.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from posepipe.errors import CheckpointError
from posepipe.lifters.build import load
from posepipe.lifters.checkpoint import Checkpoint

_FITTED_LATER = {"calibrated", "alpha"}  # by the end of a recipe, anew


def begin_with(sampler: nn.Module, header: Checkpoint, path: str | None) -> None:
    """Give a sampler that has this header the weights and statistics of the checkpoint `path`; None: leave it as it is.

    Raises CheckpointError for a file that is not there or cannot be read, or that is of another lifter, network, input
    space or conversion, naming the first difference."""
    if path is None:
        return
    given, trained = load(Path(path))
    for name in ("lifter", "space", "conversion"):
        if getattr(given, name) != getattr(header, name):
            raise CheckpointError(
                f"{path} has {name} '{getattr(given, name)}', this run '{getattr(header, name)}'.",
                "Give `weights` of the same system, or leave it out to begin from random ones.",
            )
    weights = {name: value for name, value in trained.state_dict().items() if not name.startswith("calibration.")}
    wanted = sampler.state_dict()
    settings = sorted({*given.network, *header.network} - _FITTED_LATER)
    differ = [
        f"{key} is {given.network.get(key)!r} there, {header.network.get(key)!r} here"
        for key in settings
        if given.network.get(key) != header.network.get(key)
    ]
    differ += [
        f"{name} is {_shape(weights, name)} there, {_shape(wanted, name)} here"
        for name in sorted(wanted.keys() | weights.keys())
        if _shape(weights, name) != _shape(wanted, name)
    ]
    if differ:
        raise CheckpointError(
            f"The network of {path} is not that of this run: {'; '.join(differ[:4])}.",
            "Set the sizes alike, or leave out `weights`.",
        )
    sampler.load_state_dict(weights)


def _shape(tensors: dict[str, object], name: str) -> str:
    return str(tuple(getattr(tensors[name], "shape", ()))) if name in tensors else "missing"
