"""RRD, the file of Rerun's viewer: keypoints, the people in 3D with their fans, and their uncertainty as plots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posepipe.camera import Intrinsics, from_fov
from posepipe.errors import MissingDependencyError
from posepipe.pipeline.export.choose import PoseChoice, chosen
from posepipe.pipeline.render.legend import Caption
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.sink.h5 import Recording
from posepipe.pipeline.view.protocol import Status, ViewFrame
from posepipe.types import Frame, Hypotheses, Pose2D, Pose3D, Track

_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """Everybody in one file, as `posepipe run --save` shows them, without the picture, which a result file has not.

    On the timelines `frame` and `video`. Raises MissingDependencyError without Rerun's library, OutputError when the
    file cannot be written."""
    try:
        import rerun as rr

        from posepipe.pipeline.view.rerun_log import FrameLog
        from posepipe.pipeline.view.rrd_file import RrdFile
    except ImportError as error:
        raise MissingDependencyError(
            f"rrd needs a library that is missing ({error}).", "Run: pip install 'posepipe[rerun]'"
        ) from None
    with atomic_path(path) as temporary:
        file = RrdFile(f"posepipe - {recording.header.get('source', path.stem)}", temporary)
        log = FrameLog(file.stream)
        for frame in view_frames(recording, pose):
            log.add(frame)
            for track in frame.tracks:
                assert track.pose3d is not None
                known = track.pose3d.joint_std[np.isfinite(track.pose3d.joint_std)]
                if len(known):
                    file.stream.log(f"times/uncertainty_mm/{track.id}", rr.Scalars([1000 * float(known.mean())]))
            file.step()
        file.close()


def view_frames(recording: Recording, pose: PoseChoice) -> Iterator[ViewFrame]:
    """The recording frame by frame, as a live run hands it to viewers; the picture is empty."""
    camera = camera_of(recording)
    caption = Caption(float(str(recording.header.get("fps", 0))), "", 0, "", "")
    poses = {number: chosen(track, pose).astype(np.float32) for number, track in recording.tracks.items()}
    rows = {
        number: dict(zip(t.frame.tolist(), range(len(t.frame)), strict=True)) for number, t in recording.tracks.items()
    }
    times = np.where(np.isfinite(recording.pts), recording.pts, 0)
    for index, pts in enumerate(times.tolist()):
        tracks = []
        for number, record in recording.tracks.items():
            row = rows[number].get(index)
            if row is None:
                continue
            seen = Pose2D(record.keypoints_2d[row], record.keypoint_confidence[row], "h36m17")
            fan = Hypotheses(record.hypotheses[row].astype(np.float32), record.log_weights[row])
            body = Pose3D(poses[number][row], record.joint_std[row], record.root[row])
            tracks.append(Track(number, seen, seen, fan, body))
        status = Status(np.nan, np.nan, index + 1, 0)
        yield ViewFrame(Frame(index, pts, _NO_PICTURE), tuple(tracks), caption, ViewSettings(), camera, status)


def camera_of(recording: Recording) -> Intrinsics:
    """What the file says; where that is not whole, the assumed camera over the picture's size."""
    try:
        said = json.loads(str(recording.header["camera"]))
        return Intrinsics(**{**said, "distortion": tuple(said.get("distortion", ()))})
    except (AttributeError, KeyError, TypeError, ValueError):
        width, height = (max(1, int(float(str(recording.header.get(name, 1))))) for name in ("width", "height"))
        return from_fov(width, height)
