"""Opening PyTorch files that authors published: reading them safely and renaming their entries to ours.

A translation is made of two things that each lifter's own authors.py gives: the shapes that our sampler needs, and a
rule that names, for each of our entries, the authors' entry (or entries, joined along the first axis).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from posepipe.errors import CheckpointError
from posepipe.lifters.torch_file import load_weights_only

Rename = Callable[[str], tuple[str, ...]]
COUNTER = "num_batches_tracked"  # a training counter of batch norm, of no use in inference: it may be absent


@dataclass(frozen=True)
class Imported:
    """A published file in our terms. network: constructor arguments of our sampler (JSON values). state: its state
    dict. unexpected: entries of the file that nothing here needs, to be reported."""

    network: dict[str, Any]
    state: dict[str, Tensor]
    unexpected: tuple[str, ...]


def read_pth(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth file, without DataParallel's `module.` prefixes. Nothing in the file is executed
    (weights_only). Raises CheckpointError for files that are not a flat mapping of names to tensors."""
    path = Path(path)
    try:
        content = load_weights_only(path)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}.", "Check the path.") from None
    except Exception as error:  # noqa: BLE001 - torch meets damaged files with all kinds of errors, assertions too
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch file of tensors ({reason}).",
            "Give the .pth file of weights that the authors published.",
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()) or not content:
        raise CheckpointError(
            f"{path} holds no state dict.", "Give the .pth file of weights that the authors published."
        )
    return strip_module(content)


def strip_module(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the `module.` that nn.DataParallel puts before every name."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def replacing(*pairs: tuple[str, str]) -> Rename:
    """A rename rule that applies text replacements in order."""

    def rename(name: str) -> tuple[str, ...]:
        for ours, theirs in pairs:
            name = name.replace(ours, theirs)
        return (name,)

    return rename


def translate(
    state: Mapping[str, Tensor], sampler: nn.Module, rename: Rename, system: str, ignore: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """(our state dict, names that were not needed).

    Entries of our sampler that the authors do not have (input statistics) keep the sampler's values: rename gives ()
    for them. A 1x1 convolution is accepted for a linear layer. Raises CheckpointError listing everything missing,
    misshaped and unexpected if anything is missing or misshaped.
    """
    result: dict[str, Tensor] = {}
    used: set[str] = set(ignore)
    missing: list[str] = []
    wrong: list[str] = []
    for name, ours in sampler.state_dict().items():
        sources = rename(name)
        used.update(sources)
        absent = [s for s in sources if s not in state]
        if not sources or (absent and name.endswith(COUNTER)):
            result[name] = ours.clone()
        elif absent:
            missing += absent
        else:
            value = torch.cat([state[s] for s in sources]) if len(sources) > 1 else state[sources[0]]
            value = fit(value, ours)
            if value.shape != ours.shape:
                wrong.append(f"{sources[0]} {tuple(value.shape)} where {tuple(ours.shape)} is needed")
            result[name] = value.detach().clone().to(ours.dtype)
    unexpected = tuple(sorted(set(state) - used))
    if missing or wrong:
        raise CheckpointError(
            f"This is not a {system} file: {_listing(missing, wrong, unexpected)}.",
            "Check --from, and that the file is the authors' own.",
        )
    return result, unexpected


def fit(value: Tensor, ours: Tensor) -> Tensor:
    """Layouts that mean the same: trailing 1x1 kernels of convolutions dropped; a convolution whose stride is its
    width, (out, in, width), as the matrix of a linear layer on the joined positions, (out, width * in)."""
    while value.dim() > ours.dim() and value.shape[-1] == 1:
        value = value[..., 0]
    if value.dim() == 3 and ours.dim() == 2:
        value = value.transpose(1, 2).flatten(1)
    return value


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of different indices n in names that start with `prefix`n."""
    return len({name[len(prefix) :].split(".", 1)[0] for name in state if name.startswith(prefix)})


def axis(state: Mapping[str, Tensor], name: str, index: int, system: str) -> int:
    """One dimension of one entry; raises CheckpointError if the file does not have it."""
    if name not in state or state[name].dim() <= index:
        raise CheckpointError(
            f"This is not a {system} file: it has no entry '{name}' (its first entries: {', '.join(list(state)[:4])}).",
            "Check --from, and that the file is the authors' own.",
        )
    return int(state[name].shape[index])


def _listing(missing: list[str], wrong: list[str], unexpected: tuple[str, ...], limit: int = 12) -> str:
    parts = []
    for title, names in (("missing", missing), ("misshaped", wrong), ("unexpected", list(unexpected))):
        if names:
            more = f" and {len(names) - limit} more" if len(names) > limit else ""
            parts.append(f"{len(names)} {title} ({', '.join(names[:limit])}{more})")
    return "; ".join(parts)
