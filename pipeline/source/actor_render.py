"""One picture of the actor: cast the capsules, light them, soften the edges, put them into the room."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.source.actor_raster import Buffers, Capsule, bounds, draw, empty_buffers
from posepipe.pipeline.source.actor_stage import LIGHT, View, cast_shadow

AMBIENT, LAMP, HEADLIGHT, SKY = 0.36, 0.46, 0.32, 0.10


def picture(parts: list[Capsule], view: View, background: NDArray[np.uint8], shadow: bool = True) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: the capsules (world frame) before the background, which is not changed. shadow: the parts
    are one person, who casts one."""
    image = background.copy()
    if shadow:
        cast_shadow(image, view, parts)
    buffers = cast(parts, view)
    if buffers is None:
        return image
    height, width = buffers.depth.shape
    window = image[buffers.y0 : buffers.y0 + height, buffers.x0 : buffers.x0 + width]
    covered = np.isfinite(buffers.depth)
    index = np.flatnonzero(covered)
    lit = _light(buffers, index, view)
    # The silhouette's own pixels let some of the room through: edges without stairs.
    alpha = cv2.GaussianBlur(covered.view(np.uint8) * np.uint8(255), (3, 3), 0.8).ravel()[index]
    alpha = np.clip(alpha * np.float32(1.3 / 255) - np.float32(0.3), 0.0, 1.0)[:, None]
    rows, columns = np.divmod(index, width)
    behind = window[rows, columns]
    window[rows, columns] = np.clip(behind + (lit - behind) * alpha + np.float32(0.5), 0, 255).astype(np.uint8)
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
    for part in sorted(seen, key=lambda part: float(part.a[2] + part.b[2])):  # near first: what hides is drawn once
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


def _light(buffers: Buffers, index: NDArray[np.intp], view: View) -> NDArray[np.float32]:
    """(N, 3) float32 colours 0..255 of the covered pixels: Lambert under a lamp, a headlight and the sky.

    Creases (where the neighbourhood is nearer to the camera) are darkened: contact between limbs and trunk shows."""
    normal, depth = buffers.normal.reshape(-1, 3)[index], buffers.depth.ravel()[index]
    lamp, up = (view.rotation @ LIGHT).astype(np.float32), view.rotation[:, 1].astype(np.float32)
    shine = np.maximum(normal @ lamp, 0.0) * LAMP
    shine += AMBIENT + HEADLIGHT * np.maximum(-normal[:, 2], 0.0) + SKY * (normal @ up)
    around = cv2.blur(np.minimum(buffers.depth, depth.max()), (15, 15)).ravel()[index]
    shine *= 1.0 - np.clip((depth - around - 0.01) * 4.0, 0.0, 0.35)
    return buffers.albedo.reshape(-1, 3)[index] * shine[:, None]
