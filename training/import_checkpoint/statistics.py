"""The standardisation that Martinez' and the mixture density network's files do not hold.

The authors compute it from Human3.6M's training subjects each time they run. It comes from an npz file with
mean_2d, std_2d (16,2) pixels, mean_3d, std_3d (16,3) millimetres, relative to the hip, and image_size (2,) pixels
(Human3.6M: 1000 x 1002 or 1000 x 1000), joints in the checkpoint's orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from posepipe.errors import CheckpointError, InputError
from posepipe.lifters.codec import InputCodec, OutputCodec
from posepipe.safe_npz import read_arrays

_SHAPES = {"mean_2d": (16, 2), "std_2d": (16, 2), "mean_3d": (16, 3), "std_3d": (16, 3), "image_size": (2,)}
_MM = 1e-3


@dataclass(frozen=True)
class Statistics:
    """mean_2d, std_2d: (16,2) pixels of images of image_size (width, height). mean_3d, std_3d: (16,3) millimetres."""

    mean_2d: NDArray[np.float64]
    std_2d: NDArray[np.float64]
    mean_3d: NDArray[np.float64]
    std_3d: NDArray[np.float64]
    image_size: NDArray[np.float64]


def read_statistics(path: Path) -> Statistics:
    """Read the npz. Raises CheckpointError that names what is missing or misshaped."""
    fix = "It must hold " + ", ".join(f"{name} {shape}" for name, shape in _SHAPES.items()) + "."
    try:
        file = read_arrays(path, fix)
        given = {name: np.asarray(file[name], np.float64) for name in _SHAPES}
    except (InputError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"Cannot use the statistics in {path} ({error}).", fix) from None
    for name, shape in _SHAPES.items():
        if given[name].size != np.prod(shape) or not np.isfinite(given[name]).all():
            raise CheckpointError(f"{name} in {path} is {given[name].shape} or not finite.", fix)
        given[name] = given[name].reshape(shape)
    if min(given["std_2d"].min(), given["std_3d"].min(), given["image_size"].min()) <= 0:
        raise CheckpointError(f"Standard deviations and image size in {path} must be positive.", fix)
    return Statistics(**given)


def apply(statistics: Statistics | None, source: InputCodec, target: OutputCodec) -> None:
    """Write the statistics into the codecs, in screen coordinates (x / w * 2 - 1, y / w * 2 - h / w) and metres.
    None leaves the identity: standardised numbers in and out."""
    if statistics is None:
        return
    half = statistics.image_size[0] / 2.0
    centre = np.array([1.0, statistics.image_size[1] / statistics.image_size[0]])
    source.mean.copy_(torch.from_numpy(statistics.mean_2d / half - centre))
    source.std.copy_(torch.from_numpy(statistics.std_2d / half))
    target.mean.copy_(torch.from_numpy(_MM * statistics.mean_3d.ravel()))
    target.basis.copy_(torch.from_numpy(np.diag(_MM * statistics.std_3d.ravel())))
