"""What a lifter is judged on: frames of a motion file seen by virtual cameras; the same ones every time.

The validation split gives exactly the frames, cameras and noise of `recipes.supply.validation_batches` (a test holds
that), but needs no torch, takes any subjects, and keeps what an evaluation needs besides: place, camera and action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, UsageError
from posepipe.lifters.space import SPACES, person_from_rays
from posepipe.training.data.batches import stack_frames
from posepipe.training.data.motion import Clip, load_motion
from posepipe.training.detector_noise import apply, load_table, yaw_of
from posepipe.training.virtual_camera import DEFAULT_CAMERAS, CameraRanges, sample_views

Floats = NDArray[np.float32]
NOISES = ("none", "detector")


@dataclass(frozen=True)
class Views:
    """N people, each as a camera sees them.

    keypoints (N,17,2) and confidence (N,17): what the lifter is given. joints (N,17,3): metres, hip-relative, in the
    frame that the lifter answers in. rotation (N,3,3): camera frame to that frame. root (N,3): the hip in the camera
    frame, metres. points (N,17,2): the keypoints on the plane z = 1, NaN where unseen. action: (N,) text.
    """

    keypoints: Floats
    confidence: Floats
    joints: Floats
    rotation: Floats
    root: Floats
    points: Floats
    action: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.joints)

    def __getitem__(self, rows: slice) -> Views:
        return Views(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def choose_clips(data: Path, subjects: Sequence[str] = ()) -> list[Clip]:
    """The validation split, or all clips of these subjects; InputError that lists the subjects there are."""
    if not subjects:
        return load_motion(data, "validation")
    clips = load_motion(data)
    known = sorted({clip.subject for clip in clips})
    missing = [subject for subject in subjects if subject not in known]
    if missing:
        raise InputError(f"{data} has no subject {', '.join(missing)}.", f"It has {', '.join(known)}.")
    return [clip for clip in clips if clip.subject in subjects]


def draw_views(
    clips: Sequence[Clip],
    count: int,
    noise: str = "none",
    space: str = "person",
    seed: int = 12345,
    cameras: CameraRanges = DEFAULT_CAMERAS,
) -> Views:
    """count frames of the clips, as recorded, each seen by a camera of its own."""
    if count < 1:
        raise UsageError(f"{count} frames are too few to evaluate on.", "Give --frames 1 or more.")
    rng = np.random.default_rng(seed)
    frames = stack_frames(clips)
    chances = np.cumsum(np.ones(len(frames)))
    chances /= chances[-1]
    rows = np.minimum(np.searchsorted(chances, rng.random(count), side="right"), len(frames) - 1)
    seen = sample_views(frames[rows], rng, cameras)
    actions = np.repeat([clip.action for clip in clips], [len(clip.joints) for clip in clips])[rows]
    return as_seen(seen.joints, seen.rays, seen.half_extent, actions, noise, space, np.random.default_rng(seed + 1))


def as_seen(
    joints: Floats,
    rays: Floats,
    half_extent: Floats,
    action: NDArray[np.str_],
    noise: str,
    space: str,
    rng: np.random.Generator,
) -> Views:
    """joints (N,17,3) metres in the camera frame, rays (N,17,2) their projection on z = 1, half_extent (N,2) of the
    image on that plane -> what a lifter of this input space is given. Raises UsageError for an unknown noise or space.
    """
    if noise not in NOISES or space not in SPACES:
        raise UsageError(f"Unknown noise '{noise}' or input space '{space}'.", f"Known: {NOISES}, {SPACES}.")
    points, confidence = rays, np.ones(rays.shape[:2], np.float32)
    if noise == "detector":
        strength = rng.uniform(0.4, 1.2, len(rays)).astype(np.float32)
        rng.random(len(rays))  # person_batch's draw for the share of exact samples
        points, confidence = apply(rays, yaw_of(joints), load_table(), rng, strength)
    relative = joints - joints[:, :1]
    if space == "person":
        view = person_from_rays(points, confidence)
        keypoints, rotation, trust = view.keypoints, view.rotation, view.confidence
        relative = (relative @ np.swapaxes(rotation, -1, -2)).astype(np.float32)
    else:  # x / w * 2 - 1 of a camera with its principal point in the middle
        keypoints, trust = (points / half_extent[:, None, :1]).astype(np.float32), confidence
        rotation = np.broadcast_to(np.eye(3, dtype=np.float32), (len(joints), 3, 3))
    seen = np.where((confidence > 0)[..., None], points, np.nan).astype(np.float32)
    return Views(keypoints, trust, relative, rotation, joints[:, 0], seen, np.asarray(action))


def film_clips(clips: Sequence[Clip], most: int = 150, space: str = "person", seed: int = 12345) -> list[Views]:
    """The middle frames, at most `most`, of every clip, in order, seen exactly by one camera that stands still: for
    jitter, which single frames do not have."""
    rng, result = np.random.default_rng(seed), []
    for clip in clips:
        start = max(0, (len(clip.joints) - most) // 2)
        joints = clip.joints[start : start + most]
        if len(joints) < 3:
            continue
        middle = len(joints) // 2
        first = sample_views(joints[middle : middle + 1], rng)
        seen = (joints - joints[middle, :1]) @ first.rotation[0].T + first.joints[0, 0]
        seen[..., 2] += max(0.0, 0.3 - float(seen[..., 2].min()))  # step back from who walks into the camera
        rays = seen[..., :2] / seen[..., 2:]
        extent = np.broadcast_to(first.half_extent, (len(seen), 2))
        actions = np.full(len(seen), clip.action)
        result.append(as_seen(seen, rays, extent, actions, "none", space, rng))
    return result
