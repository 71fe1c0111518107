"""Checkpoints: safetensors with a JSON header that says everything needed to use the weights. Never pickle.

The header (safetensors metadata, key "posepipe") is a `Checkpoint`. Reading it needs neither torch nor the tensors.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posepipe.errors import CheckpointError

FORMAT_VERSION = 1
_MOST = 100_000  # of any number in a header; what goes beyond would only fill the memory
_WIDEST, _MOST_LAYERS = 8192, 100  # of a network


@dataclass(frozen=True)
class Checkpoint:
    """The contract of a set of weights.

    lifter: name of the system. network: constructor arguments of its network. space: input space (`person`|`screen`).
    conversion: name of the keypoint conversion it was trained for. noise_shape: shape of the noise per hypothesis.
    hypotheses: the default H. fixed_hypotheses: the only H that it can give, or None. steps: diffusion steps, or None.
    residual_std: (17) metres, the RMS error per joint on validation data: the uncertainty of a lifter that gives one
    hypothesis. provenance: what made it (command, data, seed, metrics).
    """

    lifter: str
    network: dict[str, Any]
    space: str
    conversion: str
    noise_shape: tuple[int, ...]
    hypotheses: int
    fixed_hypotheses: int | None = None
    steps: int | None = None
    skeleton: str = "h36m17"
    residual_std: tuple[float, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def parse(text: str, where: str) -> Checkpoint:
    """JSON header -> Checkpoint; raises CheckpointError that names what is wrong."""
    fix = "Use a file written by `posepipe train` or `posepipe import-checkpoint`."
    try:
        data = json.loads(text)
        known = {f.name for f in dataclasses.fields(Checkpoint)}
        if not isinstance(data, dict) or not set(data) <= known:
            raise ValueError(f"unknown entries {sorted(set(data) - known) if isinstance(data, dict) else data!r}")
        if data.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"format version {data.get('format_version')}, this posepipe reads {FORMAT_VERSION}")
        for name in ("noise_shape", "residual_std"):
            data[name] = tuple(data.get(name, ()))
        header = Checkpoint(**data)
        _check_types(header)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"The header of {where} cannot be used ({error}).", fix) from None
    return header


def _check_types(header: Checkpoint) -> None:
    """ValueError for an entry of another kind: everything that uses a header counts on these."""
    whole = {"noise_shape": header.noise_shape, "hypotheses": (header.hypotheses,)}
    whole |= {n: (v,) for n in ("fixed_hypotheses", "steps") if (v := getattr(header, n)) is not None}
    for name, numbers in whole.items():
        if not all(type(number) is int and 0 < number <= _MOST for number in numbers):
            raise ValueError(f"{name} is not made of whole numbers from 1 to {_MOST}")
    _check_sizes(header.network)
    if not all(type(std) in (int, float) and 0 <= std < float("inf") for std in header.residual_std):
        raise ValueError("residual_std is not made of metres")
    for name in ("network", "provenance"):
        if not isinstance(getattr(header, name), dict):
            raise ValueError(f"{name} is not a mapping")
    for name in ("lifter", "space", "conversion", "skeleton"):
        if not isinstance(getattr(header, name), str):
            raise ValueError(f"{name} is not a text")


def _check_sizes(network: object, name: str = "network") -> None:
    """ValueError for a number in the network's arguments that no network has: it would be built before anybody sees
    that the weights do not fit."""
    if isinstance(network, dict):
        for key, value in network.items():
            _check_sizes(value, str(key))
    elif isinstance(network, list):
        for value in network:
            _check_sizes(value, name)
    elif type(network) is int:
        most = _MOST_LAYERS if name in ("blocks", "layers") else _WIDEST
        if not 0 <= network <= most:
            raise ValueError(f"{name} is {network}, not 0 to {most}")


def read_header(path: Path) -> Checkpoint:
    """Read the header of a safetensors checkpoint. Raises CheckpointError for anything that is not one of ours."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"Cannot read the checkpoint {path} ({error}).", "Check the path, or make it anew with `posepipe train`."
        ) from None
    if "posepipe" not in metadata:
        raise CheckpointError(
            f"{path} holds tensors but no posepipe header.", "Convert it with `posepipe import-checkpoint`."
        )
    return parse(metadata["posepipe"], str(path))
