"""Tracked people in, people with hypotheses, aggregate, uncertainty and place out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from posepipe.camera import Intrinsics
from posepipe.lifters.space import from_person, to_person, to_screen, visible
from posepipe.noise import NoiseKey
from posepipe.pipeline.aggregate import BY_REPROJECTION, aggregate, reprojection_misses
from posepipe.pipeline.refine.root import fit_root
from posepipe.trt_build.runners.protocol import Runner
from posepipe.types import Hypotheses, Pose3D, Track

MIN_VISIBLE = 4  # fewer keypoints than this say nothing about a pose


def liftable(track: Track) -> bool:
    """Enough of the person is seen to say anything about the pose."""
    return bool(visible(track.pose2d.keypoints, track.pose2d.confidence).sum() >= MIN_VISIBLE)


def lift(
    runner: Runner,
    tracks: Sequence[Track],
    camera: Intrinsics,
    key: Callable[[int], NoiseKey],
    hypotheses: int,
    how: str = "median",
) -> tuple[Track, ...]:
    """Sample all people of one frame in one batch. People of whom too little is seen pass through without a pose.

    key: the noise key of a track id. how: one of AGGREGATES. Keypoints that were smoothed before (smoothed2d) are the
    ones that are lifted."""
    people = [t for t in tracks if liftable(t)]
    if not people:
        return tuple(tracks)
    seen = [t.smoothed2d or t.pose2d for t in people]
    keypoints = np.stack([p.keypoints for p in seen])
    confidence = np.stack([p.confidence for p in seen])
    keys = [key(t.id) for t in people]
    if runner.contract.space == "person":
        view = to_person(keypoints, confidence, camera)
        joints, log_weights = runner.sample(view.keypoints, view.confidence, keys, hypotheses)
        joints = from_person(joints, view.rotation)
    else:
        screen = to_screen(keypoints, camera.width, camera.height)
        joints, log_weights = runner.sample(screen, confidence, keys, hypotheses)
    lifted = {}
    for i, track in enumerate(people):
        result = Hypotheses(joints[i], log_weights[i])
        misses = reprojection_misses(result, seen[i], camera) if how in BY_REPROJECTION else None
        pose, std = aggregate(result, runner.contract.residual_std, how, misses)
        root = fit_root(pose, seen[i].keypoints, seen[i].confidence, camera)
        lifted[track.id] = replace(track, hypotheses=result, pose3d=Pose3D(pose, std, root))
    return tuple(lifted.get(t.id, t) for t in tracks)
