"""How tall the estimated skeletons are, and the factor that makes them as tall as the person is said to be.

One camera cannot tell a small person near from a tall one far: lifters answer with an average adult. A known height
settles it, for the pose and, by the same factor, for the distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import UsageError
from posepipe.skeleton import H36M_17

_TORSO = (("hip", "spine"), ("spine", "thorax"), ("thorax", "neck"), ("neck", "head"))
_LEGS = (("hip", "knee"), ("knee", "ankle"))
# A standing adult's height over the length of legs and spine between our joints: what ankle to sole and the last joint
# of the head to the crown add. From the mean skeleton of the CMU subjects, whose joints the shipped weights know.
ADULT = 1.72  # metres: their mean
_STATURE = ADULT / 1.569
_CHAIN = sorted(
    {H36M_17.index(name) for pair in _TORSO for name in pair}
    | {H36M_17.index(f"{side}_{joint}") for side in "lr" for joint in ("hip", "knee", "ankle")}
)
_SEEN = 0.5  # confidence
_FEWEST = 5


def check_height(height: float | None) -> None:
    """UsageError for a height that is no person's, metres."""
    if height is not None and not 0.4 <= height <= 2.6:
        raise UsageError(f"A height of {height:g} m is no person's.", "Give --height in metres, as in --height 1.75.")


def stature(pose: NDArray) -> NDArray[np.float64]:
    """(..., 17, 3) metres -> (...) metres: how tall these skeletons would stand, whatever they do."""
    torso = sum(_length(pose, a, b) for a, b in _TORSO)
    legs = sum(_length(pose, f"{side}_{a}", f"{side}_{b}") for side in "lr" for a, b in _LEGS)
    return np.asarray(_STATURE * (torso + legs / 2))


def seen_whole(confidence: NDArray) -> NDArray[np.bool_]:
    """(..., 17) -> (...): whether legs and spine are seen, so that `stature` measures rather than guesses."""
    return np.asarray((np.nan_to_num(confidence)[..., _CHAIN] >= _SEEN).all(-1))


def typical(tall: NDArray, whole: NDArray) -> float:
    """Median of statures (N,) metres, of the frames that show the whole person (N,), if there are at least five, else
    of all; NaN where there are none."""
    known = np.isfinite(tall)
    use = whole & known if (whole & known).sum() >= _FEWEST else known
    return float(np.median(tall[use])) if use.any() else float("nan")


def factor_to(height: float, tall: NDArray, whole: NDArray) -> float:
    """What lengths are multiplied with to make `typical` the given height, metres; 1 where nothing can be measured."""
    middle = typical(tall, whole)
    return height / middle if middle > 0.1 else 1.0


def _length(pose: NDArray, start: str, end: str) -> NDArray[np.float64]:
    bone = np.asarray(pose, np.float64)[..., H36M_17.index(start), :] - pose[..., H36M_17.index(end), :]
    return np.linalg.norm(bone, axis=-1)
