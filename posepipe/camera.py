"""The pinhole camera: intrinsics given or assumed, projection, and the rotation that centres a person.

Camera frame: x right, y down, z forward, metres. Pixel (0, 0) is the top-left corner of the image; pixel centres lie
at half-integers, so the principal point of an ideal camera is (width/2, height/2).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, UsageError

DEFAULT_FOV_DEG = 60.0


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole intrinsics in pixels for an image of width x height. assumed: nobody measured them."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    assumed: bool = True

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @property
    def fov_deg(self) -> float:
        """Field of view over the longer image side, degrees: what `from_fov` takes."""
        side, focal = (self.width, self.fx) if self.width >= self.height else (self.height, self.fy)
        return math.degrees(2 * math.atan(0.5 * side / focal))

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def from_fov(width: int, height: int, fov_deg: float = DEFAULT_FOV_DEG, assumed: bool = True) -> Intrinsics:
    """Square pixels, centred principal point; fov_deg spans the *longer* image side, so that a phone turned upright
    keeps its focal length. Raises UsageError outside 5..170 degrees."""
    if not 5.0 <= fov_deg <= 170.0:
        raise UsageError(f"A field of view of {fov_deg}° is not possible.", "Give --fov between 5 and 170.")
    focal = 0.5 * max(width, height) / math.tan(math.radians(fov_deg) / 2)
    return Intrinsics(focal, focal, width / 2, height / 2, width, height, assumed)


def from_file(path: Path, width: int, height: int) -> Intrinsics:
    """Read {"fx","fy","cx","cy"[,"width","height"]} from JSON; rescales when it was calibrated at another resolution.

    Raises InputError when the file is missing, not JSON, or lacks a key."""
    try:
        data = json.loads(Path(path).read_text())
        values = {k: float(data[k]) for k in ("fx", "fy", "cx", "cy")}
        at_width, at_height = float(data.get("width", width)), float(data.get("height", height))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"Cannot read intrinsics from {path} ({error}).",
            'It must be JSON like {"fx": 1000, "fy": 1000, "cx": 640, "cy": 360, "width": 1280, "height": 720}.',
        ) from None
    if (
        not all(math.isfinite(v) for v in (*values.values(), at_width, at_height))
        or min(values["fx"], values["fy"], at_width, at_height) <= 0
    ):
        raise InputError(f"Intrinsics in {path} must be finite, with positive focal lengths and size.")
    sx, sy = width / at_width, height / at_height
    return Intrinsics(
        values["fx"] * sx, values["fy"] * sy, values["cx"] * sx, values["cy"] * sy, width, height, assumed=False
    )


def project(points: NDArray, camera: Intrinsics) -> NDArray:
    """(..., 3) metres in the camera frame -> (..., 2) pixels. Points at or behind the camera give non-finite pixels."""
    points = points.astype(np.result_type(points, np.float32), copy=False)
    z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    xy = points[..., :2] / z
    return xy * np.array([camera.fx, camera.fy], xy.dtype) + np.array([camera.cx, camera.cy], xy.dtype)


def rays(pixels: NDArray, camera: Intrinsics) -> NDArray:
    """(..., 2) pixels -> (..., 2) coordinates on the plane z = 1 of the camera frame."""
    pixels = pixels.astype(np.result_type(pixels, np.float32), copy=False)  # whole numbers would cut the centre off
    return (pixels - np.array([camera.cx, camera.cy], pixels.dtype)) / np.array([camera.fx, camera.fy], pixels.dtype)


def look_at(direction: NDArray) -> NDArray:
    """Rotation (..., 3, 3) that turns the camera towards direction (..., 3) without rolling: R @ direction is +z, and
    the camera's y axis stays in the plane of its old y axis and the new viewing direction."""
    z = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    down = np.broadcast_to(np.array([0.0, 1.0, 0.0], z.dtype), z.shape)
    x = np.cross(down, z)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=-2)
