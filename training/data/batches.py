"""Endless batches of people seen by virtual cameras, from a motion file: numpy only, so it also feeds torch-free code.

What a detector does to the 2D and how a network wants its input are not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, UsageError
from posepipe.training.augment import DEFAULT_AUGMENT, AugmentRanges, augment, heading, partners_needed, turn
from posepipe.training.data.motion import Clip
from posepipe.training.virtual_camera import DEFAULT_CAMERAS, CameraRanges, sample_views

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """joints_camera: (B, 17, 3) metres, absolute, camera frame. rays2d: (B, 17, 2), their exact projection on z = 1.
    inside: (B, 17) bool, the joint is within the image."""

    joints_camera: Floats
    rays2d: Floats
    inside: NDArray[np.bool_]


def stack_frames(clips: Sequence[Clip]) -> Floats:
    """(F, 17, 3) all frames of the clips in order. Raises InputError for no clips."""
    if not clips:
        raise InputError("There are no clips to draw frames from.", "Check the split and the motion file.")
    return np.concatenate([clip.joints for clip in clips]).astype(np.float32, copy=False)


def frame_weights(frames: Floats, radius: float = 0.08, power: float = 0.5, references: int = 4096) -> Floats:
    """(F,) weights, sum 1, for drawing from frames (F, 17, 3): rare poses more often than common ones; see rarity."""
    step = -(-len(frames) // references)
    weights = rarity(frames, common_heading(frames[::step]), radius, power)
    return weights / weights.sum(dtype=np.float64).astype(np.float32)


def common_heading(frames: Floats) -> Floats:
    """(F, 17, 3) -> (F, 51) hip-centred poses that all face the same way: what `rarity` compares."""
    return np.ascontiguousarray(turn(frames - frames[:, :1], -heading(frames)).reshape(len(frames), -1))


def rarity(frames: Floats, known: Floats, radius: float = 0.08, power: float = 0.5) -> Floats:
    """(F,) weights, at most 1, of frames (F, 17, 3) among known (R, 51), evenly spaced poses of all data by
    common_heading; a frame's weight depends on no other frame, so a file can be weighed piece by piece.

    weight = density^-power, with the density of a pose by a Gaussian kernel over the known ones; radius: its standard
    deviation, metres of root mean square joint distance. power 0: every frame alike; 1: evenly over the space of poses,
    so that a minute of standing still weighs what one frame of it does."""
    known_squared = (known**2).sum(axis=1)
    scale = np.float32(-1 / (2 * frames.shape[1] * radius**2))
    density = np.empty(len(frames), np.float32)
    for start in range(0, len(frames), 2048):
        part = common_heading(frames[start : start + 2048])
        squared = (part**2).sum(axis=1)[:, None] + known_squared - 2 * (part @ known.T)
        density[start : start + 2048] = np.exp(scale * np.maximum(squared, 0)).sum(axis=1)
    # A frame far from all known ones (they are a subset) counts as alone.
    return np.asarray(np.maximum(density, 1.0) ** -power, np.float32)


def seen_people(
    frames: Floats,
    cumulative: NDArray[np.float64],
    batch: int,
    rng: np.random.Generator,
    *,
    augmented: bool = True,
    ranges: AugmentRanges = DEFAULT_AUGMENT,
    cameras: CameraRanges = DEFAULT_CAMERAS,
) -> Batch:
    """Draw batch frames with replacement by their cumulative chances (F,), ending in 1, augment them, and look at each
    with a camera of its own."""
    partners = partners_needed(batch, ranges) if augmented else 0
    rows = np.searchsorted(cumulative, rng.random(batch + partners), side="right")
    drawn = frames[np.minimum(rows, len(frames) - 1)]
    poses = augment(drawn[:batch], drawn[batch:], rng, ranges) if augmented else drawn
    views = sample_views(poses, rng, cameras)
    return Batch(views.joints, views.rays, views.inside)


def batches(
    clips: Sequence[Clip],
    batch: int,
    rng: np.random.Generator,
    *,
    augmented: bool = True,
    ranges: AugmentRanges = DEFAULT_AUGMENT,
    cameras: CameraRanges = DEFAULT_CAMERAS,
    weights: NDArray | None = None,
    steps: int | None = None,
) -> Iterator[Batch]:
    """Draw batch frames with replacement, augment them, and look at each with a camera of its own; steps batches, or
    without end.

    augmented False: poses as recorded (validation). weights: (F,) chances over stack_frames(clips); by default
    frame_weights(), or every frame alike when not augmented. Raises InputError for no clips, UsageError for weights
    that do not fit."""
    frames = stack_frames(clips)
    if weights is None:
        weights = frame_weights(frames) if augmented else np.ones(len(frames))
    chances = np.asarray(weights)
    if chances.shape != (len(frames),) or not np.isfinite(chances).all() or chances.min() < 0 or chances.max() <= 0:
        raise UsageError(f"Weights must be {len(frames)} finite numbers, none negative and not all zero.")
    cumulative = np.cumsum(chances, dtype=np.float64)
    cumulative /= cumulative[-1]
    done = 0
    while steps is None or done < steps:
        yield seen_people(frames, cumulative, batch, rng, augmented=augmented, ranges=ranges, cameras=cameras)
        done += 1
