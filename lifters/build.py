"""From a checkpoint to the torch module that samples, and back. Needs torch: training and export only."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from posepipe.errors import CheckpointError
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.lifters.variants import check, vary

HALF_FROM = 1024  # numbers in a matrix

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
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"The network of a '{header.lifter}' checkpoint cannot be built ({error}).") from None
    return sampler


def save(path: Path, sampler: nn.Module, header: Checkpoint) -> None:
    """Write a checkpoint: large matrices of networks as float16 (see stored_type), everything else as float32.

    Raises OSError or SafetensorError; nothing is left under the final name then."""
    tensors = {
        name: value.detach().to(stored_type(name, value))
        for name, value in sampler.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write(path, tensors, header)


def write(path: Path, tensors: Mapping[str, Tensor], header: Checkpoint) -> None:
    """Write tensors as they are. To a temporary name and renamed, so that a file with its final name is complete."""
    from safetensors.torch import save_file

    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        contiguous = {name: value.contiguous().clone() for name, value in tensors.items()}
        save_file(contiguous, str(temporary), metadata={"posepipe": header.to_json()})
        temporary.chmod(0o644)  # the library makes files that only their owner can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def stored_type(name: str, value: Tensor) -> torch.dtype:
    """float16 for the matrices of a network (whose name has the part `net`: our own and those of a first stage) that
    are worth it: at least HALF_FROM numbers. Everything small stays float32, which costs nothing: biases, norms,
    learned adjacencies (near 1e-6, below what float16 resolves), input and output layers of narrow networks; and so
    do statistics and bases, which are not part of a network, and matrices that float16 would lose digits of."""
    if "net" not in name.split(".") or value.dim() < 2 or value.numel() < HALF_FROM:
        return torch.float32
    exact = value.detach().float()
    lost = (exact.half().float() - exact).norm() / exact.norm().clamp(min=1e-30)
    return torch.float16 if float(lost) < 2**-10 else torch.float32


def load(path: Path, variant: Mapping[str, Any] | None = None) -> tuple[Checkpoint, nn.Module]:
    """Read a checkpoint into an eval-mode sampler. Raises CheckpointError that lists what does not fit.

    variant: header fields to change first (see variants.py): another way of using the weights."""
    from safetensors.torch import load_file

    header = read_header(path)
    check(header, str(path))
    header = vary(header, variant)
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
