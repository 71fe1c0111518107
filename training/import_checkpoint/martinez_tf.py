"""Martinez et al. 2017's TensorFlow checkpoints (https://github.com/una-dinosauria/3d-pose-baseline)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from posepipe.lifters.authors import Imported, Rename, axis, translate
from posepipe.lifters.martinez.sampler import MartinezSampler
from posepipe.training.import_checkpoint.statistics import Statistics, apply
from posepipe.training.import_checkpoint.tf_state import indices, read_variables

# The authors' 16 input joints: H36M-17 without neck/nose.
GROUND_TRUTH_JOINTS = (*range(9), *range(10, 17))


def import_martinez(file: Path, statistics: Statistics | None = None) -> Imported:
    """A published checkpoint -> network arguments and state of MartinezSampler. Raises CheckpointError."""
    variables = read_variables(file)
    network: dict[str, Any] = {
        "use_confidence": False,
        "joints": list(GROUND_TRUTH_JOINTS),
        **trunk_size(variables, "Martinez"),
    }
    sampler = MartinezSampler(**network)
    apply(statistics, sampler.input, sampler.output)
    head = {"net.head.weight": "linear_model/w4", "net.head.bias": "linear_model/b4"}
    state, unexpected = translate(variables, sampler, trunk_rename(head), "Martinez (TensorFlow)")
    return Imported(network, state, unexpected)


def trunk_size(variables: dict[str, Tensor], system: str) -> dict[str, int]:
    """Width and number of residual blocks, from the names and shapes in the file."""
    return {
        "width": axis(variables, "linear_model/w1", 0, f"{system} (TensorFlow)"),
        "blocks": indices(variables, lambda i: f"linear_model/two_linear_{i}/w2_{i}"),
    }


def trunk_rename(heads: dict[str, str]) -> Rename:
    """Our names -> the authors' names; `heads` for the output layers. Statistics are not in these files."""
    norm = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

    def rename(name: str) -> tuple[str, ...]:
        if name in heads:
            return (heads[name],)
        if not name.startswith("net.trunk."):
            return ()
        parts = name.split(".")
        layer, entry = parts[-2], parts[-1]
        if parts[2] == "stem":
            scope, number, suffix = "linear_model", "1", ""
        else:
            block, half = parts[3], int(parts[4])
            scope, number, suffix = f"linear_model/two_linear_{block}", f"{half + 2}_{block}", f"{half + 1}{block}"
        if layer == "linear":
            return (f"{scope}/{'w' if entry == 'weight' else 'b'}{number}",)
        return (f"{scope}/batch_normalization{suffix}/{norm.get(entry, entry)}",)

    return rename
