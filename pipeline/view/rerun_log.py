"""A frame in Rerun's terms: picture and keypoints, the people in 3D, and the times of the stages as plots."""

from __future__ import annotations

import cv2
import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray
from rerun.blueprint.archetypes import LineGrid3D

from posepipe.pipeline.render.palette import BACKGROUND_BOTTOM, GRID, TEXT
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.viewpoint import upright
from posepipe.pipeline.view.protocol import ViewFrame
from posepipe.pipeline.view.scene import BONE_COLOURS, POSE_COLOURS, Scene, bones_of, floor_lines, mixed, scene_of

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 80)
_PICTURE = "world/camera/image"
_THICK = 0.011  # metres
_FLOOR = 1.5  # metres of floor to every side


def layout() -> rrb.Blueprint:
    """Picture above plots on the left, the 3D scene on the right.

    Rerun looks at the middle of whatever a 3D view holds, so the camera, metres away, is left out: people are then
    as large as they can be. It can be switched on in the panel of the view."""
    left = rrb.Vertical(
        rrb.Spatial2DView(origin=_PICTURE, name="Picture"),
        rrb.TimeSeriesView(origin="times", name="Milliseconds per stage (p50), and age"),
        row_shares=[3, 2],
    )
    scene = rrb.Spatial3DView(
        origin="world",
        contents=["+ $origin/**", "- $origin/camera/**"],
        name="3D",
        background=list(BACKGROUND_BOTTOM),
        line_grid=LineGrid3D(visible=False),
    )
    return rrb.Blueprint(rrb.Horizontal(left, scene, column_shares=[2, 3]), collapse_panels=True)


class FrameLog:
    """Writes frames to a recording stream, on the timelines `frame` (its index) and `video` (its PTS)."""

    def __init__(self, stream: rr.RecordingStream) -> None:
        self._stream = stream
        self._ground = GroundState()
        self._trouble = ""
        stream.send_blueprint(layout())
        stream.log("world", rr.ViewCoordinates.RDF, static=True)

    def add(self, frame: ViewFrame) -> None:
        """A repeated frame adds nothing but new trouble with the source."""
        stream = self._stream
        if frame.status.trouble != self._trouble:
            self._trouble = frame.status.trouble
            stream.log("messages", rr.TextLog(self._trouble or "all is well again"))
        if frame.repeated:
            return
        stream.set_time("frame", sequence=frame.frame.index)
        stream.set_time("video", duration=frame.frame.pts)
        self._ground = update_ground(self._ground, frame.tracks, frame.view)
        _log_picture(stream, frame)
        _log_scene(stream, scene_of(frame, self._ground), frame)
        for stage in frame.stages:
            stream.log(f"times/{stage.name}", rr.Scalars([stage.p50]))
        if np.isfinite(frame.status.age_ms):
            stream.log("times/age", rr.Scalars([frame.status.age_ms]))


def _log_picture(stream: rr.RecordingStream, frame: ViewFrame) -> None:
    lens = frame.camera
    pinhole = rr.Pinhole(
        image_from_camera=lens.matrix,
        resolution=[lens.width, lens.height],
        camera_xyz=rr.ViewCoordinates.RDF,
        image_plane_distance=0.6,
    )
    stream.log(_PICTURE, pinhole)
    if frame.frame.image.size:  # a result file that is shown again has none
        coded = cv2.imencode(".jpg", cv2.cvtColor(frame.frame.image, cv2.COLOR_RGB2BGR), _JPEG)[1]
        stream.log(_PICTURE, rr.EncodedImage(contents=coded.tobytes(), media_type="image/jpeg"))
    poses = [t.pose2d for t in frame.tracks]
    points = np.concatenate([p.keypoints for p in poses]) if poses else np.zeros((0, 2))
    sure = np.concatenate([p.confidence for p in poses]) if poses else np.zeros(0)
    known = np.isfinite(points).all(1) & (sure > 0)
    colours = np.array([mixed(np.array(TEXT), 0.3 + 0.7 * float(c)) for c in sure[known]]).reshape(-1, 3)
    stream.log(f"{_PICTURE}/keypoints", rr.Points2D(points[known], colors=colours, radii=rr.Radius.ui_points(3.0)))
    bones, tints = [], []
    for pose in poses:
        joints = np.where((pose.confidence > 0)[:, None], pose.keypoints, np.nan)
        ends, whole = bones_of(joints)
        bones.append(ends[whole])
        tints.append(BONE_COLOURS[whole])
    lines = rr.LineStrips2D(_joined(bones, 2), colors=_colours(tints), radii=rr.Radius.ui_points(1.5))
    stream.log(f"{_PICTURE}/bones", lines)


def _log_scene(stream: rr.RecordingStream, scene: Scene, frame: ViewFrame) -> None:
    if scene.camera is not None:
        turned = upright(np.eye(3), frame.view).T
        stream.log("world/camera", rr.Transform3D(translation=scene.camera, mat3x3=turned))
        stream.log("world/camera/image", rr.Transform3D())
    grid = floor_lines(scene.focus, _FLOOR).astype(np.float32)
    stream.log("world/floor", rr.LineStrips3D(grid, colors=GRID, radii=rr.Radius.ui_points(0.5)))
    fans, tints, bones, sides = [], [], [], []
    for person in scene.people:
        ends, known = bones_of(person.fan)
        shades = [mixed(BONE_COLOURS, 0.85 * o) for o in person.opacity]
        fans.append(ends[known])
        tints.append((255 * np.array(shades).reshape(-1, 16, 3)[known]).astype(np.uint8))
        ends, known = bones_of(person.joints)
        bones.append(ends[known])
        sides.append(POSE_COLOURS[known])
    stream.log(
        "world/hypotheses", rr.LineStrips3D(_joined(fans, 3), colors=_colours(tints), radii=rr.Radius.ui_points(0.6))
    )
    stream.log("world/pose", rr.LineStrips3D(_joined(bones, 3), colors=_colours(sides), radii=_THICK))
    sure = [np.isfinite(p.joints).all(1) for p in scene.people]
    people = list(zip(scene.people, sure, strict=True))
    joints = np.concatenate([np.zeros((0, 3)), *(p.joints[k] for p, k in people)])
    radii = np.concatenate([np.zeros(0), *(p.radii[k] for p, k in people)])
    colours = _colours([p.colours[k] for p, k in people])
    stream.log("world/joints", rr.Points3D(joints, radii=radii, colors=colours))
    heads = [p for p in scene.people if np.isfinite(p.joints[10]).all()]
    names = rr.Points3D(
        np.array([p.joints[10] - (0, 0.2, 0) for p in heads]).reshape(-1, 3),
        labels=[f"#{p.id}" for p in heads],
        radii=0.001,
        colors=TEXT,
        show_labels=True,
    )
    stream.log("world/ids", names)


def _joined(lines: list[NDArray], dimensions: int) -> NDArray[np.float32]:
    """Line segments of everybody: (N, 2, dimensions)."""
    return np.concatenate([np.zeros((0, 2, dimensions)), *lines]).astype(np.float32)


def _colours(parts: list[NDArray]) -> NDArray[np.uint8]:
    return np.concatenate([np.zeros((0, 3), np.uint8), *parts])
