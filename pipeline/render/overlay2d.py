"""2D keypoints and bones of a person, drawn over the video frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.palette import OUTLINE, SIDES, TEXT, side
from posepipe.pipeline.render.strokes import disc, fixed, line, usable
from posepipe.pipeline.render.text import draw_plate, draw_text, text_width
from posepipe.skeleton import skeleton
from posepipe.types import Pose2D


def visible_joints(pose: Pose2D) -> NDArray[np.bool_]:
    """(J,) which joints can be drawn: finite coordinates near the picture and a confidence above 0."""
    return usable(pose.keypoints) & (np.nan_to_num(pose.confidence, nan=0.0) > 0)


def opacity(confidence: NDArray) -> NDArray[np.float64]:
    """Confidence 0..1 -> opacity; a doubtful joint stays faintly visible, an unseen one (0 or NaN) vanishes."""
    sure = np.clip(np.nan_to_num(np.asarray(confidence, np.float64), nan=0.0), 0, 1)
    return np.where(sure > 0, 0.2 + 0.8 * sure, 0.0)


def draw_pose2d(image: NDArray[np.uint8], pose: Pose2D, label: str = "", scale: float = 1.0) -> None:
    """Draw one person in place on an (h, w, 3) uint8 RGB image.

    pose: keypoints in pixels of the source; `scale` turns them into pixels of this image. label: the track's name,
    written above the head. Strokes grow with the image, joints with their confidence."""
    layout = skeleton(pose.skeleton)
    points = pose.keypoints.astype(np.float64) * scale
    seen = visible_joints(pose) & usable(points)
    if not seen.any():
        return
    unit = max(image.shape[0], image.shape[1] * 9 / 16) / 720
    box = _box(points[seen], image.shape, margin=14 * unit)
    if box is not None:
        _blend(image, box, points, np.where(seen, opacity(pose.confidence), 0.0), layout.bones, unit, pose.skeleton)
    if label:
        _label(image, points[seen], label, unit)


def _box(points: NDArray, shape: tuple[int, ...], margin: float) -> tuple[int, int, int, int] | None:
    """The part of the image the person covers, as x0, y0, x1, y1; None when that is outside the image."""
    low = np.maximum(np.floor(points.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(points.max(0) + margin), (shape[1], shape[0])).astype(int)
    return (low[0], low[1], high[0], high[1]) if (low < high).all() else None


def _blend(
    image: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    points: NDArray,
    alpha: NDArray,
    bones: tuple[tuple[int, int], ...],
    unit: float,
    layout_name: str,
) -> None:
    """Paint colours and opacities on two layers and blend them with the image once, however many strokes there are."""
    layout = skeleton(layout_name)
    x0, y0, x1, y1 = box
    region = image[y0:y1, x0:x1]
    colours = np.zeros(region.shape, np.uint8)  # black: the edge around everything
    cover = np.zeros(region.shape[:2], np.uint8)
    px = fixed(np.where(alpha[:, None] > 0, points - (x0, y0), 0.0))
    stroke = max(2, round(3.2 * unit))
    drawn = [(a, b, min(alpha[a], alpha[b])) for a, b in bones if min(alpha[a], alpha[b]) > 0]
    for a, b, share in drawn:  # a dark edge under everything keeps the strokes readable on any clothing
        line(cover, px[a], px[b], (round(115 * share),), stroke + max(2, round(2.5 * unit)))
    for a, b, share in drawn:
        colour = SIDES[side(layout, b)]
        line(colours, px[a], px[b], colour, stroke + 1)
        line(cover, px[a], px[b], (round(235 * share),), stroke)
    for joint in np.flatnonzero(alpha > 0):
        radius = (2.2 + 2.4 * alpha[joint]) * unit
        disc(colours, px[joint], radius + 1.3 * unit, OUTLINE)
        disc(cover, px[joint], radius + 1.3 * unit, (round(255 * alpha[joint]),))
        disc(colours, px[joint], radius, _lighter(SIDES[side(layout, int(joint))]))
    touched = np.flatnonzero(cover > 0)  # a few per cent of the box
    at = np.unravel_index(touched, cover.shape)
    weight = cover[at][:, None].astype(np.float32) * np.float32(1 / 255)
    below = region[at].astype(np.float32)
    region[at] = (below + weight * (colours[at] - below) + np.float32(0.5)).astype(np.uint8)


def _lighter(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return (colour[0] + (255 - colour[0]) // 2, colour[1] + (255 - colour[1]) // 2, colour[2] + (255 - colour[2]) // 2)


def _label(image: NDArray[np.uint8], points: NDArray, label: str, unit: float) -> None:
    """The track's name on a dark plate, centred over the person and kept inside the image."""
    size = 10 * unit
    width = text_width(label, size)
    half = width / 2 + 5 * unit
    if 2 * half > image.shape[1]:
        return
    x = float(np.clip(points[:, 0].mean(), half, image.shape[1] - half))
    y = float(np.clip(points[:, 1].min() - 22 * unit, 2.2 * size, image.shape[0] - size))
    draw_plate(image, (round(x - half), round(y - 1.6 * size), round(x + half), round(y + 0.6 * size)))
    draw_text(image, label, (x, y), size, TEXT, align=0.5)
