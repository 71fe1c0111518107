"""TensorFlow variables as the state dicts that lifters.authors translates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posepipe.training.import_checkpoint.tf_bundle import open_bundle

# What only training needs: Adam's moments and powers, counters and rates.
_TRAINING = ("/Adam", "/Adam_1")
_COUNTERS = ("beta1_power", "beta2_power", "learning_rate", "global_step")


def _weight(name: str) -> bool:
    return not name.endswith(_TRAINING) and not name.startswith(_COUNTERS)


def read_variables(file: Path) -> dict[str, Tensor]:
    """The weights of a V2 checkpoint; matrices transposed to torch's (out, in). Raises CheckpointError."""
    values = open_bundle(file).read(_weight)
    return {
        name: torch.from_numpy(np.array(value.T if value.ndim == 2 else value, order="C"))
        for name, value in values.items()
    }


def indices(names: dict[str, Tensor], pattern: Callable[[int], str]) -> int:
    """How many consecutive numbers from 0 give a name that is there."""
    count = 0
    while pattern(count) in names:
        count += 1
    return count
