"""All hypotheses of a person as one translucent layer.

Every hypothesis is drawn with anti-aliased lines into one of a few small layers, with one channel per body side, and
the layers are added up to a density: where hypotheses agree the lines add up, where they differ they fan out. The
density becomes light on the picture in one step, so nothing is blended once per hypothesis.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.palette import SIDES, side
from posepipe.pipeline.render.strokes import fixed, lines, usable
from posepipe.skeleton import H36M_17
from posepipe.types import Hypotheses

_BONES = np.array(H36M_17.bones)
_SIDE_OF_BONE = np.array([side(H36M_17, child) for _, child in H36M_17.bones])
_LAYERS = 24  # up to so many hypotheses add up exactly; beyond, those that share a layer cover each other
_FULL = 64.0  # density of one bone of opacity 1; a pixel saturates at four of them
_LIGHT = 0.80  # how bright a dense fan gets beside the solid pose


def _tone_curve() -> NDArray[np.uint8]:
    """Density 0..255 -> light: nearly proportional for single lines, saturating where many lie on each other."""
    return (255 * _LIGHT * (1 - np.exp(-np.arange(256) / _FULL)) + 0.5).astype(np.uint8)


_TONE = _tone_curve()
_TINT = np.array(SIDES, np.float32).T / 255  # from density per side to RGB


def bone_opacity(log_weights: NDArray) -> NDArray[np.float64]:
    """(H,) opacity of each hypothesis: grows with its weight, and falls with H so that the fan keeps its brightness.

    The square root keeps unlikely hypotheses in sight. Weights that are not finite count as 0."""
    count = len(log_weights)
    share = np.nan_to_num(np.exp(np.asarray(log_weights, np.float64)), nan=0.0, posinf=0.0)
    relative = np.clip(np.sqrt(share * count), 0.25, 1.8)
    return relative * min(1.0, 3.8 / np.sqrt(count))


def draw_fan(image: NDArray[np.uint8], pixels: NDArray, hypotheses: Hypotheses) -> None:
    """Add the fan in place. pixels: (H, 17, 2) projected joints; bones with a missing joint are left out."""
    bones = pixels[:, _BONES]  # (H, 16, 2, 2)
    good = usable(bones).all(axis=-1)
    inside = bones[good]
    if not len(inside):
        return
    margin = 3
    low = np.maximum(np.floor(inside.min((0, 1))) - margin, 0).astype(int)
    high = np.minimum(np.ceil(inside.max((0, 1))) + margin, (image.shape[1], image.shape[0])).astype(int)
    if (low >= high).any():
        return
    region = image[low[1] : high[1], low[0] : high[0]]
    points = fixed(np.where(good[..., None, None], bones - low, 0.0))
    density = _density(points, good, bone_opacity(hypotheses.log_weights), region.shape)
    light = cv2.transform(cv2.LUT(cv2.GaussianBlur(density, (3, 3), 0.55), _TONE), _TINT)
    region[:] = cv2.add(np.ascontiguousarray(region), light)


def _density(
    points: NDArray[np.int32], good: NDArray[np.bool_], opacity: NDArray, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Sum of the layers: (h, w, 3) uint8, channels middle, left, right.

    points: (H, 16, 2, 2) fixed point; good: (H, 16) which bones exist; opacity: (H,)."""
    count = len(points)
    layers = min(_LAYERS, count)
    order = np.argsort(opacity, kind="stable")  # the likelier on top of those in the same layer
    value = np.maximum(np.rint(_FULL * opacity), 4)
    total = np.zeros(shape, np.uint8)
    layer = np.empty_like(total)
    for first in range(layers):
        layer[:] = 0
        for h in order[first::layers]:
            for channel in range(3):
                chosen = points[h, (channel == _SIDE_OF_BONE) & good[h]]
                colour = [0.0, 0.0, 0.0]
                colour[channel] = value[h]
                lines(layer, chosen, colour, 1)
        cv2.add(total, layer, dst=total)
    return total
