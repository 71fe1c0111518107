"""Cutting a person out for a top-down network, and bringing its answers back into the picture.

The crop is the person's box, enlarged and widened or heightened to the network's shape, as MMPose's
GetBBoxCenterScale and TopdownAffine do (Xiao et al. 2018, "Simple Baselines", section 3); with `udp` corners of pixels
lie on corners (Huang et al. 2020, "The Devil is in the Details", section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Crop:
    """Part of a picture. centre: (2,) pixels; size: (2,) its width and height, pixels."""

    centre: NDArray[np.float32]
    size: NDArray[np.float32]

    def place(self, shares: NDArray) -> NDArray[np.float32]:
        """Points (..., 2) as shares of the crop, 0..1, -> pixels of the picture."""
        return (shares * self.size + self.centre - 0.5 * self.size).astype(np.float32)


def crop_around(box: NDArray, width: int, height: int, padding: float) -> Crop:
    """box: (4,) left, top, right, bottom, pixels. The crop has the shape width : height."""
    box = np.asarray(box, np.float32)
    centre, (across, down) = (box[:2] + box[2:4]) / 2, (box[2:4] - box[:2]) * padding
    shape = width / height
    across, down = (across, across / shape) if across > down * shape else (down * shape, down)
    return Crop(centre, np.array([max(across, 1.0), max(down, 1.0)], np.float32))


def cut(image: NDArray[np.uint8], crop: Crop, width: int, height: int, udp: bool) -> NDArray[np.uint8]:
    """(height, width, 3); black where the crop reaches beyond the picture."""
    x, y = crop.centre
    across, down = crop.size
    if udp:
        by, to = np.array([(width - 1) / across, (height - 1) / down]), np.array([across, down]) / 2
        shift = by * (to - crop.centre)
    else:
        by = np.array([width / across, width / across])
        shift = np.array([width / 2, height / 2]) - by * np.array([x, y])
    matrix = np.array([[by[0], 0, shift[0]], [0, by[1], shift[1]]])
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)
