"""What both sides of the comparison with MMPose are given: a picture, boxes, a narrow network's size and seed."""

from __future__ import annotations

import numpy as np

WIDTH, SEED = 4, 3
CODECS = ("msra", "dark", "udp")
# left, top, right, bottom: upright, wide, and one that reaches beyond the picture
BOXES = np.array([[60, 20, 150, 220], [20, 100, 300, 170.5], [-30, -20, 80, 120]], np.float32)


def picture() -> np.ndarray:
    """(240, 320, 3) uint8 RGB: blocks of three sizes, so that there are edges and plains."""
    random = np.random.default_rng(11)
    total = np.zeros((240, 320, 3))
    for cell in (5, 20, 80):
        total += random.uniform(0, 85, (240 // cell, 320 // cell, 3)).repeat(cell, 0).repeat(cell, 1)
    return total.astype(np.uint8)
