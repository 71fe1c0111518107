"""The place the rendered actor stands in: a round room with a tiled floor, and the soft shadow on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics
from posepipe.pipeline.source.actor_raster import Capsule

Array = NDArray[np.float64]
LIGHT = np.array([0.35, 0.85, 0.40]) / np.linalg.norm([0.35, 0.85, 0.40])  # towards the lamp, world frame
TILE = 0.5
SHADOW_METRES, SHADOW_PIXELS = 5.0, 320


@dataclass(frozen=True)
class View:
    """A camera in the world: camera point = rotation @ (world point - position)."""

    rotation: Array
    position: Array
    intrinsics: Intrinsics

    def to_camera(self, points: Array) -> Array:
        """(..., 3) world -> (..., 3) camera frame, metres."""
        return (points - self.position) @ self.rotation.T


def orbit(target: Array, yaw: float, pitch: float, distance: float, intrinsics: Intrinsics) -> View:
    """A camera `distance` metres from target that looks at it; radians. yaw 0 stands at +z, growing towards +x; pitch
    > 0 stands above the target and looks down. The camera does not roll."""
    c, s = math.cos(pitch), math.sin(pitch)
    forward = -np.array([math.sin(yaw) * c, s, math.cos(yaw) * c])
    right = np.cross(forward, np.array([0.0, 1.0, 0.0]))
    right /= np.linalg.norm(right)
    return View(np.stack([right, np.cross(forward, right), forward]), target - distance * forward, intrinsics)


def room(view: View, radius: float) -> NDArray[np.uint8]:
    """(h, w, 3) RGB of the empty room: a cylinder of the given radius around the world's y axis."""
    camera = view.intrinsics
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    r = view.rotation
    ray = x[None, :, None] * r[0] + y[:, None, None] * r[1] + r[2]
    eye = view.position
    a = ray[..., 0] ** 2 + ray[..., 2] ** 2
    b = ray[..., 0] * eye[0] + ray[..., 2] * eye[2]
    inside = eye[0] ** 2 + eye[2] ** 2 - radius**2
    wall_t = (-b + np.sqrt(np.maximum(b * b - a * inside, 0.0))) / np.maximum(a, 1e-9)
    height = eye[1] + wall_t * ray[..., 1]
    bright = np.clip(0.80 + 0.05 * height, 0.5, 1.0)[..., None]
    image = np.array([205.0, 208.0, 210.0]) * bright
    image = np.where((height < 0.12)[..., None], np.array([150.0, 140.0, 128.0]), image)
    floor_t = np.where(ray[..., 1] < -1e-6, -eye[1] / np.minimum(ray[..., 1], -1e-6), np.inf)
    on_floor = floor_t < wall_t
    t = np.where(on_floor, floor_t, 0.0)
    gx, gz = (eye[0] + t * ray[..., 0]) / TILE, (eye[2] + t * ray[..., 2]) / TILE
    checker = np.where((np.floor(gx) + np.floor(gz)) % 2 == 0, 1.0, 0.93)
    pixel = np.maximum(t / camera.fx / TILE, 1e-4)  # tiles per pixel, to fade the joints with distance
    joint = np.minimum(np.abs(gx - np.round(gx)), np.abs(gz - np.round(gz)))
    line = np.clip(1.0 - joint / (0.012 + pixel), 0.0, 1.0) * np.clip(0.3 / np.sqrt(pixel * 60 + 0.3), 0.0, 0.35)
    fade = np.clip(1.0 - 0.035 * t, 0.6, 1.0)
    floor = np.array([176.0, 160.0, 138.0]) * (checker * (1.0 - line) * fade)[..., None]
    return np.clip(np.where(on_floor[..., None], floor, image), 0, 255).astype(np.uint8)


def cast_shadow(image: NDArray[np.uint8], view: View, parts: list[Capsule], strength: float = 0.5) -> None:
    """Darken the floor of an image in place where the parts (world frame) hide the lamp."""
    size, scale = SHADOW_PIXELS, SHADOW_PIXELS / SHADOW_METRES
    middle = parts[0].a[[0, 2]]
    cover = np.zeros((size, size), np.uint8)
    for part in parts:
        ends = []
        for p in (part.a, part.b):
            drop = p - LIGHT * (p[1] / LIGHT[1])
            u, v = (drop[[0, 2]] - middle) * scale + size / 2
            ends.append((round(float(u)), round(float(v))))
        widest = max(part.radius_a, part.radius_b) * min(part.stretch[0], part.stretch[1])
        cv2.line(cover, ends[0], ends[1], (255,), max(int(2 * widest * scale), 1), cv2.LINE_8)
    soft_cover = cv2.GaussianBlur(cover, (0, 0), 1.8)
    to_world = np.array(
        [
            [1 / scale, 0, middle[0] - size / 2 / scale],
            [0, 0, 0],
            [0, 1 / scale, middle[1] - size / 2 / scale],
            [0, 0, 1],
        ]
    )
    pinhole = view.intrinsics.matrix @ view.rotation @ np.hstack([np.eye(3), -view.position[:, None]])
    half = np.diag([0.5, 0.5, 1.0])
    height, width = image.shape[:2]
    seen = cv2.warpPerspective(soft_cover, half @ pinhole @ to_world, (width // 2, height // 2), flags=cv2.INTER_LINEAR)
    x0, y0, w, h = cv2.boundingRect(seen)
    if w == 0:
        return
    x1, y1 = min(2 * (x0 + w), width), min(2 * (y0 + h), height)
    x0, y0 = 2 * x0, 2 * y0
    soft = cv2.resize(seen[y0 // 2 : (y1 + 1) // 2, x0 // 2 : (x1 + 1) // 2], (x1 - x0, y1 - y0))
    keep = 255 - (soft * strength).astype(np.uint8)
    window = image[y0:y1, x0:x1]
    window[:] = cv2.multiply(window, cv2.merge([keep, keep, keep]), scale=1 / 255)
