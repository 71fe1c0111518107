"""Identity over time by nearness of keypoints: enough for one person; several are matched best pair first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posepipe.types import Pose2D

MAX_GAP_SECONDS = 0.5
MAX_MOVE = 1.0  # in person sizes (RMS radius of the keypoints)


@dataclass(frozen=True)
class Known:
    """One identity: where it was last seen. points: (J, 2) px."""

    id: int
    pts: float
    points: NDArray


@dataclass(frozen=True)
class TrackState:
    """Everything that identity needs between frames; passed in and returned, never kept inside."""

    known: tuple[Known, ...] = ()
    next_id: int = 0


def assign(state: TrackState, poses: Sequence[Pose2D], pts: float) -> tuple[TrackState, tuple[int, ...]]:
    """Give each pose an id: that of the nearest identity seen within MAX_GAP_SECONDS and MAX_MOVE, or a new one."""
    alive = [k for k in state.known if pts - k.pts <= MAX_GAP_SECONDS]
    pairs = sorted(
        (_distance(k.points, p.keypoints), row, column) for row, k in enumerate(alive) for column, p in enumerate(poses)
    )
    ids: dict[int, int] = {}
    taken: set[int] = set()
    for distance, row, column in pairs:
        if distance <= MAX_MOVE and row not in taken and column not in ids:
            ids[column] = alive[row].id
            taken.add(row)
    next_id = state.next_id
    for column in range(len(poses)):
        if column not in ids:
            ids[column] = next_id
            next_id += 1
    seen = tuple(Known(ids[c], pts, p.keypoints) for c, p in enumerate(poses))
    kept = tuple(k for row, k in enumerate(alive) if row not in taken)
    return replace(state, known=kept + seen, next_id=next_id), tuple(ids[c] for c in range(len(poses)))


def _distance(a: NDArray, b: NDArray) -> float:
    """Median move of the joints that both have, in units of a's RMS radius; inf when they share none."""
    both = np.isfinite(a).all(-1) & np.isfinite(b).all(-1)
    if not both.any():
        return float("inf")
    a, b = a[both], b[both]
    size = np.sqrt(((a - a.mean(0)) ** 2).sum(-1).mean())
    return float(np.median(np.linalg.norm(a - b, axis=-1)) / max(size, 1.0))
