"""Ray casting of tapered capsules into a depth, normal and colour buffer, one bounding box at a time.

A tapered capsule is the union of spheres whose centre and radius run linearly from one end to the other. For the ray
p = t r through a pixel (r = (x, y, 1), so t is the depth), the surface is the envelope of those spheres: the smallest
t at which |p - c(s)|^2 = R(s)^2 has a double root in s; outside 0 <= s <= 1 it is one of the end spheres. A stretch (a
linear map of camera space) turns circular cross-sections into elliptic ones; t is the same before and after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics

Array = NDArray[Any]  # float32 or float64


@dataclass(frozen=True)
class Paint:
    """How a surface is coloured: one colour, or a texture looked up by the hit's position in a local frame.

    texture: (h, w, 3) uint8. kind "plane": u, v from local x, y in metres, the front half of the texture (left) for
    local z >= 0, the back half else; extent = (half width, lowest y, highest y) in metres. kind "sphere": u, v from
    longitude (0 = forward, in the middle) and latitude seen from the origin; extent = the sphere's semi-axes."""

    colour: tuple[int, int, int] = (128, 128, 128)
    texture: NDArray[np.uint8] | None = None
    kind: str = ""
    extent: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Capsule:
    """A tapered capsule from a to b, metres (world, later camera frame). rotation: (3, 3), columns = the local axes.

    stretch: semi-axes along the local axes, relative to the radii (1, 1, 1 = round). origin: of the local frame."""

    a: Array
    b: Array
    radius_a: float
    radius_b: float
    paint: Paint
    rotation: Array | None = None
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: Array | None = None


@dataclass
class Buffers:
    """Flat-indexable images of one window (x0, y0, width, height): depth in metres (inf = empty), normal, albedo."""

    x0: int
    y0: int
    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    albedo: NDArray[np.uint8]


def empty_buffers(x0: int, y0: int, width: int, height: int) -> Buffers:
    """Buffers of a window with nothing in it."""
    return Buffers(
        x0,
        y0,
        np.full((height, width), np.inf, np.float32),
        np.zeros((height, width, 3), np.float32),
        np.zeros((height, width, 3), np.uint8),
    )


