"""Li & Lee 2019's TensorFlow checkpoints (https://github.com/chaneyddtt/Generating-Multiple-Hypotheses-for-3D-Human-
Pose-Estimation-with-Mixture-Density-Network)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posepipe.lifters.authors import Imported, axis, translate
from posepipe.lifters.mdn.sampler import MdnSampler
from posepipe.training.import_checkpoint.martinez_tf import trunk_rename, trunk_size
from posepipe.training.import_checkpoint.statistics import Statistics, apply
from posepipe.training.import_checkpoint.tf_state import read_variables

# Stacked-hourglass (MPII) joints in the authors' order. They call MPII's thorax "Spine" and its upper neck "Thorax",
# so the places of H36M's spine and thorax hold our thorax and neck.
HOURGLASS_JOINTS = (*range(7), *range(8, 17))


def import_mdn(file: Path, statistics: Statistics | None = None) -> Imported:
    """A published checkpoint -> network arguments and state of MdnSampler. Raises CheckpointError."""
    variables = read_variables(file)
    network: dict[str, Any] = {
        "use_confidence": False,
        "joints": list(HOURGLASS_JOINTS),
        "mode": "means",
        "kernels": axis(variables, "linear_model/w6", 0, "MDN (TensorFlow)"),
        **trunk_size(variables, "MDN"),
    }
    sampler = MdnSampler(**network)
    apply(statistics, sampler.input, sampler.output)
    heads = {
        f"net.{ours}.{entry}": f"linear_model/{letter}{number}"
        for ours, number in (("mu", 4), ("sigma", 5), ("alpha", 6))
        for entry, letter in (("weight", "w"), ("bias", "b"))
    }
    state, unexpected = translate(variables, sampler, trunk_rename(heads), "MDN (TensorFlow)")
    return Imported(network, state, unexpected)
