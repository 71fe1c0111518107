"""The accuracy gate: the same people and the same noise through two ways of calculating, compared in metres.

fp32 engines may differ from ONNX Runtime by 0.1 mm at most, fp16 ones by 1 mm in 99 of 100 joints. Noise is counter
based, so the reference needs only the first hypotheses of what an engine draws: they are the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.lifters.checkpoint import Checkpoint
from posepipe.noise import NoiseKey, normal
from posepipe.trt_build.engine.poses import PEOPLE, people

Array = NDArray[np.float32]
Run = Callable[[Array, Array, Array], tuple[Array, Array]]  # keypoints, confidence, noise -> hypotheses, log_weights

FP32_MAX = 1e-4  # metres
FP16_P99 = 1e-3
FP32_WEIGHT, FP16_WEIGHT = 1e-3, 2e-2  # of a hypothesis' probability
_NO_PERSON = 3.0  # metres from the hip: weights that came without statistics give standardised numbers
_STEPS = 10  # hypotheses times diffusion steps that the reference calculates per person: what a CPU bears


@dataclass(frozen=True)
class Reference:
    """What one way of calculating (ONNX Runtime with the float32 graph) gives for the gate's people.

    hypotheses (people, h, 17, 3) and log_weights (people, h), the latter normalised over these h."""

    contract: Checkpoint
    keypoints: Array
    confidence: Array
    hypotheses: Array
    log_weights: Array

    @property
    def count(self) -> int:
        return int(self.hypotheses.shape[1])


@dataclass(frozen=True)
class Difference:
    """Distances of joints between two results: largest, 99th percentile and median, in metres (or, where poses are
    larger than people because the weights come without statistics, as a share of the largest coordinate).
    weight: the largest difference of a hypothesis' probability, 99th percentile with fp16."""

    maximum: float
    p99: float
    median: float
    weight: float
    weight_p99: float
    poses: int
    hypotheses: int

    def passes(self, precision: str) -> bool:
        if precision == "fp32":
            return self.maximum <= FP32_MAX and self.weight <= FP32_WEIGHT
        return self.p99 <= FP16_P99 and self.weight_p99 <= FP16_WEIGHT

    def line(self, precision: str) -> str:
        """`max 0.012 mm, p99 0.003 mm on 1,000 poses (limit: max 0.1 mm)`"""
        limit = "max 0.1 mm" if precision == "fp32" else "p99 1 mm"
        return (
            f"max {self.maximum * 1e3:.3g} mm, p99 {self.p99 * 1e3:.3g} mm on {self.poses:,} poses x {self.hypotheses} "
            f"(limit: {limit})"
        )

    def as_dict(self) -> dict[str, float]:
        return {
            "max_m": self.maximum,
            "p99_m": self.p99,
            "median_m": self.median,
            "weight_max": self.weight,
            "weight_p99": self.weight_p99,
            "poses": self.poses,
            "hypotheses": self.hypotheses,
        }


def reference(
    contract: Checkpoint, run: Run, poses: int = PEOPLE, batch: int = 50, hypotheses: int | None = None
) -> Reference:
    """Run the gate's people once. hypotheses: what the engine draws; needed where a calibration spreads hypotheses
    about the mean of all that are drawn, since then the first of few are not the first of many."""
    keypoints, confidence = people(contract.space, poses)
    count = contract.fixed_hypotheses or min(contract.hypotheses, max(1, _STEPS // (contract.steps or 1)))
    if hypotheses is not None and contract.network.get("calibrated"):
        count = hypotheses
    results = [
        run(
            keypoints[i : i + batch],
            confidence[i : i + batch],
            noise_of(contract, range(i, min(i + batch, poses)), count),
        )
        for i in range(0, poses, batch)
    ]
    drawn, log_weights = (np.concatenate(part) for part in zip(*results, strict=True))
    return Reference(contract, keypoints, confidence, drawn, _normalised(log_weights))


def noise_of(contract: Checkpoint, numbers: range, hypotheses: int) -> Array:
    """(len(numbers), hypotheses, *noise_shape): the noise of these people of the gate."""
    shape = (hypotheses, *contract.noise_shape)
    return np.stack([normal(NoiseKey(0, "gate", number, 0), shape) for number in numbers])


def compare(expected: Reference, run: Run, persons: int, hypotheses: int) -> Difference:
    """Run the same people through something that takes `persons` at a time and draws `hypotheses` of each; of these
    the first are compared."""
    poses, h = len(expected.keypoints), min(expected.count, hypotheses)
    distances, weights = [], []
    wanted_weights = np.exp(_normalised(expected.log_weights[:, :h]))
    for start in range(0, poses, persons):
        numbers = range(start, min(start + persons, poses))
        rows = [*numbers, *[numbers[-1]] * (persons - len(numbers))]  # the last launch is filled up
        noise = noise_of(expected.contract, numbers, hypotheses)[[row - start for row in rows]]
        got, log_weights = run(expected.keypoints[rows], expected.confidence[rows], noise)
        used = slice(start, numbers.stop)
        joints = got[: len(numbers), :h] - expected.hypotheses[used, :h]
        distances.append(np.linalg.norm(joints.astype(np.float64), axis=-1).ravel())
        chances = np.exp(_normalised(log_weights[: len(numbers), :h]))
        weights.append(np.abs(chances - wanted_weights[used]).ravel())
    largest = float(np.abs(expected.hypotheses).max())
    scale = largest if largest > _NO_PERSON else 1.0
    distance, weight = np.concatenate(distances) / scale, np.concatenate(weights)
    if not (np.isfinite(distance).all() and np.isfinite(weight).all()):
        return Difference(math.inf, math.inf, math.inf, math.inf, math.inf, poses, h)
    return Difference(
        float(distance.max()),
        float(np.percentile(distance, 99)),
        float(np.median(distance)),
        float(weight.max()),
        float(np.percentile(weight, 99)),
        poses,
        h,
    )


def _normalised(log_weights: Array) -> Array:
    top = log_weights.max(axis=1, keepdims=True)
    return log_weights - top - np.log(np.exp(log_weights - top).sum(axis=1, keepdims=True))
