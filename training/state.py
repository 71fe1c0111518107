"""The state of a run: everything that the next step depends on, in one safetensors file with a JSON header.

Written to a temporary name, synced, renamed: a crash, a kill or a full disk leaves the state before it intact.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from posepipe.errors import InputError, OutputError

FORMAT, VERSION = "posepipe-training-state", 1
_FIX = "Start without --resume, or give the right --state FILE."


@dataclass(frozen=True)
class State:
    """step: how many are done. config: what made it, as plain values. tensors: by name. scalars: what is not a tensor,
    as JSON."""

    step: int
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    scalars: dict[str, Any] = field(default_factory=dict)


def save_state(path: Path, state: State) -> None:
    """Write a state atomically and durably. Raises OutputError; the file that was there before is then untouched."""
    from safetensors.torch import save

    path = Path(path)
    header = {"format": FORMAT, "version": VERSION, "step": state.step, "config": state.config}
    text = json.dumps({**header, "scalars": state.scalars}, sort_keys=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.tensors.items()}
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(save(tensors, metadata={"posepipe": text}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"Cannot write the training state {path} ({error.strerror}); the one before it is intact.",
            "Free some space or give another --state FILE, then go on with --resume.",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path, config: Mapping[str, Any]) -> State:
    """Read a state that a run of this configuration wrote. Raises InputError when it is missing, damaged, or of another
    configuration, naming the first differences."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("posepipe", "{}"))
            if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
                raise InputError(f"{path} is not a training state of this posepipe.", _FIX)
            kinds = {"step": int, "config": dict, "scalars": dict}
            wrong = [key for key, kind in kinds.items() if type(header.get(key)) is not kind]
            if wrong or header["step"] < 0:
                raise InputError(f"The training state {path} is damaged ({', '.join(wrong) or 'step'}).", _FIX)
            _same(path, header["config"], dict(config))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise InputError(f"There is no training state {path} to resume.", _FIX) from None
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"Cannot read the training state {path} ({error}).", _FIX) from None
    return State(header["step"], header["config"], tensors, header["scalars"])


def _same(path: Path, made_by: dict[str, Any], config: dict[str, Any]) -> None:
    config = json.loads(json.dumps(config))
    differ = [key for key in sorted({*made_by, *config}) if made_by.get(key) != config.get(key)]
    if differ:
        shown = ", ".join(f"{key} = {made_by.get(key)!r} (now {config.get(key)!r})" for key in differ[:4])
        raise InputError(f"The state {path} was made with {shown}{', ...' if len(differ) > 4 else ''}.", _FIX)


def pack_optimiser(name: str, optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state -> tensors by `name.<parameter>.<key>`, and the rest as plain values."""
    plain = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for index, values in plain["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{name}.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    return tensors, {"state": scalars, "groups": plain["param_groups"]}


def unpack_optimiser(
    name: str, optimiser: Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    """The inverse of pack_optimiser, into an optimiser over the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    for full, value in tensors.items():
        if full.startswith(f"{name}."):
            index, key = full[len(name) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[key] = value
    for full, value in scalars["state"].items():
        index, key = full.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    groups = [_tuples(group, now) for group, now in zip(scalars["groups"], optimiser.param_groups, strict=True)]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _tuples(group: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples (Adam's betas)."""
    return {key: tuple(v) if isinstance(now.get(key), tuple) else v for key, v in group.items()}


def plain_tensors(prefix: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names with a prefix."""
    return {f"{prefix}.{name}": value for name, value in values.items()}


def taken(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of plain_tensors."""
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
