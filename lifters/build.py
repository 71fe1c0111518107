"""From a checkpoint to the torch module that samples, and back. Needs torch: training and export only."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from posepipe.errors import CheckpointError
from posepipe.lifters.checkpoint import Checkpoint, read_header

# lifter -> (module, class); imported when asked for, since each brings its own networks
_SAMPLERS = {
    "martinez": ("posepipe.lifters.martinez.sampler", "MartinezSampler"),
    "mdn": ("posepipe.lifters.mdn.sampler", "MdnSampler"),
    "wsgan": ("posepipe.lifters.wsgan.sampler", "WsganSampler"),
    "htnet": ("posepipe.lifters.htnet.sampler", "HTNetSampler"),
    "dcgct": ("posepipe.lifters.dcgct.sampler", "DCGCTSampler"),
    "drpose": ("posepipe.lifters.drpose.sampler", "DRPoseSampler"),
    "prpose": ("posepipe.lifters.prpose.sampler", "PrposeSampler"),
}


def build_sampler(header: Checkpoint) -> nn.Module:
    """A sampler with the architecture that the header describes, randomly initialised."""
    if header.lifter not in _SAMPLERS:
        raise CheckpointError(f"No lifter is called '{header.lifter}'.", "See `posepipe lifters`.")
    module, name = _SAMPLERS[header.lifter]
    try:
        sampler: nn.Module = getattr(importlib.import_module(module), name)(**header.network)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"The network of a '{header.lifter}' checkpoint cannot be built ({error}).") from None
    return sampler


def save(path: Path, sampler: nn.Module, header: Checkpoint) -> None:
    """Write a checkpoint: matrices of the network as float16, everything else (biases, norms, statistics) as float32.

    Written to a temporary name and renamed, so that a file with its final name is complete."""
    from safetensors.torch import save_file

    path = Path(path)
    tensors = {
        name: value.detach().half().contiguous()
        if name.startswith("net.") and value.dim() >= 2
        else value.detach().float().contiguous()
        for name, value in sampler.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_file(tensors, str(temporary), metadata={"posepipe": header.to_json()})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, variant: Mapping[str, Any] | None = None) -> tuple[Checkpoint, nn.Module]:
    """Read a checkpoint into an eval-mode sampler. Raises CheckpointError that lists what does not fit.

    variant: header fields to change first (a mapping under "network" is merged): another way of using the weights."""
    from safetensors.torch import load_file

    header = read_header(path)
    if variant:
        changes = {**variant, "network": {**header.network, **variant.get("network", {})}}
        header = dataclasses.replace(header, **changes)
    sampler = build_sampler(header)
    given = {name: value.float() for name, value in load_file(str(path)).items()}
    wanted = {n: v for n, v in sampler.state_dict().items() if not n.endswith("num_batches_tracked")}
    wrong = [f"missing {n}" for n in sorted(wanted.keys() - given.keys())]
    wrong += [f"unexpected {n}" for n in sorted(given.keys() - wanted.keys())]
    wrong += [
        f"{n} is {tuple(given[n].shape)}, expected {tuple(wanted[n].shape)}"
        for n in sorted(wanted.keys() & given.keys())
        if given[n].shape != wanted[n].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{path} does not fit a '{header.lifter}' network: {'; '.join(wrong[:8])}.",
            "It was made for another architecture.",
        )
    sampler.load_state_dict(given, strict=False)
    for value in sampler.state_dict().values():
        if torch.is_floating_point(value) and not torch.isfinite(value).all():
            raise CheckpointError(f"{path} holds numbers that are not finite.", "Train it again.")
    return header, sampler.eval()
