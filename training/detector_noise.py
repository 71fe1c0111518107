"""2D noise as the detector really makes it: whole rows of (error, confidence) measured on the rendered actor, where the
exact pixels of every joint are known, replayed on mocap poses seen from a similar side.

Rows keep what independent Gaussian noise loses: joints that are wrong together, left-right swaps, low confidence where
the error is large. Measured by `python benchmarks/measure_detector.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.safe_npz import read_arrays
from posepipe.skeleton import H36M_17

TABLE = Path(__file__).parent / "data" / "blazepose_actor_noise.npz"


@dataclass(frozen=True)
class NoiseTable:
    """error: (N, 17, 2) keypoint errors in person sizes (RMS radius of the exact keypoints). confidence: (N, 17).
    yaw: (N,) radians, sorted: the side from which the person was seen, see `yaw_of`."""

    error: NDArray[np.float32]
    confidence: NDArray[np.float32]
    yaw: NDArray[np.float32]


def yaw_of(joints: NDArray) -> NDArray:
    """(..., 17, 3) joints in the camera frame -> (...) radians: 0 facing the camera, pi seen from behind.

    The direction from the right to the left hip and shoulder; facing the camera it points along +x."""
    left, right = [4, 11], [1, 14]
    across = (joints[..., left, :] - joints[..., right, :]).sum(-2)
    return np.arctan2(across[..., 2], across[..., 0])


def make_table(error: NDArray, confidence: NDArray, yaw: NDArray) -> NoiseTable:
    """Sort rows by yaw and add every row's mirror image (left and right exchanged, x and yaw negated)."""
    mirror = list(H36M_17.mirror)
    error = np.concatenate([error, error[:, mirror] * np.array([-1.0, 1.0])])
    confidence = np.concatenate([confidence, confidence[:, mirror]])
    yaw = np.concatenate([yaw, -yaw])
    order = np.argsort(yaw, kind="stable")
    return NoiseTable(
        error[order].astype(np.float32), confidence[order].astype(np.float32), yaw[order].astype(np.float32)
    )


def load_table(path: Path = TABLE) -> NoiseTable:
    """Read a measured table; InputError when it is missing or has another layout."""
    hint = "Make it with `python benchmarks/measure_detector.py`."
    data = read_arrays(path, hint)
    rows = len(data["yaw"]) if data.get("yaw", np.empty(())).ndim else 0
    shapes = {"error": (rows, len(H36M_17), 2), "confidence": (rows, len(H36M_17)), "yaw": (rows,)}
    for name, shape in shapes.items():
        if name not in data or data[name].shape != shape or data[name].dtype.kind != "f" or not rows:
            raise InputError(f"{path} is no table of detector noise: '{name}' is missing or of another shape.", hint)
        if not np.isfinite(data[name]).all():
            raise InputError(f"{path}: '{name}' is not finite.", hint)
    return make_table(data["error"].astype(np.float32), data["confidence"].astype(np.float32), data["yaw"])


def apply(
    points: NDArray[np.float32],
    yaw: NDArray,
    table: NoiseTable,
    rng: np.random.Generator,
    strength: NDArray[np.float32],
    drop: float = 0.03,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Exact 2D (N,17,2) on any plane -> noisy 2D and confidences (N,17).

    strength: (N,) factor on the measured error; 0 gives exact points with confidence 1. drop: the chance that a joint
    of a noisy person is not seen at all (confidence 0)."""
    count = len(points)
    near = np.searchsorted(table.yaw, yaw + rng.normal(0, 0.15, count).astype(np.float32))
    spread = max(len(table.yaw) // 72, 1)  # rows within about +-5 degrees
    row = (near + rng.integers(-spread, spread + 1, count)) % len(table.yaw)
    size = np.sqrt(((points - points.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))
    noisy = points + table.error[row] * (size * strength)[:, None, None]
    confidence = np.where(strength[:, None] > 0, table.confidence[row], 1.0).astype(np.float32)
    dropped = (rng.random((count, 17)) < drop) & (strength[:, None] > 0)
    return noisy.astype(np.float32), np.where(dropped, 0.0, confidence).astype(np.float32)
