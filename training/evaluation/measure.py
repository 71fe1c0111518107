"""One lifter on one set of views: every number that the papers report, and those that they leave out.

Lengths are millimetres in the result. Frames are taken in blocks, so that memory depends on neither their number nor,
beyond one block, on the number of hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.lifters.space import from_person
from posepipe.metrics import auc, n_mpjpe, pck
from posepipe.metrics_body import BREACHES, acceleration, bone_asymmetry, bone_error, breaches, velocity_error
from posepipe.metrics_hypotheses import (
    j_agg,
    j_best,
    joint_errors,
    normalised,
    p_best,
    reproject,
    weighted_mean,
)
from posepipe.metrics_uncertainty import crps, distinct, energy_parts, truth_level
from posepipe.point_estimate import geometric_median
from posepipe.skeleton import H36M_17
from posepipe.training.evaluation.views import Views

# keypoints, confidence, number of the first of them -> hypotheses (N,H,17,3), log_weights (N,H)
Sample = Callable[[NDArray, NDArray, int], tuple[NDArray, NDArray]]
LEVELS = (0.5, 0.8, 0.95)
CURVE = tuple(k / 20 for k in range(1, 20))
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
BLOCK_POSES = 20_000  # hypotheses in memory at a time: some 8 MB per array of them


@dataclass(frozen=True)
class Report:
    """frames, hypotheses: how many. errors: millimetres, of what a user gets and of the oracles. shares: of 0..1.
    per_joint: {protocol: {joint: mm}}. per_action: {action: {frames, p1, p2, ...}}. by_count: error against the number
    of hypotheses, {H: {...}}, empty where their order means something else. calibration: {p: coverage}.
    body: {aggregate, hypotheses, truth: {...}}. motion: millimetres a frame, empty where no sequences were given."""

    frames: int
    hypotheses: int
    errors: dict[str, float]
    shares: dict[str, float]
    per_joint: dict[str, dict[str, float]]
    per_action: dict[str, dict[str, float]]
    by_count: dict[str, dict[str, float]] = field(default_factory=dict)
    calibration: dict[str, float] = field(default_factory=dict)
    body: dict[str, dict[str, float]] = field(default_factory=dict)
    motion: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    sample: Sample,
    views: Views,
    hypotheses: int,
    sequences: Sequence[Views] = (),
    *,
    ordered: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Measure a lifter that gives `hypotheses` for each person.

    ordered: they are not drawn alike (kernel means), so that "the first n of them" means nothing."""
    columns: dict[str, list[NDArray]] = {}
    step = max(1, BLOCK_POSES // hypotheses)
    for start in range(0, len(views), step):
        block = views[start : start + step]
        joints, log_weights = sample(block.keypoints, block.confidence, start)
        for name, values in _measure(joints, normalised(log_weights), block, ordered).items():
            columns.setdefault(name, []).append(values)
        progress(start + len(block))
    merged = {name: np.concatenate(parts) for name, parts in columns.items()}
    return _report(merged, hypotheses, views, _motion(sample, sequences))


def _measure(hypotheses: NDArray, weights: NDArray, views: Views, ordered: bool) -> dict[str, NDArray]:
    """Everything about a block, frame by frame; metres."""
    truth = views.joints
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    pose = geometric_median(hypotheses, log_weights)
    joint_p1, joint_p2 = (joint_errors(pose[:, None], truth, aligned)[:, 0] for aligned in (False, True))
    found = {
        "joint_p1": joint_p1,
        "joint_p2": joint_p2,
        "p1": joint_p1.mean(-1),
        "p2": joint_p2.mean(-1),
        "n_mpjpe": n_mpjpe(pose, truth),
        "pck_150": pck(joint_p1),
        "auc": auc(joint_p1),
    }
    for name, joints in (("aggregate", pose), ("truth", truth)):
        found |= _body(name, joints, truth)
    if hypotheses.shape[1] == 1:
        return found
    in_camera = from_person(hypotheses, views.rotation)
    reprojected = reproject(in_camera, views.root)
    counts = [n for n in COUNTS if n < hypotheses.shape[1]] + [hypotheses.shape[1]]
    firsts = {} if ordered else {n: geometric_median(hypotheses[:, :n], log_weights[:, :n]) for n in counts}
    for protocol, aligned in (("p1", False), ("p2", True)):
        errors = joint_errors(hypotheses, truth, aligned)
        whole, jointwise = p_best(errors), j_best(errors)
        found[f"{protocol}_p_best"], found[f"{protocol}_j_best"] = whole[:, -1], jointwise[:, -1]
        found[f"{protocol}_j_agg"] = j_agg(errors, reprojected, views.points)
        mean = weighted_mean(hypotheses, weights)
        found[f"{protocol}_p_agg"] = joint_errors(mean[:, None], truth, aligned)[:, 0].mean(-1)
        found[f"{protocol}_one"] = (weights * errors.mean(-1)).sum(-1)
        for n, first in firsts.items():
            found[f"curve_{n}_{protocol}_agg"] = joint_errors(first[:, None], truth, aligned)[:, 0].mean(-1)
            found[f"curve_{n}_{protocol}_p_best"] = whole[:, n - 1]
            found[f"curve_{n}_{protocol}_j_best"] = jointwise[:, n - 1]
    found |= _body("hypotheses", hypotheses, truth[:, None], weights)
    moving, target = hypotheses[:, :, 1:], truth[:, 1:]  # the hip is 0 by definition
    found["level"] = truth_level(moving, weights, target)
    found["crps"] = crps(np.moveaxis(moving, 1, -1), weights[:, None, None], target).mean(1)
    miss, pairs = energy_parts(np.moveaxis(moving, 1, 2), weights[:, None], target)
    found["energy"] = (miss - pairs / 2).mean(-1)
    found["diversity"] = distinct(pairs, weights[:, None]).mean(-1)
    miss, pairs = energy_parts(moving.reshape(*moving.shape[:2], -1), weights, target.reshape(len(target), -1))
    found["energy_pose"] = miss - pairs / 2
    return found


def _body(name: str, joints: NDArray, truth: NDArray, weights: NDArray | None = None) -> dict[str, NDArray]:
    values = {"asymmetry": bone_asymmetry(joints), "bone_error": bone_error(joints, truth)}
    breached = breaches(joints).astype(np.float64)
    values |= {f"share {what}": breached[..., i] for i, what in enumerate(BREACHES)}
    values["share with any of these"] = breached.max(-1)
    if weights is not None:
        values = {what: (weights * value).sum(-1) for what, value in values.items()}
    return {f"body/{name}/{what}": value for what, value in values.items()}


def _motion(sample: Sample, sequences: Sequence[Views]) -> dict[str, float]:
    """Of the aggregate, in the camera frame; every clip counts by its length."""
    rows, lengths, first = [], [], 0
    for views in sequences:
        hypotheses, log_weights = sample(views.keypoints, views.confidence, first)
        pose = geometric_median(hypotheses, log_weights) @ views.rotation
        truth = views.joints @ views.rotation
        rows.append([velocity_error(pose, truth), acceleration(pose), acceleration(truth)])
        lengths.append(len(views))
        first += len(views)
    if not rows:
        return {}
    values = 1000 * np.average(rows, axis=0, weights=lengths)
    names = ("velocity_error", "acceleration", "acceleration_of_truth")
    return {"frames": float(first)} | {k: round(float(v), 2) for k, v in zip(names, values, strict=True)}


def _report(columns: dict[str, NDArray], count: int, views: Views, motion: dict[str, float]) -> Report:
    errors = {"p1_agg": _mm(columns["p1"]), "p2_agg": _mm(columns["p2"]), "n_mpjpe": _mm(columns["n_mpjpe"])}
    for protocol in ("p1", "p2"):  # frames drawn anew would move the mean by about this much
        errors[f"{protocol}_standard_error"] = _mm(columns[protocol].std() / np.sqrt(len(views)))
    shares = {"pck_150": _share(columns["pck_150"]), "auc": _share(columns["auc"])}
    by_count: dict[str, dict[str, float]] = {}
    calibration: dict[str, float] = {}
    if count > 1:
        for protocol in ("p1", "p2"):
            errors |= {
                f"{protocol}_{k}": _mm(columns[f"{protocol}_{k}"])
                for k in ("p_agg", "one", "p_best", "j_best", "j_agg")
            }
        for axis, name in enumerate("xyz"):
            errors[f"crps_{name}"] = _mm(columns["crps"][:, axis])
        errors |= {k: _mm(columns[k]) for k in ("energy", "energy_pose", "diversity")}
        level = columns["level"]
        shares |= {f"coverage_{round(100 * p)}": _share(level <= p) for p in LEVELS}
        calibration = {f"{p:.2f}": _share(level <= p) for p in CURVE}
        for name in (n for n in columns if n.startswith("curve_")):
            _, n, what = name.split("_", 2)
            by_count.setdefault(n, {})[what] = _mm(columns[name])
    body: dict[str, dict[str, float]] = {}
    for name in (n for n in columns if n.startswith("body/")):
        _, of, what = name.split("/")
        value = columns[name]
        body.setdefault(of, {})[what] = _share(value) if what.startswith("share") else _mm(value)
    per_joint = {
        protocol: dict(
            zip(H36M_17.joints, np.round(1000 * columns[f"joint_{protocol}"].mean(0), 2).tolist(), strict=True)
        )
        for protocol in ("p1", "p2")
    }
    kept = ["p1", "p2"]
    if count > 1:
        kept += [f"{protocol}_{k}" for protocol in ("p1", "p2") for k in ("p_best", "j_best", "j_agg")]
    per_action = {}
    for action in sorted(set(views.action.tolist())):
        rows = views.action == action
        per_action[action] = {"frames": int(rows.sum())} | {k: _mm(columns[k][rows]) for k in kept}
    return Report(len(views), count, errors, shares, per_joint, per_action, by_count, calibration, body, motion)


def _mm(values: NDArray) -> float:
    return round(1000 * float(values.mean(dtype=np.float64)), 2)


def _share(values: NDArray) -> float:
    return round(float(values.mean(dtype=np.float64)), 4)