def bounds(capsule: Capsule, camera: Intrinsics) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1), a pixel box that surely holds the capsule (camera frame); None where it is not in front."""
    widest = max(capsule.stretch)
    box = [1e9, 1e9, -1e9, -1e9]
    for centre, radius in ((capsule.a, capsule.radius_a * widest), (capsule.b, capsule.radius_b * widest)):
        near = centre[2] - radius
        if near < 0.05:
            return None
        x, y = camera.fx * centre[0] / centre[2] + camera.cx, camera.fy * centre[1] / centre[2] + camera.cy
        reach = camera.fx * radius / near * 1.05 + 1.0
        box = [min(box[0], x - reach), min(box[1], y - reach), max(box[2], x + reach), max(box[3], y + reach)]
    x0, y0 = max(int(box[0]), 0), max(int(box[1]), 0)
    x1, y1 = min(int(box[2]) + 1, camera.width), min(int(box[3]) + 1, camera.height)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def draw(capsule: Capsule, camera: Intrinsics, out: Buffers) -> None:
    """Cast one capsule (camera frame) into the buffers; nearer surfaces win."""
    box = bounds(capsule, camera)
    if box is None:
        return
    height, width = out.depth.shape
    x0, y0 = max(box[0], out.x0), max(box[1], out.y0)
    x1, y1 = min(box[2], out.x0 + width), min(box[3], out.y0 + height)
    if x1 <= x0 or y1 <= y0:
        return
    squash: Array = np.eye(3)
    if capsule.rotation is not None and capsule.stretch != (1.0, 1.0, 1.0):
        squash = capsule.rotation @ np.diag(1.0 / np.array(capsule.stretch)) @ capsule.rotation.T
    # Single precision is enough but for the thinnest parts, whose boxes are small anyway.
    kind: Any = np.float64 if min(capsule.radius_a, capsule.radius_b) < 0.02 else np.float32
    x = ((np.arange(x0, x1) + 0.5 - camera.cx) / camera.fx).astype(kind)
    y = ((np.arange(y0, y1) + 0.5 - camera.cy) / camera.fy).astype(kind)
    a, b = squash @ capsule.a, squash @ capsule.b
    flat, hit = _cast(squash, a, b, capsule.radius_a, capsule.radius_b, x, y)
    if not len(flat):
        return
    rows, columns = np.divmod(flat, x1 - x0)
    index = (rows + (y0 - out.y0)) * width + columns + (x0 - out.x0)
    depth, share = hit
    nearer = np.flatnonzero(depth < out.depth.ravel()[index])
    index, depth, share = index[nearer], depth[nearer], share[nearer]
    point = np.empty((len(index), 3), kind)
    point[:, 0] = x[columns[nearer]] * depth
    point[:, 1] = y[rows[nearer]] * depth
    point[:, 2] = depth
    narrow = squash.astype(kind)
    normal = (point @ narrow.T - a.astype(kind) - share[:, None] * (b - a).astype(kind)) @ narrow
    normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None]
    out.depth.reshape(-1)[index] = depth
    out.normal.reshape(-1, 3)[index] = normal
    out.albedo.reshape(-1, 3)[index] = _colours(capsule, point)


def _cast(
    squash: Array, a: Array, b: Array, ra: float, rb: float, x: Array, y: Array
) -> tuple[NDArray[np.intp], tuple[Array, Array]]:
    """Flat indices of the pixels of the grid y x x that hit, and their (depth, share of the way from a to b)."""
    axis, taper = b - a, ra - rb
    length2 = float(axis @ axis)
    d2 = length2 - taper * taper

    def linear(v: Array) -> Array:
        """v . r for every pixel of the grid."""
        w = (squash.T @ v).tolist()
        return (w[0] * x)[None, :] + (w[1] * y + w[2])[:, None]

    form = (squash.T @ squash).tolist()
    q = (form[0][0] * x * x + 2 * form[0][2] * x)[None, :] + (form[1][1] * y * y + 2 * form[1][2] * y + form[2][2])[
        :, None
    ]
    if form[0][1] != 0.0:
        q = q + (2 * form[0][1] * x)[None, :] * y[:, None]
    if d2 < 1e-9:  # a sphere (or one end inside the other)
        centre, radius, share = (a, ra, 0.0) if ra >= rb else (b, rb, 1.0)
        m = linear(centre)
        flat = np.flatnonzero(m * m - q * (float(centre @ centre) - radius * radius) > 0)
        shares = np.full(len(flat), share, x.dtype)
        depth, inside = _end_sphere(m.ravel()[flat], q.ravel()[flat], shares, a, axis, ra, taper)
        return flat[inside], (depth[inside], shares[inside])
    m1, m5 = -float(axis @ a), float(a @ a)
    m2, m3 = linear(axis), -linear(a)
    k2 = d2 * q - m2 * m2
    k1 = d2 * m3 + (taper * ra - m1) * m2
    k0 = d2 * m5 - m1 * m1 + 2 * m1 * taper * ra - length2 * ra * ra
    h = k1 * k1 - k0 * k2
    # Rays inside the cone's own angle (k2 < 0): towards the wide end the formula holds, towards the apex the near end
    # is what they meet.
    near_is_wide = (taper > 0) == bool(a[2] < b[2])
    flat = np.flatnonzero((h > 0) | (k2 <= 1e-7 * d2) if near_is_wide else h > 0)
    k2, k1, m2, h = k2.ravel()[flat], k1.ravel()[flat], m2.ravel()[flat], h.ravel()[flat]
    along = (k2 if near_is_wide else np.abs(k2)) <= 1e-7 * d2
    t = (-k1 - np.sqrt(np.maximum(h, 0.0))) / np.where(along, 1.0, k2)
    share = np.clip((m1 - taper * ra + t * m2) / d2, 0.0, 1.0)
    share[along] = 0.0 if a[2] < b[2] else 1.0
    ray_a = -m3.ravel()[flat]
    depth, inside = _end_sphere(ray_a + share * m2, q.ravel()[flat], share, a, axis, ra, taper)
    return flat[inside], (depth[inside], share[inside])


def _end_sphere(
    m: Array, q: Array, share: Array, a: Array, axis: Array, ra: float, taper: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Depth at which rays meet the sphere of their share of the way; m = centre . r, q = r . r."""
    radius = ra - share * taper
    centre2 = float(a @ a) + share * (2 * float(a @ axis)) + share * share * float(axis @ axis)
    h = m * m - q * (centre2 - radius * radius)
    interior = (share > 0.0) & (share < 1.0)
    inside = (h > 0) | interior
    depth = (m - np.sqrt(np.maximum(h, 0.0))) / q
    return depth, inside & (depth > 0.05)


def _colours(capsule: Capsule, point: Array) -> NDArray[np.uint8]:
    """(N, 3) albedo at surface points (camera frame), or (3,) where it is the same for all."""
    paint = capsule.paint
    if paint.texture is None or capsule.rotation is None or capsule.origin is None:
        return np.array(paint.colour, np.uint8)
    local = (point - capsule.origin.astype(point.dtype)) @ capsule.rotation.astype(point.dtype)
    rows, columns = paint.texture.shape[:2]
    e = paint.extent
    if paint.kind == "sphere":
        direction = local / np.array(e, local.dtype)
        v = 0.5 - np.arctan2(direction[:, 1], np.hypot(direction[:, 0], direction[:, 2])) / np.pi
        u = 0.5 + np.arctan2(direction[:, 0], direction[:, 2]) / (2 * np.pi)
    else:
        v = (e[2] - local[:, 1]) / (e[2] - e[1])
        u = np.clip(0.25 + local[:, 0] / (4 * e[0]), 0.0, 0.4999) + np.where(local[:, 2] >= 0, 0.0, 0.5)
    i = np.clip((v * rows).astype(np.intp), 0, rows - 1)
    j = np.clip((u * columns).astype(np.intp), 0, columns - 1)
    return paint.texture[i, j]
