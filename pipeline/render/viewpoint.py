"""The virtual camera of the 3D view, and where it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, look_at, project

_FOV_DEG = 30.0  # vertical; long enough that near and far limbs keep comparable sizes
_TALL = 2.25  # metres of height that fill the view
_EYE = 0.93  # metres above the floor that the camera looks at: the middle of a standing person, captions considered


@dataclass(frozen=True)
class ViewSettings:
    """What a person can choose about the picture.

    yaw_deg: how far the virtual camera is turned around the person, away from the real one (positive: to the right);
    at 0 every hypothesis looks alike, because they differ in depth. raise_deg: how far it looks down. camera_pitch_deg:
    how far the real camera looks down, where known; 0 takes its image as upright. height: pixels of the picture.
    """

    yaw_deg: float = 35.0
    raise_deg: float = 11.0
    camera_pitch_deg: float = 0.0
    height: int = 720


@dataclass(frozen=True)
class Viewpoint:
    """A camera in the world of the 3D view (metres, y down, floor at y = 0).

    position: (3,). rotation: (3, 3), world to camera. intrinsics: of the picture it makes."""

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    intrinsics: Intrinsics


def upright(points: NDArray, view: ViewSettings) -> NDArray[np.float64]:
    """(..., 3) in the real camera's frame -> the same point turned so that y is straight down in the world."""
    tilt = math.radians(view.camera_pitch_deg)
    c, s = math.cos(tilt), math.sin(tilt)
    return np.asarray(points, np.float64) @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]).T


def viewpoint(view: ViewSettings, focus: tuple[float, float], radius: float, width: int, height: int) -> Viewpoint:
    """The camera that keeps everything within `radius` metres around the floor point `focus` (x, z) in the picture."""
    focal = 0.5 * height / math.tan(math.radians(_FOV_DEG) / 2)
    distance = max(_TALL * focal / height, 0.5 * radius + 2 * (radius + 0.6) * focal / width)
    yaw, down = math.radians(view.yaw_deg), math.radians(view.raise_deg)
    direction = np.array([-math.sin(yaw) * math.cos(down), math.sin(down), math.cos(yaw) * math.cos(down)])
    target = np.array([focus[0], -_EYE, focus[1]])
    lens = Intrinsics(focal, focal, width / 2, height / 2, width, height)
    return Viewpoint(target - distance * direction, look_at(direction), lens)


def to_camera(points: NDArray, eye: Viewpoint) -> NDArray[np.float64]:
    """(..., 3) world metres -> (..., 3) metres in the virtual camera's frame; the last number is the depth."""
    return (np.asarray(points, np.float64) - eye.position) @ eye.rotation.T


def to_pixels(points: NDArray, eye: Viewpoint) -> NDArray[np.float64]:
    """(..., 3) world metres -> (..., 2) pixels of the 3D view; not finite at or behind the virtual camera."""
    return project(to_camera(points, eye), eye.intrinsics)
