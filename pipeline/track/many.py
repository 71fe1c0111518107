"""Identity of several people over time, by norfair (BSD-3): a Kalman filter for every keypoint, so that people who
cross or are hidden for a moment are found again where they were going, and the nearest pairs first.

norfair counts frames; people leave and return in seconds, so what has been unseen for too long is taken out here. It
needs scipy, which is why the path for one person (`continuity`) does without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import MissingDependencyError
from posepipe.types import Pose2D

MAX_GAP_SECONDS = 0.5
MAX_MISS = 1.0  # in sizes of the person (RMS radius of the keypoints), between where it was expected and where it is
_SEEN = 0.05  # confidence
_STEP_SECONDS = 1 / 30  # of the Kalman filter: longer steps are made of several, so that an uneven rate does no harm
_LONGEST = 1000.0  # the filter's noise is in pixels of a picture whose longer side has this many
_FOREVER = 1 << 30


class ManyTracker:
    """Gives people ids that last: 0, 1, 2 ... in the order of appearance, independent of the order of detection.

    longer_side: of the image, pixels. Somebody unseen for up to half a second keeps the id, later is somebody new.
    Raises MissingDependencyError without norfair."""

    def __init__(self, longer_side: int) -> None:
        norfair = import_norfair()
        self._make = norfair.Detection
        tracker: Any = norfair.Tracker(
            "euclidean", MAX_MISS, hit_counter_max=_FOREVER, initialization_delay=0, past_detections_length=0
        )
        tracker.distance_function = _Misses()
        self._tracker = tracker
        self._scale = _LONGEST / longer_side
        self._seen: dict[int, float] = {}
        self._now: float | None = None

    def assign(self, poses: Sequence[Pose2D], pts: float) -> tuple[int, ...]:
        """The ids of the poses of one frame, in their order. pts: seconds, of the source; a clock that stands still or
        goes back counts as one step."""
        people = [self._detection(p) for p in poses]
        self._advance(pts)
        # A period this long lets norfair forget nobody on its own account: _advance does, by the clock.
        found = self._tracker.update(people, period=_FOREVER)
        owner = {id(o.last_detection): o.id - 1 for o in found}
        ids = tuple(owner[id(p)] for p in people)
        self._seen.update(dict.fromkeys(ids, pts))
        return ids

    def _advance(self, pts: float) -> None:
        """Forget who was unseen for too long, and move the others on by all steps but the one that update() makes."""
        step = pts - self._now if self._now is not None else 0.0
        self._now = pts
        if not 0 <= step <= MAX_GAP_SECONDS:  # the clock jumped: nobody's last time means anything
            alive: list[Any] = [] if step > MAX_GAP_SECONDS else list(self._tracker.tracked_objects)
            self._seen = {o.id - 1: pts for o in alive}
        else:
            alive = [o for o in self._tracker.tracked_objects if pts - self._seen[o.id - 1] <= MAX_GAP_SECONDS]
            self._seen = {o.id - 1: self._seen[o.id - 1] for o in alive}
        self._tracker.tracked_objects = alive
        for _ in range(round(min(max(step, 0.0), MAX_GAP_SECONDS) / _STEP_SECONDS) - 1):
            self._tracker.update(None)

    def _detection(self, pose: Pose2D) -> Any:
        seen = np.isfinite(pose.keypoints).all(-1) & (np.nan_to_num(pose.confidence) > _SEEN)
        points = np.where(seen[:, None], pose.keypoints.astype(np.float64) * self._scale, 0.0)
        return self._make(points, scores=seen.astype(float))


def import_norfair() -> Any:
    """The library, or MissingDependencyError with the command that installs it."""
    try:
        import norfair
    except ImportError as error:
        raise MissingDependencyError(
            f"Following several people needs norfair ({error}).", "Install it: pip install 'posepipe[people]'."
        ) from None
    return norfair


class _Misses:
    """norfair's distance: the median over the joints that are seen now and were seen before, in sizes of the person."""

    def get_distances(self, objects: Sequence[Any], candidates: Sequence[Any] | None) -> NDArray[np.float64]:
        people = candidates or ()
        table = np.full((len(people), len(objects)), math.inf)
        for row, person in enumerate(people):
            for column, known in enumerate(objects):
                both = (person.scores > 0) & known.detected_at_least_once_points
                if both.any():
                    here = person.points[both]
                    size = np.sqrt(((here - here.mean(0)) ** 2).sum(-1).mean())
                    miss = np.linalg.norm(here - known.estimate[both], axis=-1)
                    table[row, column] = np.median(miss) / max(size, 1.0)
        return table
