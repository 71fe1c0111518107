"""Smoothing of people over time, by identity: keypoints before or beside lifting, the aggregate and the place after it.

Nothing raw is replaced: the smoothed values stand beside it in the track. State goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.smooth.one_euro import FilterState, OneEuro, one_euro
from posepipe.types import Pose2D, Pose3D, Track

# Chosen on the rendered actor (docs/design.md, "Time"): the knee where jitter no longer pays for lag.
KEYPOINTS = OneEuro(min_cutoff=2.0, beta=4.0)  # speed in sizes of the person (RMS radius) a second
POSE = OneEuro(min_cutoff=1.5, beta=4.0)  # metres a second
BEARING = OneEuro(min_cutoff=1.5, beta=4.0)  # metres a second across the line of sight
DISTANCE = OneEuro(min_cutoff=0.5, beta=1.0)  # metres a second along it, where one camera is far less sure

_Filters = Mapping[int, FilterState]


@dataclass(frozen=True)
class SmoothState:
    """What the filters remember of each person (by track id)."""

    keypoints: _Filters = field(default_factory=dict)
    poses: _Filters = field(default_factory=dict)
    bearings: _Filters = field(default_factory=dict)
    distances: _Filters = field(default_factory=dict)


def smooth_keypoints(
    state: SmoothState, tracks: Sequence[Track], seconds: float
) -> tuple[SmoothState, tuple[Track, ...]]:
    """Tracks with smoothed2d. Keypoints with confidence 0 are left as they are and forgotten."""
    filters, result = _alive(state.keypoints, seconds, KEYPOINTS), []
    for track in tracks:
        pose = track.pose2d
        points = np.where((pose.confidence > 0)[:, None], pose.keypoints, np.nan)
        filters[track.id] = now = one_euro(filters.get(track.id), points, seconds, KEYPOINTS, _size(points))
        kept = np.where(np.isfinite(now.value), now.value, pose.keypoints).astype(np.float32)
        result.append(replace(track, smoothed2d=Pose2D(kept, pose.confidence, pose.skeleton, pose.world)))
    return replace(state, keypoints=filters), tuple(result)


def smooth_poses(state: SmoothState, tracks: Sequence[Track], seconds: float) -> tuple[SmoothState, tuple[Track, ...]]:
    """Tracks with smoothed3d, where they have a pose3d.

    The place is filtered as what was seen: direction (x / z, y / z) and the logarithm of z, each with its own
    cut-off, because a person's distance is some ten times less certain than the direction."""
    poses, bearings, distances = (
        _alive(f, seconds, how)
        for f, how in ((state.poses, POSE), (state.bearings, BEARING), (state.distances, DISTANCE))
    )
    result = []
    for track in tracks:
        if track.pose3d is None:
            result.append(track)
            continue
        root = track.pose3d.root.astype(np.float64)
        metre = 1.0 / root[2] if np.isfinite(root).all() else 1.0  # one metre at the person, in directions
        poses[track.id] = pose = one_euro(poses.get(track.id), track.pose3d.joints, seconds, POSE)
        bearing = one_euro(bearings.get(track.id), root[:2] / root[2], seconds, BEARING, metre)
        distance = one_euro(distances.get(track.id), np.log(root[2:]), seconds, DISTANCE, metre)
        bearings[track.id], distances[track.id] = bearing, distance
        place = np.exp(distance.value) * np.append(bearing.value, 1.0)
        smoothed = Pose3D(pose.value.astype(np.float32), track.pose3d.joint_std, place.astype(np.float32))
        result.append(replace(track, smoothed3d=smoothed))
    return SmoothState(state.keypoints, poses, bearings, distances), tuple(result)


def _alive(filters: _Filters, seconds: float, how: OneEuro) -> dict[int, FilterState]:
    """Without people who were not seen for so long that their past says nothing; they would pile up in a long run."""
    return {i: f for i, f in filters.items() if seconds - f.seconds <= how.max_gap}


def _size(points: NDArray) -> float:
    """RMS radius of the points that are known, pixels; 1 where there are none."""
    known = points[np.isfinite(points).all(-1)]
    return max(float(np.sqrt(((known - known.mean(0)) ** 2).sum(-1).mean())), 1.0) if len(known) else 1.0
