"""Weights of HRNet from files that others published: MMPose's (1.x and 0.x) and the authors' (`pose_hrnet_w32_*.pth`).

Needs torch. Pickles are read by torch's restricted reader, with numpy's arrays admitted, which MMPose's files carry in
their notes; nothing else that a file names is called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posepipe.errors import CheckpointError
from posepipe.lifters.torch_file import load_weights_only
from posepipe.trt_build.detector.hrnet.net import HrNet

# What a file may put before the names: MMPose's backbone and head, DataParallel's module.
_PREFIXES = ("module.", "backbone.", "keypoint_head.", "head.")


def load_weights(file: Path, network: Mapping[str, Any], name: str) -> HrNet:
    """An HRNet with the weights of a file, ready to run.

    Raises CheckpointError for a file that is missing, not a checkpoint, or of another network, naming what differs."""
    net = HrNet(**network)
    given = {_plain(key): value for key, value in _read(Path(file)).items() if isinstance(value, torch.Tensor)}
    wanted = net.state_dict()
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    other = [key for key in wanted if key in given and given[key].shape != wanted[key].shape]
    if missing or other:
        what = f"{missing[0]} is missing" if missing else _sizes(other[0], given, wanted)
        raise CheckpointError(
            f"{file} does not hold the weights of {name}: {what} ({len(missing) + len(other)} of {len(wanted)}).",
            "Give the file of the same network, as MMPose or the authors publish it.",
        )
    net.load_state_dict({key: given[key].float() if key in given else wanted[key] for key in wanted})
    return net.eval()


def random_weights(network: Mapping[str, Any], seed: int = 0) -> HrNet:
    """An HRNet that was not trained, for measuring speed and comparing implementations."""
    net = HrNet(**network)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in seeded(net, seed).items()})
    return net.eval()


def seeded(net: nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Random values for every entry of a network's state, the same for every implementation of it: drawn in the order
    of names. Convolutions with half of what He et al. 2015 take, since shortcuts add up; norms near the identity."""
    state = net.state_dict()
    values: dict[str, np.ndarray] = {}
    for key in sorted(state):
        shape = tuple(state[key].shape)
        random = np.random.Generator(np.random.Philox(key=[seed, len(values)]))
        if key.endswith("num_batches_tracked"):
            values[key] = np.zeros(shape, np.int64)
        elif len(shape) == 4:
            values[key] = (random.standard_normal(shape) * math.sqrt(0.5 / math.prod(shape[1:]))).astype(np.float32)
        elif key.endswith(("running_var", "weight")):
            values[key] = random.uniform(0.8, 1.2, shape).astype(np.float32)
        else:
            values[key] = random.normal(0, 0.1, shape).astype(np.float32)
    return values


def _plain(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _sizes(key: str, given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    return f"{key} has the size {tuple(given[key].shape)}, not {tuple(wanted[key].shape)}"


def _read(file: Path) -> Mapping[str, Any]:
    """The tensors of a file by name."""
    fix = "Give a .pth file as MMPose or the authors of HRNet publish it, or a .safetensors file with the same names."
    if not file.is_file():
        raise CheckpointError(f"There are no weights at {file}.", fix)
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(str(file))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is not a safetensors file ({error}).", fix) from None
    try:
        with torch.serialization.safe_globals(_numpys()):
            data = load_weights_only(file)
    except Exception as error:  # noqa: BLE001 - torch meets damaged files with all kinds of errors
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), str(error).split("\n")[0])
        raise CheckpointError(f"{file} cannot be read as a checkpoint ({reason.strip()}).", fix) from None
    for _ in range(3):  # a damaged file may hold itself
        if isinstance(data, Mapping) and isinstance(data.get("state_dict"), Mapping):
            data = data["state_dict"]
    if not isinstance(data, Mapping):
        raise CheckpointError(f"{file} holds no table of weights.", fix)
    return data


def _numpys() -> list[Any]:
    """What numpy's own arrays and numbers need, under the names of numpy 1 and 2."""
    array = np.array([1.0])
    rebuild: Any = array.__reduce__()[0]
    scalar: Any = np.float64(1).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "u1", "?", "O")}
    named = [(thing, f"{module}.{thing.__name__}") for thing in (rebuild, scalar)
             for module in ("numpy.core.multiarray", "numpy._core.multiarray")]  # fmt: skip
    return [np.ndarray, np.dtype, *kinds, *named]
