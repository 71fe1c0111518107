"""From the poses of one frame to its people: identity, conversion, lifting. The file and the live path both call this.

A pure step: what has to be remembered between frames goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posepipe.camera import Intrinsics
from posepipe.conversion import Conversion
from posepipe.pipeline.lift import lift
from posepipe.pipeline.track.continuity import TrackState, assign
from posepipe.trt_build.runners.protocol import Runner
from posepipe.types import Frame, Pose2D, Track


@dataclass(frozen=True)
class Lifting:
    """How people are lifted, the same for every frame. source: the identity of the input in the noise keys.

    hypotheses: how many poses to draw for each person."""

    runner: Runner
    conversion: Conversion
    camera: Intrinsics
    source: str
    seed: int
    hypotheses: int


def people_in(
    state: TrackState, frame: Frame, poses: Sequence[Pose2D], how: Lifting
) -> tuple[TrackState, tuple[Track, ...]]:
    """The people of a frame, with identity, hypotheses and aggregate, and the state for the next frame.

    poses: what the detector found, in its own layout."""
    state, ids = assign(state, poses, frame.pts)
    tracks = tuple(Track(id=i, pose2d=how.conversion.pose(p), detected=p) for i, p in zip(ids, poses, strict=True))
    return state, lift(how.runner, tracks, how.camera, frame.index, how.source, how.seed, how.hypotheses)
