"""Lens distortion as OpenCV, ROS and Kalibr write it, on the plane z = 1 of the camera frame.

`opencv`: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4]]], OpenCV's calib3d documentation ("plumb bob", "rational polynomial",
Kalibr's "radtan"). `fisheye`: k1 k2 k3 k4 of the equidistant model (Kannala & Brandt 2006), cv2.fisheye.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MODELS = ("opencv", "fisheye")
LENGTHS = {"opencv": (4, 5, 8, 12), "fisheye": (4,)}
_STEPS, _DELTA = 25, 1e-6
_SOLVED = 1e-6  # on the plane z = 1: a thousandth of a pixel at f = 1000


def distort(points: NDArray, coefficients: Sequence[float], model: str) -> NDArray[np.float64]:
    """(..., 2) ideal points on z = 1 -> (..., 2) where the lens puts them."""
    xy = np.asarray(points, np.float64)
    r2 = (xy**2).sum(-1, keepdims=True)
    if model == "fisheye":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        t2 = theta**2
        k1, k2, k3, k4 = coefficients
        bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        return xy * np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1.0)
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = (*coefficients, *[0.0] * (12 - len(coefficients)))
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    x, y, r2 = xy[..., 0], xy[..., 1], r2[..., 0]
    aside = np.stack(
        [
            2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + s2 * r2),
            p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + s4 * r2),
        ],
        -1,
    )
    return xy * radial + aside


def undistort(points: NDArray, coefficients: Sequence[float], model: str) -> NDArray[np.float64]:
    """The inverse of distort, by Newton's method; NaN where there is none: such a lens sends no ray there."""
    seen = np.asarray(points, np.float64)
    xy = _unbent(seen) if model == "fisheye" else seen.copy()
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            miss = distort(xy, coefficients, model) - seen
            if not np.nanmax(np.abs(miss), initial=0.0) > _SOLVED * 1e-3:
                break
            slope_x, slope_y = (
                (distort(xy + step, coefficients, model) - distort(xy - step, coefficients, model)) / (2 * _DELTA)
                for step in (np.array([_DELTA, 0.0]), np.array([0.0, _DELTA]))
            )
            volume = slope_x[..., 0] * slope_y[..., 1] - slope_x[..., 1] * slope_y[..., 0]
            xy = xy - np.stack(
                [
                    (slope_y[..., 1] * miss[..., 0] - slope_y[..., 0] * miss[..., 1]) / volume,
                    (slope_x[..., 0] * miss[..., 1] - slope_x[..., 1] * miss[..., 0]) / volume,
                ],
                -1,
            )
        solved = np.abs(distort(xy, coefficients, model) - seen).max(-1, keepdims=True) < _SOLVED
        same_side = (xy * seen).sum(-1, keepdims=True) >= 0  # beyond the fold of a polynomial lie false solutions
    return np.where(solved & same_side, xy, np.nan)


def _unbent(seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """A start for the fisheye: as if all its coefficients were 0."""
    theta = np.linalg.norm(seen, axis=-1, keepdims=True)
    start = np.tan(np.minimum(theta, np.radians(85.0)))
    return seen * np.where(theta > 1e-9, start / np.maximum(theta, 1e-9), 1.0)
