"""One picture of the actor: cast the capsules, light them, soften the edges, put them into the room."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.source.actor_raster import Buffers, Capsule, bounds, draw, empty_buffers
from posepipe.pipeline.source.actor_stage import LIGHT, View, cast_shadow

AMBIENT, LAMP, HEADLIGHT, SKY = 0.34, 0.50, 0.22, 0.10


def picture(parts: list[Capsule], view: View, background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: the capsules (world frame) before the background, which is not changed."""
    image = background.copy()
    cast_shadow(image, view, parts)
    buffers = cast(parts, view)
    if buffers is None:
        return image
    lit, mask = _light(buffers, view)
    height, width = mask.shape
    window = image[buffers.y0 : buffers.y0 + height, buffers.x0 : buffers.x0 + width]
    alpha = cv2.GaussianBlur(mask, (3, 3), 0.7)[..., None]
    # Empty pixels take the colour of their neighbours, so that the soft edge does not darken.
    spread = cv2.blur(lit, (3, 3)) / np.maximum(cv2.blur(mask, (3, 3)), 1e-3)[..., None]
    lit = np.where(mask[..., None] > 0, lit, spread)
    window[:] = np.clip(window * (1.0 - alpha) + lit * alpha + 0.5, 0, 255).astype(np.uint8)
    return image


def cast(parts: list[Capsule], view: View) -> Buffers | None:
    """Depth, normals and albedo of the capsules (world frame) in the smallest window that holds them; None if empty."""
    seen = [_to_camera(part, view) for part in parts]
    boxes = [box for box in (bounds(part, view.intrinsics) for part in seen) if box is not None]
    if not boxes:
        return None
    corners = np.array(boxes)
    x0, y0 = (int(v) for v in corners[:, :2].min(axis=0))
    x1, y1 = (int(v) for v in corners[:, 2:].max(axis=0))
    buffers = empty_buffers(x0, y0, x1 - x0, y1 - y0)
    for part in seen:
        draw(part, view.intrinsics, buffers)
    return buffers


def _to_camera(part: Capsule, view: View) -> Capsule:
    return replace(
        part,
        a=view.to_camera(part.a),
        b=view.to_camera(part.b),
        rotation=None if part.rotation is None else view.rotation @ part.rotation,
        origin=None if part.origin is None else view.to_camera(part.origin),
    )


def _light(buffers: Buffers, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """((h, w, 3) float32 lit colours, (h, w) float32 coverage): Lambert under a lamp, a headlight and the sky.

    Creases (where the neighbourhood is nearer to the camera) are darkened: contact between limbs and trunk shows."""
    normal, depth = buffers.normal, buffers.depth
    mask = np.isfinite(depth).astype(np.float32)
    lamp, up = (view.rotation @ LIGHT).astype(np.float32), view.rotation[:, 1].astype(np.float32)
    shine = np.maximum(normal @ lamp, 0.0) * LAMP
    shine += AMBIENT + HEADLIGHT * np.maximum(-normal[..., 2], 0.0) + SKY * (normal @ up)
    near = np.where(mask > 0, depth, 1e3)
    around = cv2.blur(np.minimum(near, depth[mask > 0].max() if mask.any() else 1e3).astype(np.float32), (15, 15))
    crease = np.clip((near - around - 0.01) * 4.0, 0.0, 0.35)
    shine *= 1.0 - crease
    return buffers.albedo * (shine * mask)[..., None], mask
