"""What one frame leaves in the result file, and what its header says; the same for files and for live recordings."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import NDArray

from posepipe import __version__
from posepipe.camera import Intrinsics
from posepipe.conversion import Conversion
from posepipe.pipeline.people import smooths_keypoints
from posepipe.pipeline.runner import FrameResult
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import STATUS_CORRUPT, STATUS_NO_PERSON, STATUS_OK, H5Writer, HeaderValue
from posepipe.skeleton import H36M_17
from posepipe.trt_build.runners.protocol import Runner
from posepipe.types import Track


def header(
    source: str,
    source_sha256: str,
    fps: float,
    settings: RunSettings,
    lifter: str,
    camera: Intrinsics,
    runner: Runner,
    hypotheses: int,
    conversion: Conversion,
    lift_smoothed: bool = False,
) -> dict[str, HeaderValue]:
    """The attributes of a result file. source: its name for people, source_sha256: of its bytes, "" for a camera.

    lift_smoothed: the keypoints were smoothed before they were lifted."""
    smoothed = smoothed_columns(settings)
    return {
        "posepipe_version": __version__,
        "source": source,
        "source_sha256": source_sha256,
        "width": camera.width,
        "height": camera.height,
        "fps": float(fps),
        "skeleton": H36M_17.name,
        "joint_names": H36M_17.joints,
        "detector": settings.detector_name,
        "conversion": conversion.name,
        "lifter": lifter,
        "checkpoint_sha256": runner.checkpoint_sha256,
        "backend": runner.backend,
        "hypotheses": hypotheses,
        "steps": runner.contract.steps or 0,
        "seed": settings.seed,
        "camera": camera.to_json(),
        "aggregate": settings.aggregate,
        "noise_refresh": float(settings.noise_refresh),
        "lifted_from": "keypoints_2d_smoothed" if lift_smoothed and smooths_keypoints(settings) else "keypoints_2d",
        **({"smoothed": smoothed} if smoothed else {}),
        **({"detector_weights": Path(settings.detector_weights).name} if settings.detector_weights else {}),
        **({"keypoints": settings.keypoints.name} if settings.keypoints else {}),
        **({"keypoints_clip": settings.clip} if settings.clip else {}),
        **({"person_height": settings.height} if settings.height is not None else {}),
    }


def smoothed_columns(settings: RunSettings) -> tuple[str, ...]:
    """Which of OPTIONAL_COLUMNS a run writes."""
    if not settings.smooth:
        return ()
    return (*(("keypoints_2d_smoothed",) if smooths_keypoints(settings) else ()), "pose_smoothed", "root_smoothed")


def write_result(recording: H5Writer, result: FrameResult) -> int:
    """Write one frame and its people; returns how many people."""
    people = [t for t in result.tracks if t.pose3d is not None and t.hypotheses is not None]
    status = STATUS_CORRUPT if result.frame.corrupt else STATUS_OK if people else STATUS_NO_PERSON
    index = recording.frame(result.frame.pts, status)
    for track in people:
        assert track.pose3d is not None
        assert track.hypotheses is not None
        recording.row(
            track.id,
            index,
            track.pose2d.keypoints,
            track.pose2d.confidence,
            track.hypotheses.joints,
            track.hypotheses.log_weights,
            track.pose3d.joints,
            track.pose3d.joint_std,
            track.pose3d.root,
            _smoothed(track),
        )
    return len(people)


def _smoothed(track: Track) -> dict[str, NDArray]:
    found: dict[str, NDArray] = {}
    if track.smoothed2d is not None:
        found["keypoints_2d_smoothed"] = track.smoothed2d.keypoints
    if track.smoothed3d is not None:
        found |= {"pose_smoothed": track.smoothed3d.joints, "root_smoothed": track.smoothed3d.root}
    return found
