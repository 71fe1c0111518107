"""The scheduler of a batch as a discrete-event simulation: many workers, one driver, one storage.

Videos are given out in order (`posepipe batch`: the largest first), one per worker. While it works, a worker advances
at full speed or, when all active workers together want more than the storage gives, all are slowed down alike
(processor sharing). When one ends, the driver appends its line to the manifest (one fsync) before it gives the worker
the next; it does one thing at a time.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Worker:
    """What was measured of one worker. frames_per_s: while it works. start: seconds before its first video.
    per_video: seconds of each video besides its frames. cores: that it has."""

    frames_per_s: float
    start: float
    per_video: float
    cores: float


@dataclass(frozen=True)
class Cluster:
    """storage: bytes/s that all workers share. bytes_per_frame: read and written. driver: seconds per video."""

    workers: int
    storage: float
    bytes_per_frame: float
    driver: float


@dataclass(frozen=True)
class Outcome:
    """seconds: from the start to the last line of the manifest. busy: share of the workers' time spent on videos."""

    seconds: float
    busy: float


def simulate(frames: Sequence[float] | NDArray, worker: Worker, cluster: Cluster) -> Outcome:
    """frames: of each video, in the order in which they are given out."""
    demand = worker.frames_per_s * cluster.bytes_per_frame
    enough = cluster.storage / demand if demand else float("inf")  # so many workers can be fed at full speed
    todo = deque((np.asarray(frames, float) / worker.frames_per_s + worker.per_video).tolist())
    total = sum(todo)
    # Work is measured in "virtual" seconds, which pass at the speed that all active workers have.
    ends: list[float] = []
    virtual = now = driver_free = 0.0
    grants = deque([worker.start] * min(cluster.workers, len(todo)))
    while ends or grants:
        speed = 1.0 if len(ends) <= enough else enough / len(ends)
        done_at = now + (ends[0] - virtual) / speed if ends else float("inf")
        if grants and grants[0] <= done_at:
            then = grants.popleft()
            virtual += (then - now) * speed if ends else 0.0
            now = then
            if todo:
                heapq.heappush(ends, virtual + todo.popleft())
        else:
            virtual, now = heapq.heappop(ends), done_at
            driver_free = max(driver_free, now) + cluster.driver
            grants.append(driver_free)
    return Outcome(now, total / (now * cluster.workers))


def limits(frames: NDArray, worker: Worker, cluster: Cluster) -> dict[str, float]:
    """Seconds that no number of workers gets below, by what sets them; and the work itself, evenly spread."""
    work = frames / worker.frames_per_s + worker.per_video
    return {
        "work": worker.start + float(work.sum()) / cluster.workers,
        "longest video": worker.start + float(work.max()),
        "storage": worker.start + float(frames.sum()) * cluster.bytes_per_frame / cluster.storage,
        "manifest": worker.start + len(frames) * cluster.driver,
    }


def video_frames(hours: float, fps: float, mean_minutes: float, longest_minutes: float, seed: int = 0) -> NDArray:
    """Frames of videos that last `hours` together: log-normal lengths (sigma 1), none above longest_minutes,
    the longest first."""
    count = max(1, round(hours * 60 / mean_minutes))
    lengths = np.random.default_rng(seed).lognormal(0.0, 1.0, count)
    lengths = np.minimum(lengths * mean_minutes / lengths.mean(), longest_minutes)
    return np.sort(lengths * (hours * 60 / lengths.sum()) * 60 * fps)[::-1]
