"""Named, versioned rules from a detector's layout to H36M-17. A checkpoint records the one it was trained for.

A rule is linear: every H36M joint is a weighted sum of the detector's keypoints with weights that add up to 1, and the
rule of a left joint is the mirror image of the right one's. So it commutes with translation, scaling, rotation and
mirroring of the image, and applies to 3D landmarks as well.

Conversions differ: on the same frames MMPose's and MHFormer's COCO rules are 10-11 % of a torso length apart at the
thorax. Mixing them up silently costs centimetres, hence the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import UsageError
from posepipe.skeleton import BLAZEPOSE_33, COCO_17, H36M_17, Skeleton
from posepipe.types import Pose2D


@dataclass(frozen=True)
class Conversion:
    """name: `source-target@version`. rules: for every target joint, the source joints and their weights (sum 1)."""

    name: str
    source: Skeleton
    target: Skeleton
    rules: Mapping[str, Mapping[str, float]]

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """(target joints, source joints) weights; every row adds up to 1."""
        matrix = np.zeros((len(self.target), len(self.source)), np.float32)
        for joint, rule in self.rules.items():
            for source, weight in rule.items():
                matrix[self.target.index(joint), self.source.index(source)] = weight
        return matrix

    @cached_property
    def shares(self) -> NDArray[np.float32]:
        """(target joints, source joints): how much each source counts for a joint's confidence; rows add up to 1."""
        size = np.abs(self.matrix)
        return size / size.sum(1, keepdims=True)

    def points(self, points: NDArray) -> NDArray:
        """(..., J, D) -> (..., 17, D). A joint is NaN when a keypoint that it needs is NaN."""
        finite = np.isfinite(points)
        result = self.matrix @ np.where(finite, points, 0.0)
        spoiled = (self.matrix != 0).astype(np.float32) @ (~finite).astype(np.float32) > 0
        return np.where(spoiled, np.nan, result).astype(points.dtype)

    def pose(self, detected: Pose2D) -> Pose2D:
        """A detection in the source layout -> H36M-17. Confidence of a joint is the mean of its sources' confidences,
        weighted by the size of their weights; 0 where the joint cannot be computed."""
        if detected.skeleton != self.source.name:
            fitting = [c.name for c in CONVERSIONS if c.source.name == detected.skeleton]
            raise UsageError(
                f"Conversion {self.name} reads {self.source.name} keypoints, not {detected.skeleton}.",
                f"For these there is: {', '.join(fitting) or 'none yet'}.",
            )
        points = self.points(detected.keypoints)
        confidence = self.shares @ np.nan_to_num(detected.confidence)
        confidence = np.where(np.isfinite(points).all(-1), confidence, 0.0).astype(np.float32)
        return Pose2D(points, np.clip(confidence, 0.0, 1.0), self.target.name)


