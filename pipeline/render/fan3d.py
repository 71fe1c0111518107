"""The 3D view: people on a floor seen from the side, every hypothesis in sight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.fan import draw_fan
from posepipe.pipeline.render.floor import draw_shadow, empty_stage
from posepipe.pipeline.render.palette import TEXT
from posepipe.pipeline.render.solid import draw_solid
from posepipe.pipeline.render.stage import GroundState, place
from posepipe.pipeline.render.text import draw_plate, draw_text, text_width
from posepipe.pipeline.render.viewpoint import Viewpoint, ViewSettings, to_camera, to_pixels, viewpoint
from posepipe.skeleton import H36M_17
from posepipe.types import Track

_BONES = np.array(H36M_17.bones)
_NEAREST = 0.3  # metres: whoever is closer to the virtual camera would only hide the others


def draw_view3d(
    tracks: tuple[Track, ...], ground: GroundState, view: ViewSettings, width: int, height: int
) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB: floor, shadows, then people from far to near, each as fan and solid pose.

    ground: the state of this frame, from stage.update_ground. Tracks without a 3D pose are not shown."""
    focus = ground.focus or (0.0, 0.0)
    eye = viewpoint(view, focus, ground.radius, width, height)
    image = empty_stage(eye, focus)
    people = [(place(t.pose3d.joints, t, ground, view), t) for t in tracks if t.pose3d is not None]
    for joints, _ in people:
        draw_shadow(image, joints[_BONES], eye)
    for joints, track in sorted(people, key=lambda p: -_distance(p[0], eye)):
        _draw_person(image, joints, track, ground, view, eye, named=len(people) > 1)
    return image


def _distance(joints: NDArray, eye: Viewpoint) -> float:
    """Metres from the virtual camera to the hip; 0 where it is not known."""
    return float(np.nan_to_num(to_camera(joints[0], eye)[2]))


def _draw_person(
    image: NDArray[np.uint8],
    joints: NDArray,
    track: Track,
    ground: GroundState,
    view: ViewSettings,
    eye: Viewpoint,
    named: bool,
) -> None:
    assert track.pose3d is not None
    distance = _distance(joints, eye)
    if distance < _NEAREST:
        return
    if track.hypotheses is not None:
        draw_fan(image, to_pixels(place(track.hypotheses.joints, track, ground, view), eye), track.hypotheses)
    pixels, depth = to_pixels(joints, eye), to_camera(joints, eye)[:, 2]
    draw_solid(image, pixels, depth, track.pose3d.joint_std, eye.intrinsics.fx / distance)
    head = pixels[H36M_17.index("head")]
    if named and np.isfinite(head).all() and (np.abs(head) < 2 * max(image.shape)).all():
        label, x, y = f"#{track.id}", float(head[0]), float(head[1]) - 20
        half = text_width(label, 10) / 2 + 5
        draw_plate(image, (round(x - half), round(y - 16), round(x + half), round(y + 6)), 0.5)
        draw_text(image, label, (x, y), 10, TEXT, align=0.5)
