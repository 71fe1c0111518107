"""People by the bucket: engines and captured graphs take 1, 2, 4 or 8 people, no other number.

Fewer are padded with copies of one of them, which changes nothing for the others since a sampler treats everybody
alone; more are split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import EngineError
from posepipe.noise import NoiseKey

Result = tuple[NDArray[np.float32], NDArray[np.float32]]


class Bucket(Protocol):
    """Ready for exactly so many people and hypotheses."""

    def run(self, keypoints: NDArray[np.float32], confidence: NDArray[np.float32], keys: Sequence[NoiseKey]) -> Result:
        """(people,17,2), (people,17), as many keys -> (people,H,17,3), (people,H). The results may lie in buffers that
        the next call overwrites. Raises EngineError for arrays of any other shape."""
        ...


def bucket_of(people: int, buckets: Iterable[int]) -> int:
    """The smallest bucket that holds all people, or the largest that there is."""
    available = sorted(buckets)
    return next((b for b in available if b >= people), available[-1])


def up_to(people: int, buckets: Iterable[int]) -> list[int]:
    """The buckets that are needed to lift any number from 1 to `people`."""
    available = sorted(buckets)
    return [b for b in available if b <= bucket_of(people, available)]


def split(people: int, buckets: Iterable[int]) -> list[tuple[int, int, int]]:
    """(first, one past the last, bucket) of every launch: full ones of the largest bucket, the rest in the smallest
    that holds it."""
    available, parts, first = sorted(buckets), [], 0
    while first < people:
        bucket = bucket_of(people - first, available)
        last = min(first + bucket, people)
        parts.append((first, last, bucket))
        first = last
    return parts


def in_buckets(
    ready: Mapping[int, Mapping[int, Bucket]],
    keypoints: NDArray[np.float32],
    confidence: NDArray[np.float32],
    keys: Sequence[NoiseKey],
    hypotheses: int,
) -> Result:
    """Everybody through the buckets that are ready, by H and people. Raises EngineError for an H that is not: a
    captured graph has one shape, and capturing another takes seconds that nobody asked for."""
    if hypotheses not in ready:
        has = ", ".join(str(h) for h in sorted(ready)) or "nothing yet"
        raise EngineError(f"The backend is ready for H = {has}, not {hypotheses}.", "Call warm_up with it first.")
    buckets, poses, weights = ready[hypotheses], [], []
    for first, last, size in split(len(keys), buckets):
        rows = [*range(first, last), *[first] * (size - (last - first))]
        pose, weight = buckets[size].run(keypoints[rows], confidence[rows], [keys[row] for row in rows])
        poses.append(pose[: last - first].copy())
        weights.append(weight[: last - first].copy())
    return np.concatenate(poses), np.concatenate(weights)


def check_bucket(keypoints: NDArray[np.float32], confidence: NDArray[np.float32], keys: int, people: int) -> None:
    """EngineError unless the arrays are of exactly the captured shape."""
    wanted = ((people, 17, 2), (people, 17), people)
    if (keypoints.shape, confidence.shape, keys) != wanted:
        got = f"{keypoints.shape}, {confidence.shape} and {keys} keys"
        raise EngineError(f"This launch was recorded for {people} people, not for arrays of {got}.")
