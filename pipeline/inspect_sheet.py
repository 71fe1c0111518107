"""The contact sheet of `posepipe inspect`: every sample with the names of its joints and the colours of its sides."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.inspect_video import EXCHANGED, PLAUSIBLE, Inspection, Sample, verdict
from posepipe.pipeline.render.legend import clock
from posepipe.pipeline.render.overlay2d import draw_pose2d, visible_joints
from posepipe.pipeline.render.palette import BACKGROUND_TOP, LEFT, RIGHT, SIDES, TEXT, TEXT_QUIET, Colour, side
from posepipe.pipeline.render.text import draw_text, text_width
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.skeleton import H36M_17
from posepipe.types import Pose2D

TILE_WIDTH, TILE_HEIGHT = 460, 500
_NAMES = 88  # pixels on either side of a tile for the names
_TITLE, _CAPTION, _GAP = 46, 30, 8
_LINE = 15  # pixels between names
_WARNING: Colour = (255, 205, 70)
_GOOD: Colour = (120, 220, 150)
_FRAME = 6  # pixels of the border around a tile whose sides look exchanged
_DOUBTFUL = 0.5


def write_sheet(inspection: Inspection, path: Path) -> None:
    """The sheet as PNG. Raises OutputError when it cannot be written."""
    sheet = draw_sheet(inspection)
    _, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def draw_sheet(inspection: Inspection) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: tiles in reading order, at most five in a row."""
    samples = inspection.samples
    columns = min(max(math.ceil(math.sqrt(len(samples) * 1.6)), 1), 5)
    rows = max(math.ceil(len(samples) / columns), 1)
    width = columns * (TILE_WIDTH + _GAP) + _GAP
    sheet = np.empty((_TITLE + rows * (TILE_HEIGHT + _CAPTION + _GAP), width, 3), np.uint8)
    sheet[:] = BACKGROUND_TOP
    _title(sheet, inspection)
    for number, sample in enumerate(samples):
        row, column = divmod(number, columns)
        y, x = _TITLE + row * (TILE_HEIGHT + _CAPTION + _GAP), _GAP + column * (TILE_WIDTH + _GAP)
        sheet[y + _CAPTION : y + _CAPTION + TILE_HEIGHT, x : x + TILE_WIDTH] = draw_tile(sample)
        if sample.sides == EXCHANGED:
            corner = x + TILE_WIDTH - 1, y + _CAPTION + TILE_HEIGHT - 1
            cv2.rectangle(sheet, (x, y + _CAPTION), corner, _WARNING, _FRAME)
        text, colour = _caption(sample)
        draw_text(sheet, text, (x + 2, y + 21), 11, colour)
    return sheet


def _title(sheet: NDArray[np.uint8], inspection: Inspection) -> None:
    x = _GAP + 2.0
    for text, colour in (("the person's left", LEFT), ("the person's right", RIGHT)):
        cv2.line(sheet, (round(x), 22), (round(x) + 20, 22), colour, 5, cv2.LINE_AA)
        x += 28 + draw_text(sheet, text, (x + 26, 27), 12, colour) + 14
    sides, said = verdict(inspection)
    colour = _GOOD if sides == PLAUSIBLE else _WARNING
    title = f"{inspection.source.name}   {inspection.detector}, {inspection.conversion}"
    if x + text_width(said, 12) + 12 > sheet.shape[1]:  # a sheet of one tile: the verdict is what is asked for
        draw_text(sheet, said, (_GAP + 2.0, 43), 10, colour)
        return
    x += draw_text(sheet, said, (x + 6, 27), 12, colour) + 24
    if x + text_width(title, 12) < sheet.shape[1]:
        draw_text(sheet, title, (x + 6, 27), 12, TEXT)


def _caption(sample: Sample) -> tuple[str, Colour]:
    place = f"frame {sample.frame.index}  {clock(sample.frame.pts)}"
    if sample.pose is None:
        return f"{place}  nobody found", _WARNING
    if sample.sides == EXCHANGED:
        return f"{place}  LEFT AND RIGHT LOOK EXCHANGED", _WARNING
    return f"{place}  confidence {float(sample.pose.confidence.mean()):.2f}", TEXT_QUIET


