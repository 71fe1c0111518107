"""The colours of every picture posepipe draws, as RGB, and the ramp that turns a joint's uncertainty into a colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.skeleton import Skeleton

Colour = tuple[int, int, int]

LEFT: Colour = (66, 176, 255)
RIGHT: Colour = (255, 122, 92)
CENTRE: Colour = (214, 222, 235)
SIDES: tuple[Colour, Colour, Colour] = (CENTRE, LEFT, RIGHT)

BACKGROUND_TOP: Colour = (26, 30, 40)
BACKGROUND_BOTTOM: Colour = (13, 15, 21)
GRID: Colour = (74, 86, 110)
OUTLINE: Colour = (12, 14, 20)
RIM: Colour = (240, 243, 248)
TEXT: Colour = (232, 237, 245)
TEXT_QUIET: Colour = (146, 157, 178)

STD_LOW, STD_HIGH = 0.02, 0.15  # metres: the two ends of the ramp; what lies outside takes the end's colour
# Control points of the ramp. Lightness rises all the way, so that the order survives greyscale and colour blindness.
_RAMP = np.array(
    [(84, 56, 158), (58, 98, 176), (38, 141, 158), (63, 184, 122), (158, 217, 72), (253, 231, 72)], np.float64
)


def side(skeleton: Skeleton, joint: int) -> int:
    """0 for a joint on the body's middle line, 1 on its left, 2 on its right (an index into SIDES)."""
    return 1 if joint in skeleton.left else 2 if joint in skeleton.right else 0


def uncertainty_level(std: NDArray) -> NDArray[np.float64]:
    """(...) metres -> (...) place on the ramp, 0 at STD_LOW and below to 1 at STD_HIGH and above.

    NaN (unknown) is 1: unknown is not certain."""
    level = (np.asarray(std, np.float64) - STD_LOW) / (STD_HIGH - STD_LOW)
    return np.clip(np.nan_to_num(level, nan=1.0, posinf=1.0, neginf=0.0), 0, 1)


def uncertainty_colours(std: NDArray) -> NDArray[np.uint8]:
    """(...) metres -> (..., 3) uint8 RGB; dark violet at STD_LOW and below, bright yellow at STD_HIGH and above.

    The lightness of the colour rises with std; NaN (unknown) is as bright as STD_HIGH."""
    position = uncertainty_level(std) * (len(_RAMP) - 1)
    knots = np.arange(len(_RAMP))
    channels = [np.interp(position, knots, _RAMP[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
