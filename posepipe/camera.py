"""The pinhole camera and its lens: intrinsics and where they come from, projection, and the rotation that centres a
person.

Camera frame: x right, y down, z forward, metres. Pixel (0, 0) is the top-left corner of the image; pixel centres lie
at half-integers, so the principal point of an ideal camera is (width/2, height/2).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.distortion import distort, undistort
from posepipe.errors import UsageError

DEFAULT_FOV_DEG = 60.0
GIVEN, FROM_FILE, ASSUMED = "given", "from the file", "assumed"


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole intrinsics in pixels for an image of width x height.

    assumed: nobody measured them. origin: GIVEN (by the user), FROM_FILE (the video's or picture's own metadata) or
    ASSUMED. distortion: coefficients of lens_model (see posepipe.distortion); none for an ideal lens. note: for people,
    how the numbers came about."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    assumed: bool = True
    origin: str = ""
    distortion: tuple[float, ...] = ()
    lens_model: str = "opencv"
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "distortion", tuple(self.distortion))  # JSON makes lists of tuples
        if not self.origin:
            object.__setattr__(self, "origin", ASSUMED if self.assumed else GIVEN)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @property
    def fov_deg(self) -> float:
        """Field of view over the longer image side, degrees: what `from_fov` takes."""
        side, focal = (self.width, self.fx) if self.width >= self.height else (self.height, self.fy)
        return math.degrees(2 * math.atan(0.5 * side / focal))

    @property
    def described(self) -> str:
        """One line for people: the field of view, where it is from, and what to do if it was only assumed."""
        bent = ", with distortion" if any(self.distortion) else ""
        line = f"camera {self.origin}: {self.fov_deg:.0f}° over the longer side{bent}"
        if self.note:
            line += f" ({self.note})"
        if self.assumed:
            line += ", which sets how far away people are; give --fov or --intrinsics if you know it"
        return line

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def from_fov(width: int, height: int, fov_deg: float = DEFAULT_FOV_DEG, assumed: bool = True) -> Intrinsics:
    """Square pixels, centred principal point; fov_deg spans the *longer* image side, so that a phone turned upright
    keeps its focal length. Raises UsageError outside 5..170 degrees."""
    if not 5.0 <= fov_deg <= 170.0:
        raise UsageError(f"A field of view of {fov_deg}° is not possible.", "Give --fov between 5 and 170.")
    focal = 0.5 * max(width, height) / math.tan(math.radians(fov_deg) / 2)
    return Intrinsics(focal, focal, width / 2, height / 2, width, height, assumed)


def project(points: NDArray, camera: Intrinsics) -> NDArray:
    """(..., 3) metres in the camera frame -> (..., 2) pixels. Points at or behind the camera give non-finite pixels."""
    points = points.astype(np.result_type(points, np.float32), copy=False)
    z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    xy = points[..., :2] / z
    if any(camera.distortion):
        xy = distort(xy, camera.distortion, camera.lens_model).astype(xy.dtype)
    return xy * np.array([camera.fx, camera.fy], xy.dtype) + np.array([camera.cx, camera.cy], xy.dtype)


def rays(pixels: NDArray, camera: Intrinsics) -> NDArray:
    """(..., 2) pixels -> (..., 2) coordinates on the plane z = 1 of the camera frame, with the lens's distortion taken
    out; NaN where the lens has no ray."""
    pixels = pixels.astype(np.result_type(pixels, np.float32), copy=False)  # whole numbers would cut the centre off
    xy = (pixels - np.array([camera.cx, camera.cy], pixels.dtype)) / np.array([camera.fx, camera.fy], pixels.dtype)
    if any(camera.distortion):
        xy = undistort(xy, camera.distortion, camera.lens_model).astype(xy.dtype)
    return np.asarray(xy)


def look_at(direction: NDArray) -> NDArray:
    """Rotation (..., 3, 3) that turns the camera towards direction (..., 3) without rolling: R @ direction is +z, and
    the camera's y axis stays in the plane of its old y axis and the new viewing direction."""
    z = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    down = np.broadcast_to(np.array([0.0, 1.0, 0.0], z.dtype), z.shape)
    x = np.cross(down, z)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=-2)
