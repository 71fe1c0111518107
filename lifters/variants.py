"""Other ways of using the same weights: what a checkpoint's header may say differently after training, and what
follows from it. A variant is a mapping of header fields; one under "network" is merged into the header's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from posepipe.errors import CheckpointError, UsageError
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.skeleton import H36M_17

MAX_HYPOTHESES = 10_000
MAX_STEPS = 50  # the loop is unrolled: every step is another copy of the denoiser in the graph
DEFAULT_HYPOTHESES = 20
MDN_NOISE = 49  # one number to choose the kernel, 48 to move around its mean


def noise_shape(lifter: str, network: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of the noise per hypothesis that a sampler with these arguments takes; for a lifter that is not named here
    the argument `noise`, or one number."""
    if lifter == "mdn":
        return (MDN_NOISE,)
    if lifter == "wsgan":
        return (network.get("latent") or network.get("width", 1024),)
    if lifter == "prpose":
        return (2 if network.get("faithful", False) else 1, 17, 2)
    if lifter == "drpose":
        steps = network.get("steps", 5)
        adds_noise = network.get("scheduler", "ddim") == "ddim" and network.get("eta", 1.0) > 0
        return (steps if adds_noise else 1, 17, 3)
    return tuple(network.get("noise", ()))


def fixed_hypotheses(lifter: str, network: Mapping[str, Any]) -> int | None:
    """The only number of hypotheses that a sampler with these arguments gives, or None."""
    if lifter in ("martinez", "htnet", "dcgct"):
        return 1
    if lifter == "mdn" and network.get("mode") == "means":
        return int(network.get("kernels", 5))
    if lifter == "wsgan" and network.get("mode") == "zero":
        return 1
    return None


def check(header: Checkpoint, where: str) -> None:
    """Raises CheckpointError if the header contradicts itself or is for another skeleton."""
    remake = "Make it anew with `posepipe train` or `posepipe import-checkpoint`."
    if header.skeleton != H36M_17.name:
        raise CheckpointError(f"{where} is for the skeleton '{header.skeleton}', not '{H36M_17.name}'.", remake)
    expected = noise_shape(header.lifter, header.network)
    if header.noise_shape != expected:
        raise CheckpointError(f"{where} says noise {header.noise_shape}, but its network takes {expected}.", remake)
    fixed = fixed_hypotheses(header.lifter, header.network)
    if header.fixed_hypotheses != fixed or header.hypotheses < 1 or fixed not in (None, header.hypotheses):
        raise CheckpointError(
            f"{where} says {header.hypotheses} hypotheses ({header.fixed_hypotheses or 'any number'} possible), its "
            f"network gives {fixed or 'any number'}.",
            remake,
        )


def vary(header: Checkpoint, variant: Mapping[str, Any] | None) -> Checkpoint:
    """The header with the variant's fields; noise shape, steps and a fixed H follow from the network."""
    if not variant:
        return header
    network = {**header.network, **variant.get("network", {})}
    fixed = fixed_hypotheses(header.lifter, network)
    default = DEFAULT_HYPOTHESES if header.fixed_hypotheses and not fixed else header.hypotheses
    derived: dict[str, Any] = {
        "network": network,
        "noise_shape": noise_shape(header.lifter, network),
        "fixed_hypotheses": fixed,
        "hypotheses": fixed or variant.get("hypotheses", default),
    }
    if header.lifter == "drpose":
        derived["steps"] = network.get("steps", 5)
    return dataclasses.replace(header, **{**variant, **derived})


def asked_for(
    header: Checkpoint,
    *,
    steps: int | None = None,
    scheduler: str | None = None,
    faithful: bool | None = None,
    hypotheses: int | None = None,
) -> dict[str, Any]:
    """The variant for what a person asks for; None leaves a setting as it is. hypotheses is the default number.

    Raises UsageError if the lifter has no such setting or the value is impossible."""
    name = header.lifter
    network: dict[str, Any] = {}
    if steps is not None:
        if name != "drpose":
            raise UsageError(f"'{name}' has no diffusion steps.", "Leave out --steps; only drpose has them.")
        if not 1 <= steps <= MAX_STEPS:
            raise UsageError(f"{steps} diffusion steps are not possible.", f"Give 1 to {MAX_STEPS}.")
        network["steps"] = steps
    if scheduler is not None:
        if name != "drpose":
            raise UsageError(f"'{name}' has no scheduler.", "Leave out --scheduler; only drpose has one.")
        network["scheduler"] = scheduler
    if faithful is not None:
        if name not in ("drpose", "prpose"):
            raise UsageError(
                f"'{name}' departs in nothing that could be switched.", "Leave out --faithful and --no-faithful."
            )
        network["faithful"] = faithful
    variant: dict[str, Any] = {"network": network} if network else {}
    if hypotheses is not None:
        fixed = fixed_hypotheses(name, header.network)
        if fixed is not None and hypotheses != fixed:
            raise UsageError(f"'{name}' always gives {fixed} (not {hypotheses}) hypotheses.", "Leave out --hypotheses.")
        if not 1 <= hypotheses <= MAX_HYPOTHESES:
            raise UsageError(f"{hypotheses} hypotheses are not possible.", f"Give 1 to {MAX_HYPOTHESES}.")
        variant["hypotheses"] = hypotheses
    return variant


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two variants in one; the second wins."""
    result = {**first, **second}
    network = {**first.get("network", {}), **second.get("network", {})}
    return {**result, "network": network} if network else result
