"""Heatmaps to keypoints, in the three ways in which HRNet's published weights were trained.

- `msra`: the largest value, moved by a quarter towards the larger neighbour (Newell et al. 2016; Xiao et al. 2018).
- `dark`: the maximum of a Gaussian fitted to the logarithm of the smoothed heatmap (Zhang et al. 2020, "Distribution-
  Aware Coordinate Representation", section 3.1).
- `udp`: the same on a grid whose corners are the crop's (Huang et al. 2020, "The Devil is in the Details").

Equal to MMPose's codecs MSRAHeatmap, MSRAHeatmap(unbiased) and UDPHeatmap (tests/pipeline/detect). A joint whose
heatmap is nowhere above zero was not found: NaN.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]


def decode(heatmaps: Maps, decoding: str, blur: int = 11) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, J, h, w) -> places (N, J, 2), as shares 0..1 of the crop, and the largest values (N, J).

    decoding: one of HeatmapContract's. blur: size of the Gaussian kernel of `dark` and `udp`, odd."""
    people, joints, height, width = heatmaps.shape
    flat = heatmaps.reshape(people * joints, height * width)
    at = flat.argmax(1)
    values = flat[np.arange(len(flat)), at]
    x, y = at % width, at // width
    maps = heatmaps.reshape(-1, height, width)
    offset = _OFFSETS[decoding](maps, x, y, blur)
    places = (np.stack([x, y], 1) + offset).astype(np.float32)
    places /= np.array([width, height], np.float32) - (1.0 if decoding == "udp" else 0.0)
    places[~(values > 0)] = np.nan
    return places.reshape(people, joints, 2), values.reshape(people, joints)


def _quarter(maps: Maps, x: NDArray, y: NDArray, blur: int) -> NDArray:
    height, width = maps.shape[1:]
    sides = (x > 1) & (x < width - 1) & (y > 0)
    ends = (y > 1) & (y < height - 1) & (x > 0)
    value = _Reader(maps, x, y)
    return 0.25 * np.stack([np.sign(value(1, 0) - value(-1, 0)) * sides, np.sign(value(0, 1) - value(0, -1)) * ends], 1)


def _dark(maps: Maps, x: NDArray, y: NDArray, blur: int) -> NDArray:
    """Newton's step from the largest value, with derivatives over two pixels."""
    height, width = maps.shape[1:]
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    value = _Reader(np.log(np.maximum(_smoothed(maps, blur), 1e-10)), x, y)
    slope_x, slope_y = (value(1, 0) - value(-1, 0)) / 2, (value(0, 1) - value(0, -1)) / 2
    xx = (value(2, 0) - 2 * value(0, 0) + value(-2, 0)) / 4
    yy = (value(0, 2) - 2 * value(0, 0) + value(0, -2)) / 4
    xy = (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / 4
    determinant = xx * yy - xy * xy
    usable = inside & (determinant != 0)
    return np.where(usable[:, None], _newton(slope_x, slope_y, xx, yy, xy, np.where(usable, determinant, 1.0)), 0.0)


def _udp(maps: Maps, x: NDArray, y: NDArray, blur: int) -> NDArray:
    """Newton's step with derivatives over one pixel, the heatmap continued beyond its edge."""
    value = _Reader(np.log(np.clip(_smoothed(maps, blur), 1e-3, 50.0)), x, y)
    slope_x, slope_y = (value(1, 0) - value(-1, 0)) / 2, (value(0, 1) - value(0, -1)) / 2
    here = value(0, 0)
    xx = value(1, 0) - 2 * here + value(-1, 0)
    yy = value(0, 1) - 2 * here + value(0, -1)
    xy = (value(1, 1) - value(1, 0) - value(0, 1) + 2 * here - value(-1, 0) - value(0, -1) + value(-1, -1)) / 2
    epsilon = float(np.finfo(np.float32).eps)
    xx, yy = xx + epsilon, yy + epsilon
    return _newton(slope_x, slope_y, xx, yy, xy, xx * yy - xy * xy)


_OFFSETS = {"msra": _quarter, "dark": _dark, "udp": _udp}


def _newton(sx: NDArray, sy: NDArray, xx: NDArray, yy: NDArray, xy: NDArray, determinant: NDArray) -> NDArray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return -np.stack([yy * sx - xy * sy, xx * sy - xy * sx], 1) / determinant[:, None]


def _smoothed(maps: Maps, blur: int) -> NDArray[np.float64]:
    """Gaussian of OpenCV's width for the kernel, zero beyond the edge, the largest value kept."""
    border = blur // 2
    result = np.empty(maps.shape, np.float64)
    for index, one in enumerate(maps):
        padded = cv2.copyMakeBorder(one, border, border, border, border, cv2.BORDER_CONSTANT, value=0)
        smooth = cv2.GaussianBlur(padded, (blur, blur), 0)[border:-border, border:-border]
        result[index] = smooth * (one.max() / max(float(smooth.max()), 1e-30))
    return result


class _Reader:
    """Values beside (x, y) of every map, the edge's beyond the edge. Called with (dx, dy)."""

    def __init__(self, maps: NDArray, x: NDArray, y: NDArray) -> None:
        self._maps, self._x, self._y = maps, x, y

    def __call__(self, dx: int, dy: int) -> NDArray[np.float64]:
        count, height, width = self._maps.shape
        rows, columns = np.clip(self._y + dy, 0, height - 1), np.clip(self._x + dx, 0, width - 1)
        return self._maps[np.arange(count), rows, columns].astype(np.float64)