def draw_tile(sample: Sample) -> NDArray[np.uint8]:
    """(TILE_HEIGHT, TILE_WIDTH, 3) uint8 RGB: the part of the picture with the person, names at both sides."""
    tile = np.empty((TILE_HEIGHT, TILE_WIDTH, 3), np.uint8)
    tile[:] = np.array(BACKGROUND_TOP) // 2
    pose = sample.pose
    seen = visible_joints(pose) if pose is not None else np.zeros(17, bool)
    names = _NAMES if seen.any() else 0
    room = TILE_WIDTH - 2 * names, TILE_HEIGHT
    box = _box(pose, seen, sample.frame.image.shape, room)
    scale = min(room[0] / (box[2] - box[0]), room[1] / (box[3] - box[1]))
    size = max(1, round((box[2] - box[0]) * scale)), max(1, round((box[3] - box[1]) * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = np.asarray(cv2.resize(sample.frame.image[box[1] : box[3], box[0] : box[2]], size, interpolation=way))
    x0, y0 = names + (room[0] - size[0]) // 2, (room[1] - size[1]) // 2
    tile[y0 : y0 + size[1], x0 : x0 + size[0]] = part
    if pose is not None and seen.any():
        moved = Pose2D((pose.keypoints - box[:2]).astype(np.float32), pose.confidence, pose.skeleton)
        view = np.ascontiguousarray(tile[y0 : y0 + size[1], x0 : x0 + size[0]])
        draw_pose2d(view, moved, scale=scale)
        tile[y0 : y0 + size[1], x0 : x0 + size[0]] = view
        _names(tile, moved.keypoints * scale + (x0, y0), pose.confidence, seen)
    return tile


def _box(
    pose: Pose2D | None, seen: NDArray[np.bool_], shape: tuple[int, ...], room: tuple[int, int]
) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the part to show: the person with a margin, widened to the tile's shape; else everything."""
    whole = 0, 0, shape[1], shape[0]
    if pose is None or not seen.any():
        return whole
    points = np.clip(pose.keypoints[seen], (0, 0), (shape[1], shape[0]))
    low, high = points.min(0), points.max(0)
    half = (high - low) * 0.5 + 0.12 * max(*(high - low), 32.0)
    half = np.maximum(half, half[::-1] * (room[0] / room[1], room[1] / room[0]))
    start = np.clip(np.floor((low + high) / 2 - half), 0, None).astype(int)
    end = np.minimum(np.ceil((low + high) / 2 + half), (shape[1], shape[0])).astype(int)
    return int(start[0]), int(start[1]), int(end[0]), int(end[1])


def _names(tile: NDArray[np.uint8], points: NDArray, confidence: NDArray, seen: NDArray[np.bool_]) -> None:
    """The joints' names in two columns, in the order of their heights, each with a line to its joint."""
    order = [int(j) for j in np.argsort(points[:, 0], kind="stable") if seen[j]]
    half = (len(order) + 1) // 2
    for joints, align, x in ((order[:half], 1.0, _NAMES - 8), (order[half:], 0.0, TILE_WIDTH - _NAMES + 8)):
        joints.sort(key=lambda j: float(points[j, 1]))
        heights = _spread([float(points[j, 1]) for j in joints])
        for joint, y in zip(joints, heights, strict=True):
            colour = SIDES[side(H36M_17, joint)]
            text = H36M_17.joints[joint] + ("?" if confidence[joint] < _DOUBTFUL else "")
            draw_text(tile, text, (x, y + 4), 9.5, colour, align=align)
            joint_at = np.clip(points[joint], -1e4, 1e4)
            end = round(x + (3 if align else -3)), round(y)
            cv2.line(tile, end, (round(joint_at[0]), round(joint_at[1])), [c * 0.8 for c in colour], 1, cv2.LINE_AA)


def _spread(wanted: list[float]) -> list[float]:
    """Rising heights -> the same, at least _LINE apart and inside the tile."""
    heights: list[float] = []
    for value in wanted:
        heights.append(max(value, heights[-1] + _LINE if heights else float(_LINE)))
    limit = TILE_HEIGHT - _LINE / 2
    for place in range(len(heights) - 1, -1, -1):
        heights[place] = min(heights[place], limit)
        limit = heights[place] - _LINE
    return heights
