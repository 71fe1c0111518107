"""Errors of a lifter on held-out people seen by unseen cameras; the same batches every time."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import NDArray

from posepipe.metrics import best_of, coverage, mpjpe, p_mpjpe
from posepipe.point_estimate import geometric_median
from posepipe.training.person_batches import PersonBatch

Sample = Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]  # keypoints, confidence -> hypotheses, log_weights
LEVELS = (0.5, 0.8, 0.95)


def score(sample: Sample, batch: PersonBatch, best: tuple[int, ...] = ()) -> dict[str, float]:
    """MPJPE and P-MPJPE in millimetres of the aggregate of the hypotheses, of the best of the first n of them (an
    oracle), and the share of joints inside the 50, 80 and 95 % regions."""
    hypotheses, log_weights = sample(batch.keypoints, batch.confidence)
    pose = geometric_median(hypotheses, log_weights)
    result = {"mpjpe": _mm(mpjpe(pose, batch.joints)), "p_mpjpe": _mm(p_mpjpe(pose, batch.joints))}
    for count in best:
        result[f"best_of_{count}"] = _mm(best_of(hypotheses[:, :count], batch.joints))
        result[f"p_best_of_{count}"] = _mm(best_of(hypotheses[:, :count], batch.joints, aligned=True))
    if hypotheses.shape[1] > 1:
        covered = coverage(hypotheses, log_weights, batch.joints, LEVELS)
        result |= {f"coverage_{round(100 * p)}": round(float(c), 4) for p, c in zip(LEVELS, covered, strict=True)}
    return result


def _mm(errors: NDArray) -> float:
    return round(1000 * float(errors.mean()), 2)