def _mirrored(rules: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Add the right-hand rules: l_ and r_ exchanged."""

    def swap(name: str) -> str:
        return {"l_": "r_", "r_": "l_"}.get(name[:2], name[:2]) + name[2:]

    right = {swap(j): {swap(s): w for s, w in rule.items()} for j, rule in rules.items() if j.startswith("l_")}
    return {**rules, **right}


def _identity(names: str) -> dict[str, dict[str, float]]:
    return {name: {name: 1.0} for name in names.split()}


def _middle(a: str, b: str, share: float = 0.5) -> dict[str, float]:
    return {a: share, b: 1.0 - share}


_LIMBS = _identity("l_hip l_knee l_ankle l_shoulder l_elbow l_wrist")
_HIP = _middle("l_hip", "r_hip")
_THORAX = _middle("l_shoulder", "r_shoulder")
_SPINE = {"l_hip": 0.25, "r_hip": 0.25, "l_shoulder": 0.25, "r_shoulder": 0.25}

# The convention of MMPose and MotionBERT (they agree exactly): nose for the neck, middle of the eyes for the head.
COCO17_H36M17 = Conversion(
    "coco17-h36m17@1",
    COCO_17,
    H36M_17,
    _mirrored(
        {
            **_LIMBS,
            "hip": _HIP,
            "spine": _SPINE,
            "thorax": _THORAX,
            "neck": {"nose": 1.0},
            "head": _middle("l_eye", "r_eye"),
        }
    ),
)

# Fitted to the true joints of the rendered actor from its exact COCO keypoints (benchmarks/coco_keypoints.py fit).
COCO17_MEASURED = Conversion(
    "coco17-h36m17@2",
    COCO_17,
    H36M_17,
    _mirrored(
        {
            **_LIMBS,
            "hip": _HIP,
            "spine": {"l_hip": 0.28, "r_hip": 0.28, "l_shoulder": 0.22, "r_shoulder": 0.22},
            "thorax": {"l_shoulder": 0.47, "r_shoulder": 0.47, "l_hip": 0.03, "r_hip": 0.03},
            "neck": {"l_ear": 0.475, "r_ear": 0.475, "nose": -0.23, "l_shoulder": 0.14, "r_shoulder": 0.14},
            "head": {"l_ear": 0.735, "r_ear": 0.735, "nose": -0.27, "l_shoulder": -0.10, "r_shoulder": -0.10},
        }
    ),
)

# Weights fitted on the rendered actor, where the exact pixels of every H36M joint are known, and rounded
# (benchmarks/measure_detector.py fit). They correct what is systematic: BlazePose's hips lie 6 % of a torso length too
# low, the middle of its shoulders 6 % too high for the thorax. Shoulders, elbows and wrists need no correction.
BLAZEPOSE33_H36M17 = Conversion(
    "blazepose33-h36m17@1",
    BLAZEPOSE_33,
    H36M_17,
    _mirrored(
        {
            **_LIMBS,
            "hip": {"l_hip": 0.47, "r_hip": 0.47, "l_shoulder": 0.03, "r_shoulder": 0.03},
            "l_hip": {"l_hip": 0.88, "r_hip": 0.06, "l_shoulder": 0.05, "r_shoulder": 0.01},
            "l_knee": {"l_knee": 1.03, "l_ankle": -0.03},
            "l_ankle": {"l_ankle": 0.81, "l_heel": 0.17, "l_foot_index": 0.02},
            "spine": {"l_hip": 0.265, "r_hip": 0.265, "l_shoulder": 0.235, "r_shoulder": 0.235},
            "thorax": {"l_shoulder": 0.47, "r_shoulder": 0.47, "l_hip": 0.03, "r_hip": 0.03},
            "neck": {
                "l_ear": 0.58,
                "r_ear": 0.58,
                "l_mouth": -0.26,
                "r_mouth": -0.26,
                "l_shoulder": 0.18,
                "r_shoulder": 0.18,
            },
            "head": {
                "l_ear": 0.93,
                "r_ear": 0.93,
                "l_mouth": -0.39,
                "r_mouth": -0.39,
                "l_shoulder": -0.04,
                "r_shoulder": -0.04,
            },
        }
    ),
)

# Keypoints that are H36M-17 already: the published systems' own detections.
H36M17_H36M17 = Conversion("h36m17@1", H36M_17, H36M_17, _identity(" ".join(H36M_17.joints)))

CONVERSIONS = (BLAZEPOSE33_H36M17, COCO17_H36M17, COCO17_MEASURED, H36M17_H36M17)


def conversion(name: str) -> Conversion:
    """Look a conversion up by name; UsageError that lists the known ones."""
    for candidate in CONVERSIONS:
        if candidate.name == name:
            return candidate
    raise UsageError(f"Unknown conversion '{name}'.", f"Known: {', '.join(c.name for c in CONVERSIONS)}.")


# trained for -> what may stand in for it: rules that aim at the same thing, the true joints (measured on the rendered
# actor: docs/detectors.md). coco17-h36m17@1 does not, it calls the nose a neck.
_STAND_INS = {BLAZEPOSE33_H36M17.name: (COCO17_MEASURED, H36M17_H36M17)}


def conversion_between(skeleton: str, trained: str) -> Conversion | None:
    """The conversion of keypoints in the layout `skeleton` for a lifter that was trained for `trained`: that one, if it
    reads this layout, or one that may stand in for it. None where there is neither."""
    candidates = (*(c for c in CONVERSIONS if c.name == trained), *_STAND_INS.get(trained, ()))
    return next((c for c in candidates if c.source.name == skeleton), None)
