"""The empty stage of the 3D view: background, a grid on the floor in perspective, and shadows on it."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.palette import BACKGROUND_BOTTOM, BACKGROUND_TOP, GRID
from posepipe.pipeline.render.strokes import fixed, lines, usable
from posepipe.pipeline.render.viewpoint import Viewpoint, to_camera, to_pixels

_CELL = 0.5  # metres
_SHADOW = 150  # of 255: how much of the floor's light a bone takes away


@lru_cache(maxsize=4)
def _backdrop(width: int, height: int) -> NDArray[np.uint8]:
    """A vertical gradient, dithered in a fixed pattern because 8 bits would show bands in it."""
    t = np.linspace(0, 1, height)[:, None, None]
    colour = np.array(BACKGROUND_TOP) * (1 - t) + np.array(BACKGROUND_BOTTOM) * t
    order = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16
    dither = np.tile(order, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    return (colour + dither).astype(np.uint8)


@lru_cache(maxsize=8)
def _fade(width: int, height: int, x: int, y: int, reach_x: int, reach_y: int) -> NDArray[np.uint8]:
    """255 at the pixel (x, y), falling smoothly to 0 at an ellipse around it: the grid has no hard edge."""
    rows = ((np.arange(height) - y) / reach_y)[:, None]
    columns = ((np.arange(width) - x) / reach_x)[None]
    inside = np.clip(1 - np.hypot(rows, columns), 0, 1)
    return (255 * inside * inside * (3 - 2 * inside)).astype(np.uint8)


def empty_stage(eye: Viewpoint, focus: tuple[float, float]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: the background and the floor grid, whose lines stay where they are in the world."""
    width, height = eye.intrinsics.width, eye.intrinsics.height
    image = _backdrop(width, height).copy()
    distance = float(np.linalg.norm(eye.position - (focus[0], -1.0, focus[1])))
    reach = np.ceil(0.8 * distance / _CELL) * _CELL
    offsets = np.arange(-reach, reach + _CELL / 2, _CELL)
    x0, z0 = (np.round(value / _CELL) * _CELL for value in focus)
    ends = np.full_like(offsets, reach)
    along_x = _segments(x0 - ends, z0 + offsets, x0 + ends, z0 + offsets)
    along_z = _segments(x0 + offsets, z0 - ends, x0 + offsets, z0 + ends)
    grid = np.concatenate([along_x, along_z])
    pixels = to_pixels(grid, eye)
    ahead = (to_camera(grid, eye)[..., 2] > 0.1).all(axis=1) & usable(pixels).all(axis=1)
    centre = to_pixels(np.array([focus[0], 0.0, focus[1]]), eye)
    # Rounded, so that a slowly moving camera finds its fade in the cache.
    spot = (round(float(centre[0]) / 8) * 8, round(float(centre[1]) / 8) * 8)
    reach_x, reach_y = int(0.62 * width), int(0.40 * height)
    top, bottom = np.clip((spot[1] - reach_y, spot[1] + reach_y), 0, height)
    if top < bottom:
        mask = np.zeros((bottom - top, width), np.uint8)
        lines(mask, fixed(pixels[ahead] - (0, top)), (255,), 1)
        fade = _fade(width, height, *spot, reach_x, reach_y)[top:bottom]
        faded = cv2.multiply(mask, fade, scale=1 / 255)
        rows = image[top:bottom]
        cv2.add(rows, cv2.transform(faded, np.array(GRID, np.float32).reshape(3, 1) / 255), dst=rows)
    return image


def _segments(x0: NDArray, z0: NDArray, x1: NDArray, z1: NDArray) -> NDArray[np.float64]:
    """(N, 2, 3) line segments on the floor."""
    low = np.stack([x0, np.zeros_like(x0), z0], axis=-1)
    high = np.stack([x1, np.zeros_like(x1), z1], axis=-1)
    return np.stack([low, high], axis=1)


def draw_shadow(image: NDArray[np.uint8], bones: NDArray, eye: Viewpoint) -> None:
    """The shadow a light straight above would throw: (N, 2, 3) world bones flattened onto the floor, softened."""
    flat = bones * np.array([1.0, 0.0, 1.0])
    pixels = to_pixels(flat, eye)
    good = usable(pixels).all(axis=1)
    if not good.any():
        return
    pixels = pixels[good]
    scale = eye.intrinsics.fx / max(float(to_camera(flat[good], eye)[..., 2].mean()), 1.0)
    thick = max(3, round(0.10 * scale))
    low = np.maximum(np.floor(pixels.min((0, 1)) - 2 * thick), 0).astype(int)
    high = np.minimum(np.ceil(pixels.max((0, 1)) + 2 * thick), (image.shape[1], image.shape[0])).astype(int)
    if (low >= high).any():
        return
    region = image[low[1] : high[1], low[0] : high[0]]
    height, width = region.shape[:2]
    # At a quarter of the size: it is blurred anyway.
    mask = np.zeros((height // 4 + 1, width // 4 + 1), np.uint8)
    lines(mask, fixed((pixels - low) / 4), (_SHADOW,), max(1, thick // 4))
    soft = cv2.resize(cv2.blur(mask, (thick // 2 + 1, thick // 4 + 1)), (width, height), interpolation=cv2.INTER_LINEAR)
    keep = 255 - soft
    region[:] = cv2.multiply(np.ascontiguousarray(region), cv2.merge([keep, keep, keep]), scale=1 / 255)
