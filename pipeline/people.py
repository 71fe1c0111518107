"""From the poses of one frame to its people: identity, conversion, lifting, smoothing. The file and the live path both
call this, so that a recording and a film of the same scene give the same people.

What has to be remembered between frames goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from posepipe.camera import Intrinsics
from posepipe.conversion import Conversion
from posepipe.noise import NoiseKey, held_key
from posepipe.pipeline.lift import lift
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.smooth.people import SmoothState, smooth_keypoints, smooth_poses
from posepipe.pipeline.track.continuity import TrackState, assign
from posepipe.pipeline.track.many import ManyTracker, import_norfair
from posepipe.trt_build.runners.protocol import Runner
from posepipe.types import Frame, Pose2D, Track

# MediaPipe filters its landmarks itself, with the real times; a second filter would only add lag.
SMOOTH_BY_THEMSELVES = ("blazepose",)


@dataclass(frozen=True)
class Lifting:
    """How people are lifted, the same for every frame. source: the identity of the input in the noise keys.

    hypotheses: how many poses to draw for each person. aggregate: one of AGGREGATES. noise_refresh: seconds, see
    `held_key`; 0 draws anew for every frame. smooth: give smoothed poses beside the raw ones. smooth_keypoints: the
    same for keypoints. lift_smoothed: then lift the smoothed ones. several: the detector may find
    more than one person."""

    runner: Runner
    conversion: Conversion
    camera: Intrinsics
    source: str
    seed: int
    hypotheses: int
    aggregate: str = "median"
    noise_refresh: float = 4.0
    smooth: bool = True
    smooth_keypoints: bool = False
    lift_smoothed: bool = False
    several: bool = False

    def key(self, frame: Frame, track: int) -> NoiseKey:
        """The noise of a person in a frame."""
        if self.noise_refresh > 0:
            return held_key(self.seed, self.source, frame.pts, track, self.noise_refresh)
        return NoiseKey(self.seed, self.source, frame.index, track)


def lifting_of(
    settings: RunSettings,
    runner: Runner,
    conversion: Conversion,
    camera: Intrinsics,
    source: str,
    hypotheses: int,
    lift_smoothed: bool = False,
) -> Lifting:
    """What a run's settings say about lifting.

    lift_smoothed: for the live path. Accuracy is the same either way (docs/design.md, "Time"); the fan is calmer, which
    an eye wants, but a file's rows could no longer be made again from their own raw keypoints. Raises
    MissingDependencyError where the detector finds several people and norfair is missing."""
    several = settings.several
    if several and settings.keypoints is None:
        import_norfair()
    return Lifting(
        runner,
        conversion,
        camera,
        source,
        settings.seed,
        hypotheses,
        settings.aggregate,
        settings.noise_refresh,
        settings.smooth,
        smooths_keypoints(settings),
        lift_smoothed,
        several,
    )


def smooths_keypoints(settings: RunSettings) -> bool:
    """Whether keypoints are smoothed here: not where the detector does it."""
    return settings.smooth and settings.detector not in SMOOTH_BY_THEMSELVES


@dataclass(frozen=True)
class PeopleState:
    """Everything that is remembered from frame to frame. tracks: None before the first frame; a ManyTracker where there
    may be several people, which changes in place, so that a state that holds one can be used once."""

    tracks: TrackState | ManyTracker | None = None
    smooth: SmoothState = field(default_factory=SmoothState)


def people_in(
    state: PeopleState, frame: Frame, poses: Sequence[Pose2D], how: Lifting
) -> tuple[PeopleState, tuple[Track, ...]]:
    """The people of a frame, with identity, hypotheses, aggregate and smoothed poses, and the state for the next frame.

    poses: what the detector found, in its own layout."""
    identity = state.tracks
    told = [p.person for p in poses if p.person is not None]
    if poses and len(told) == len(poses):  # a file that says who is who
        return _lifted(state, identity, told, frame, poses, how)
    if identity is None:
        identity = ManyTracker(max(how.camera.width, how.camera.height)) if how.several else TrackState()
    if isinstance(identity, ManyTracker):
        ids = identity.assign(poses, frame.pts)
    else:
        identity, ids = assign(identity, poses, frame.pts)
    return _lifted(state, identity, ids, frame, poses, how)


def _lifted(
    state: PeopleState,
    identity: TrackState | ManyTracker | None,
    ids: Sequence[int],
    frame: Frame,
    poses: Sequence[Pose2D],
    how: Lifting,
) -> tuple[PeopleState, tuple[Track, ...]]:
    tracks = tuple(Track(id=i, pose2d=how.conversion.pose(p), detected=p) for i, p in zip(ids, poses, strict=True))
    smooth = state.smooth
    if how.smooth_keypoints and how.lift_smoothed:
        smooth, tracks = smooth_keypoints(smooth, tracks, frame.pts)
    tracks = lift(how.runner, tracks, how.camera, lambda track: how.key(frame, track), how.hypotheses, how.aggregate)
    if how.smooth_keypoints and not how.lift_smoothed:
        smooth, tracks = smooth_keypoints(smooth, tracks, frame.pts)
    if how.smooth:
        smooth, tracks = smooth_poses(smooth, tracks, frame.pts)
    return PeopleState(identity, smooth), tracks
