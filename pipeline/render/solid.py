"""The aggregate pose as a solid figure: bones as shaded rods, joints as discs, far parts first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.palette import OUTLINE, RIM, SIDES, side, uncertainty_colours, uncertainty_level
from posepipe.pipeline.render.strokes import disc, fixed, line, usable
from posepipe.skeleton import H36M_17

_ROD = 0.021  # metres: a bone's thickness
_DISC = 0.026  # metres: a joint's radius
_BACK = 0.55  # brightness of what lies half a metre or more behind the hip


def draw_solid(
    image: NDArray[np.uint8], pixels: NDArray, depth: NDArray, joint_std: NDArray, metres_to_pixels: float
) -> None:
    """Draw one pose in place.

    pixels: (17, 2) projected joints. depth: (17,) metres from the virtual camera. joint_std: (17,) metres, colour and
    size of the joint. metres_to_pixels: the scale at the person. Joints that are not finite are left out."""
    good = usable(pixels) & np.isfinite(depth)
    if not good.any():
        return
    spots = fixed(np.where(good[:, None], pixels, 0.0))
    depth = np.where(good, depth, 0.0)
    middle = float(depth[good].mean())
    rod = max(3, round(_ROD * metres_to_pixels))
    radius = max(3.5, _DISC * metres_to_pixels)
    colours = uncertainty_colours(joint_std)
    size = radius * (0.72 + 0.5 * uncertainty_level(joint_std))
    parts = [(float(depth[a] + depth[b]) / 2, b, a) for a, b in H36M_17.bones if good[a] and good[b]]
    front = depth.copy()  # a joint lies in front of the bones that meet in it, so that its colour is always seen
    for far, joint, parent in parts:
        front[[joint, parent]] = np.minimum(front[[joint, parent]], far)
    parts += [(float(front[j]) - 1e-3, int(j), -1) for j in np.flatnonzero(good)]
    for far, joint, parent in sorted(parts, reverse=True):
        shade = float(np.clip(1 - 0.9 * (far - middle), _BACK, 1.0))
        if parent >= 0:
            _bone(image, spots[parent], spots[joint], SIDES[side(H36M_17, joint)], rod, shade)
        else:
            _joint(image, spots[joint], colours[joint], float(size[joint]))


def _bone(
    image: NDArray[np.uint8], a: NDArray, b: NDArray, colour: tuple[int, int, int], rod: int, shade: float
) -> None:
    edge = max(2, rod // 2)
    line(image, a, b, OUTLINE, rod + edge)
    line(image, a, b, [c * shade * 0.86 for c in colour], rod)
    line(image, a, b, [(c + 0.35 * (255 - c)) * shade for c in colour], max(1, rod // 3))


def _joint(image: NDArray[np.uint8], spot: NDArray, colour: NDArray, radius: float) -> None:
    disc(image, spot, radius + 2.6, OUTLINE)
    disc(image, spot, radius + 1.2, RIM)
    disc(image, spot, radius, colour.tolist())
