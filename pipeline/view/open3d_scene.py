"""The Open3D window: everybody on the floor in 3D, to be turned with the mouse while the pictures keep coming."""

from __future__ import annotations

from functools import partial

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

from posepipe.errors import MissingDependencyError
from posepipe.pipeline.render.palette import BACKGROUND_BOTTOM, GRID, TEXT, TEXT_QUIET
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.viewpoint import ViewSettings, viewpoint
from posepipe.pipeline.view.display import display_problem
from posepipe.pipeline.view.protocol import ViewFrame
from posepipe.pipeline.view.scene import (
    BONE_COLOURS,
    POSE_COLOURS,
    Scene,
    bones_of,
    floor_lines,
    frustum_lines,
    mixed,
    number_lines,
    scene_of,
)

_SIZE = (1280, 800)
# GLFW's key codes: letters in capitals; = and the two of the number block beside the characters themselves.
_KEYS = {ord(k.upper()): k for k in "q hlvrs-"} | {61: "+", 334: "+", 333: "-"}
_THICK = 0.011  # metres: half the width of a bone
_BAR = np.array([t for i in range(6) for j in [(i + 1) % 6] for t in ((i, j, i + 6), (j, j + 6, i + 6))], np.int32)
_ABOVE = 0.22  # metres from the head joint to the person's number


