"""The textures the rendered actor wears: a face with hair, a shirt with a print in front, trousers, shoes.

Drawn with OpenCV once per body. Face texture: longitude -180..180 degrees left to right (0 in the middle = forward, the
actor's left on the right), latitude 90..-90 top to bottom. Shirt and trousers: left half front, right half back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.source.actor_body import Colours, Rgb
from posepipe.pipeline.source.actor_pose import FACE_POINTS

Image = NDArray[np.uint8]
SKULL = (0.074, 0.110, 0.096)  # semi-axes of the head: sideways, up, forward; metres


@dataclass(frozen=True)
class Wardrobe:
    """Textures of one body."""

    face: Image
    shirt: Image
    trousers: Image
    colours: Colours


def shade(colour: Rgb, factor: float) -> Rgb:
    """A colour made darker (factor < 1) or lighter (> 1)."""
    r, g, b = (min(max(int(c * factor), 0), 255) for c in colour)
    return r, g, b


def dress(colours: Colours) -> Wardrobe:
    """Paint everything one body wears."""
    return Wardrobe(_face(colours), _shirt(colours), _trousers(colours), colours)


def _face_uv(x: float, y: float, z: float, width: int, height: int) -> tuple[int, int]:
    """Pixel of the face texture under a point of the head (skull frame, metres)."""
    dx, dy, dz = x / SKULL[0], y / SKULL[1], z / SKULL[2]
    u = 0.5 + math.atan2(dx, dz) / (2 * math.pi)
    v = 0.5 - math.atan2(dy, math.hypot(dx, dz)) / math.pi
    return int(u * width), int(v * height)


def _face(colours: Colours) -> Image:
    width, height = 1024, 512
    image = np.empty((height, width, 3), np.uint8)
    image[:] = colours.skin
    points = {}
    for name, (x, y, z) in FACE_POINTS.items():
        points[name] = [_face_uv(sign * x, y, z, width, height) for sign in (1.0, -1.0)]
    blush = image.copy()
    rosy = (colours.skin[0], int(colours.skin[1] * 0.84), int(colours.skin[2] * 0.82))
    for u, v in points["eye_outer"]:
        cv2.circle(blush, (u, v + 58), 26, rosy, -1)
    image = np.asarray(cv2.GaussianBlur(cv2.addWeighted(image, 0.5, blush, 0.5, 0), (0, 0), 14), np.uint8)
    # Hair: everything behind a line that runs from the forehead over the temples, behind the ears, to the nape.
    outline = [(-512, -10), (-512, 350), (-300, 345), (-212, 318), (-186, 262), (-176, 230), (-150, 226), (-140, 190)]
    outline += [(-128, 152), (-84, 128), (-20, 134), (34, 124), (96, 132), (128, 152), (140, 190), (150, 226)]
    outline += [(176, 230), (186, 262), (212, 318), (300, 345), (512, 350), (512, -10)]
    cv2.fillPoly(image, [np.array([(512 + u, v) for u, v in outline], np.int32)], colours.hair, cv2.LINE_AA)
    strand = np.random.default_rng(7).normal(0.0, 1.0, (1, width)).astype(np.float32)
    strand = 1.0 + 0.10 * cv2.GaussianBlur(strand, (0, 0), 1.5)[..., None]
    hairy = np.all(image == np.array(colours.hair, np.uint8), axis=2, keepdims=True)
    image = np.where(hairy, np.clip(image * strand, 0, 255), image).astype(np.uint8)
    dark = shade(colours.skin, 0.55)
    for u, v in points["eye"]:
        cv2.ellipse(image, (u, v - 2), (25, 17), 0, 0, 360, shade(colours.skin, 0.80), -1, cv2.LINE_AA)
        cv2.ellipse(image, (u, v), (20, 11), 0, 0, 360, (245, 243, 240), -1, cv2.LINE_AA)
        cv2.circle(image, (u, v), 9, (70, 52, 38), -1, cv2.LINE_AA)
        cv2.circle(image, (u, v), 4, (10, 10, 10), -1, cv2.LINE_AA)
        cv2.ellipse(image, (u, v), (21, 12), 0, 185, 355, (30, 22, 18), 3, cv2.LINE_AA)
        cv2.ellipse(image, (u, v - 22), (28, 8), 0, 190, 350, shade(colours.hair, 0.7), 7, cv2.LINE_AA)
    nose_v = points["nose"][0][1]
    for sign in (-1, 1):
        cv2.circle(image, (512 + sign * 11, nose_v + 14), 5, dark, -1, cv2.LINE_AA)
    left, right = points["mouth"]
    middle = ((left[0] + right[0]) // 2, (left[1] + right[1]) // 2)
    half = abs(left[0] - right[0]) // 2
    cv2.ellipse(image, middle, (half, 13), 0, 0, 360, (176, 84, 80), -1, cv2.LINE_AA)
    cv2.ellipse(image, (middle[0], middle[1] - 3), (half, 5), 0, 0, 180, (110, 40, 40), 3, cv2.LINE_AA)
    cv2.ellipse(image, (middle[0], middle[1] + 24), (half, 6), 0, 20, 160, shade(colours.skin, 0.85), 4, cv2.LINE_AA)
    return image


def _shirt(colours: Colours) -> Image:
    """Front: open collar, buttons, a big number in a ring. Back: plain with a yoke seam. Rows: collar to hem."""
    width, height = 512, 320
    image = np.empty((height, width, 3), np.uint8)
    image[:] = colours.shirt
    seam, dark = shade(colours.shirt, 0.72), shade(colours.shirt, 0.85)
    front = 128
    cv2.circle(image, (front, 142), 52, colours.print_on, -1, cv2.LINE_AA)
    cv2.putText(image, "7", (front - 29, 176), cv2.FONT_HERSHEY_DUPLEX, 3.2, colours.shirt, 14, cv2.LINE_AA)
    cv2.rectangle(image, (0, 224), (255, 246), colours.print_on, -1)
    cv2.fillPoly(image, [np.array([(92, 0), (164, 0), (front, 66)], np.int32)], colours.skin, cv2.LINE_AA)
    cv2.polylines(
        image, [np.array([(88, 0), (front, 70), (168, 0)], np.int32)], False, colours.print_on, 9, cv2.LINE_AA
    )
    cv2.line(image, (256, 60), (511, 60), seam, 4, cv2.LINE_AA)
    cv2.line(image, (384, 60), (384, 319), dark, 3, cv2.LINE_AA)
    cv2.rectangle(image, (300, 0), (468, 10), seam, -1)
    return image


def _trousers(colours: Colours) -> Image:
    """Front: belt with a buckle, fly, slanted pockets. Back: belt, two patch pockets. Rows: belt to crotch."""
    width, height = 512, 160
    image = np.empty((height, width, 3), np.uint8)
    image[:] = colours.trousers
    seam = shade(colours.trousers, 0.65)
    cv2.rectangle(image, (0, 0), (511, 34), (60, 40, 28), -1)
    cv2.rectangle(image, (112, 2), (144, 32), (206, 190, 120), -1)
    cv2.line(image, (128, 36), (128, 130), seam, 5, cv2.LINE_AA)
    for sign in (-1, 1):
        cv2.line(image, (128 + sign * 92, 36), (128 + sign * 112, 90), seam, 5, cv2.LINE_AA)
        cv2.rectangle(image, (384 + sign * 52 - 30, 62), (384 + sign * 52 + 30, 126), seam, 4)
    cv2.line(image, (384, 36), (384, 159), seam, 4, cv2.LINE_AA)
    return image
