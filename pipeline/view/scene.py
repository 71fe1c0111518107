"""What there is to see in 3D, as plain arrays: the people of a frame, the floor, and the camera that filmed them.

World: metres, x right, y down, z away from the camera, the floor at y = 0 (that of render/stage.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics
from posepipe.pipeline.render.fan import bone_opacity
from posepipe.pipeline.render.palette import BACKGROUND_BOTTOM, SIDES, side, uncertainty_colours, uncertainty_level
from posepipe.pipeline.render.stage import GroundState, place
from posepipe.pipeline.render.viewpoint import ViewSettings, upright
from posepipe.pipeline.view.protocol import ViewFrame
from posepipe.skeleton import H36M_17

BONES = np.array(H36M_17.bones)
BONE_COLOURS = np.array([SIDES[side(H36M_17, child)] for _, child in H36M_17.bones], np.uint8)
POSE_COLOURS = (127 + BONE_COLOURS // 2).astype(np.uint8)  # half way to white: the pose stands out from its hypotheses
_SMALLEST, _LARGEST = 0.018, 0.05  # metres: the radius of a joint that is sure, and of one that is not
_CELL = 0.5  # metres of the floor's grid
_FRUSTUM = 0.45  # metres from the camera to the drawn image plane


@dataclass(frozen=True)
class Person:
    """joints: (17, 3) world metres, NaN where unknown. radii: (17,) metres and colours: (17, 3) uint8 RGB, both growing
    with the joint's uncertainty. fan: (H, 17, 3) world metres, opacity: (H,) 0..1; H is 0 without hypotheses."""

    id: int
    joints: NDArray[np.float64]
    radii: NDArray[np.float64]
    colours: NDArray[np.uint8]
    fan: NDArray[np.float64]
    opacity: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """people: those with a 3D pose. focus: floor point (x, z). camera: (3,) where the real camera stands, None while
    nobody's distance from it is known."""

    people: tuple[Person, ...]
    focus: tuple[float, float]
    camera: NDArray[np.float64] | None


def scene_of(frame: ViewFrame, ground: GroundState) -> Scene:
    """ground: the state after stage.update_ground for this frame."""
    people = []
    for track in frame.tracks:
        if track.pose3d is None:
            continue
        std = track.pose3d.joint_std
        fan, opacity = np.zeros((0, 17, 3)), np.zeros(0)
        if track.hypotheses is not None:
            fan = place(track.hypotheses.joints, track, ground, frame.view)
            opacity = np.clip(bone_opacity(track.hypotheses.log_weights), 0, 1)
        people.append(
            Person(
                track.id,
                place(track.pose3d.joints, track, ground, frame.view),
                _SMALLEST + (_LARGEST - _SMALLEST) * uncertainty_level(std),
                uncertainty_colours(std),
                fan,
                opacity,
            )
        )
    floors = [a.floor for a in ground.anchors if a.floor is not None and a.unseen == 0]
    camera = np.array([0.0, -float(np.median(floors)), 0.0]) if floors else None
    return Scene(tuple(people), ground.focus or (0.0, 0.0), camera)


def bones_of(joints: NDArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(..., 17, 3) -> (..., 16, 2, 3) ends of the bones, and (..., 16) which of them are known."""
    bones = np.asarray(joints, np.float64)[..., BONES, :]
    return bones, np.isfinite(bones).all((-1, -2))


def mixed(colour: NDArray, opacity: float) -> NDArray[np.float64]:
    """(..., 3) RGB 0..255 -> (..., 3) 0..1 over the background, for lines that cannot be translucent."""
    return opacity * np.asarray(colour) / 255 + (1 - opacity) * np.array(BACKGROUND_BOTTOM) / 255


def floor_lines(focus: tuple[float, float], reach: float = 3.0) -> NDArray[np.float64]:
    """(N, 2, 3) lines of a grid on the floor, `reach` metres to every side of the cell nearest to focus."""
    x0, z0 = (round(value / _CELL) * _CELL for value in focus)
    lines = []
    for offset in np.arange(-reach, reach + _CELL / 2, _CELL):
        lines.append([(x0 + offset, 0, z0 - reach), (x0 + offset, 0, z0 + reach)])
        lines.append([(x0 - reach, 0, z0 + offset), (x0 + reach, 0, z0 + offset)])
    return np.array(lines, np.float64)


def frustum_lines(position: NDArray, lens: Intrinsics, view: ViewSettings) -> NDArray[np.float64]:
    """(8, 2, 3) the pyramid from the camera at `position` to the corners of its image, and the image's frame."""
    pixels = np.array([(0, 0), (lens.width, 0), (lens.width, lens.height), (0, lens.height)], np.float64)
    rays = np.column_stack([(pixels - (lens.cx, lens.cy)) / (lens.fx, lens.fy), np.ones(4)])
    corners = position + upright(_FRUSTUM * rays, view)
    sides = [(position, corner) for corner in corners]
    return np.array([*sides, *((corners[i], corners[(i + 1) % 4]) for i in range(4))])


# A seven-segment display: top, upper left, upper right, middle, lower left, lower right, bottom; x right, y down.
_SEGMENTS = ((0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 1, 1), (0, 1, 1, 1), (0, 1, 0, 2), (1, 1, 1, 2), (0, 2, 1, 2))
_DIGITS = ("1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011")


def number_lines(number: int, at: NDArray, right: NDArray, size: float = 0.06) -> NDArray[np.float64]:
    """(N, 2, 3) strokes of a number that stands upright, centred above the point `at` (3,), reading along `right` (3,).

    size: metres that a digit is wide; for viewers that have no text in 3D."""
    digits = [int(digit) for digit in str(abs(number))]
    down = np.array([0.0, 1.0, 0.0])
    left = -(1.5 * len(digits) - 0.5) / 2
    strokes = []
    for i, digit in enumerate(digits):
        for lit, (x0, y0, x1, y1) in zip(_DIGITS[digit], _SEGMENTS, strict=True):
            if lit == "1":
                ends = ((left + 1.5 * i + x) * right + (y - 2.0) * down for x, y in ((x0, y0), (x1, y1)))
                strokes.append([at + size * end for end in ends])
    return np.array(strokes)