class Open3DViewer:
    """`--view open3d`. offscreen: draw without a screen (EGL), for pictures and tests; see picture()."""

    name = "open3d"
    shows = True

    def __init__(self, offscreen: bool = False) -> None:
        self._offscreen = offscreen
        self._window: o3d.visualization.VisualizerWithKeyCallback | None = None
        self._lines = o3d.geometry.LineSet()
        self._spheres = o3d.geometry.TriangleMesh()
        ball = o3d.geometry.TriangleMesh.create_sphere(1.0, 8)
        self._ball = (np.asarray(ball.vertices), np.asarray(ball.triangles))
        self._ground = GroundState()
        self._seen_from: ViewSettings | None = None
        self._typed: list[str] = []

    def open(self, title: str) -> None:
        problem = "" if self._offscreen else display_problem()
        if problem:
            raise MissingDependencyError(f"No Open3D window can be opened: {problem}.", "Use --view rerun or none.")
        window = o3d.visualization.VisualizerWithKeyCallback()
        if not window.create_window(title, *_SIZE, visible=not self._offscreen):
            raise MissingDependencyError("Open3D could not open a window (no OpenGL 3.3?).", "Use --view window.")
        self._window = window
        for code, key in _KEYS.items():
            window.register_key_callback(code, partial(self._press, key))
        options = window.get_render_option()
        options.background_color = np.array(BACKGROUND_BOTTOM) / 255
        options.light_on = True

    def show(self, frame: ViewFrame) -> None:
        window = self._window
        if window is None:
            return
        if not frame.repeated:
            self._ground = update_ground(self._ground, frame.tracks, frame.view)
        scene = scene_of(frame, self._ground)
        ends, colours = lines_of(scene, frame)
        self._lines.points = o3d.utility.Vector3dVector(ends.reshape(-1, 3))
        self._lines.lines = o3d.utility.Vector2iVector(np.arange(2 * len(ends), dtype=np.int32).reshape(-1, 2))
        self._lines.colors = o3d.utility.Vector3dVector(colours)
        vertices, triangles, tints = _solid(scene, *self._ball)
        self._spheres.vertices = o3d.utility.Vector3dVector(vertices)
        self._spheres.triangles = o3d.utility.Vector3iVector(triangles)
        self._spheres.vertex_colors = o3d.utility.Vector3dVector(tints)
        self._spheres.compute_vertex_normals()
        # The mouse owns the view; only the key v, which turns it, and the first person seen put it somewhere else.
        if frame.view != self._seen_from:
            for shape in (self._lines, self._spheres):  # anew, since the mouse turns about the box measured here
                window.remove_geometry(shape, reset_bounding_box=False)
                window.add_geometry(shape, reset_bounding_box=True)
            self._look(frame.view)
            self._seen_from = frame.view if scene.people else None
        else:
            window.update_geometry(self._lines)
            window.update_geometry(self._spheres)
        window.poll_events()
        window.update_renderer()

    def _look(self, view: ViewSettings) -> None:
        assert self._window is not None
        eye = viewpoint(view, self._ground.focus or (0.0, 0.0), self._ground.radius, *_SIZE)
        control = self._window.get_view_control()
        camera = control.convert_to_pinhole_camera_parameters()
        lens, size = eye.intrinsics, (camera.intrinsic.width, camera.intrinsic.height)
        zoom = size[1] / lens.height
        # Open3D takes only lenses whose principal point is the middle of its own window, half a pixel off.
        camera.intrinsic.set_intrinsics(*size, zoom * lens.fx, zoom * lens.fy, size[0] / 2 - 0.5, size[1] / 2 - 0.5)
        extrinsic = np.eye(4)
        extrinsic[:3, :3] = eye.rotation
        extrinsic[:3, 3] = -eye.rotation @ eye.position
        camera.extrinsic = extrinsic
        control.convert_from_pinhole_camera_parameters(camera, allow_arbitrary=True)

    def _press(self, key: str, _: object) -> bool:
        self._typed.append(key)
        return False  # nothing to draw again for that

    def keys(self) -> tuple[str, ...]:
        if self._window is not None and not self._window.poll_events():
            self._typed.append("q")
        typed, self._typed = tuple(self._typed), []
        return typed

    def picture(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB: what the window shows; only between open() and close()."""
        assert self._window is not None
        pixels = np.asarray(self._window.capture_screen_float_buffer(do_render=True))
        return np.asarray((255 * pixels).round(), np.uint8)

    def close(self) -> None:
        if self._window is not None:
            self._window.destroy_window()
            self._window = None


def lines_of(scene: Scene, frame: ViewFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All lines, (N, 2, 3) world metres and (N, 3) RGB 0..1: floor, camera, fans and numbers.

    The old Visualizer knows no alpha for lines: a hypothesis of little weight is closer to the background's colour."""
    parts = [(floor_lines(scene.focus), mixed(np.array(GRID), 0.6))]
    if scene.camera is not None:
        parts.append((frustum_lines(scene.camera, frame.camera, frame.view), mixed(np.array(TEXT_QUIET), 1.0)))
    right = _right(frame.view)
    for person in scene.people:
        # Unlikely ones first: where lines cover each other at the same depth, the earlier one stays.
        for h in np.argsort(-person.opacity, kind="stable"):
            ends, known = bones_of(person.fan[h])
            parts.append((ends[known], mixed(BONE_COLOURS, 0.85 * person.opacity[h])[known]))
        head = person.joints[10]
        if len(scene.people) > 1 and np.isfinite(head).all():
            strokes = number_lines(person.id, head - (0, _ABOVE, 0), right)
            parts.append((strokes, mixed(np.array(TEXT), 1.0)))
    ends = np.concatenate([lines for lines, _ in parts])
    colours = np.concatenate([np.broadcast_to(colour, (len(lines), 3)) for lines, colour in parts])
    return ends, colours


def _right(view: ViewSettings) -> NDArray[np.float64]:
    """The direction in which numbers are read from where the view starts."""
    yaw = np.radians(view.yaw_deg)
    return np.array([np.cos(yaw), 0.0, np.sin(yaw)])


def _solid(
    scene: Scene, ball: NDArray, faces: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    """One mesh of all poses: vertices, triangles and colours 0..1. A copy of the unit ball for each known joint, a bar
    for each known bone."""
    points, triangles, colours, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.int32)], [np.zeros((0, 3))], 0
    for person in scene.people:
        known = np.isfinite(person.joints).all(1)
        balls = person.joints[known][:, None] + person.radii[known][:, None, None] * ball
        ends, whole = bones_of(person.joints)
        bars = _bars(ends[whole])
        tints = person.colours[known] / 255, POSE_COLOURS[whole] / 255
        for shapes, kind, tint in ((balls, faces, tints[0]), (bars, _BAR, tints[1])):
            points.append(shapes.reshape(-1, 3))
            each = shapes.shape[1] * np.arange(len(shapes))[:, None, None]
            triangles.append((count + kind + each).reshape(-1, 3).astype(np.int32))
            colours.append(np.repeat(tint, shapes.shape[1], axis=0))
            count += shapes.shape[0] * shapes.shape[1]
    return np.concatenate(points), np.concatenate(triangles), np.concatenate(colours)


def _bars(ends: NDArray) -> NDArray[np.float64]:
    """(N, 2, 3) bones -> (N, 12, 3) corners of six-sided bars around them, the six of the first end first."""
    along = ends[:, 1] - ends[:, 0]
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    # Any direction across will do; the axis that the bone follows least is never parallel to it.
    across = np.cross(along, np.eye(3)[np.abs(along).argmin(1)])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    turn = np.arange(6) * np.pi / 3
    ring = np.cos(turn)[:, None] * across[:, None] + np.sin(turn)[:, None] * np.cross(along, across)[:, None]
    return np.concatenate([ends[:, :1] + _THICK * ring, ends[:, 1:] + _THICK * ring], axis=1)
