"""The whole picture: the video frame with 2D keypoints on the left, the 3D view on the right."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.fan3d import draw_view3d
from posepipe.pipeline.render.legend import Caption, draw_legend, draw_message, title_frame, title_view
from posepipe.pipeline.render.overlay2d import draw_pose2d
from posepipe.pipeline.render.palette import BACKGROUND_BOTTOM
from posepipe.pipeline.render.stage import GroundState
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.types import Track

_WIDEST_FRAME, _NARROWEST_FRAME = 16 / 9, 0.4  # times the height; anything beyond is letterboxed
_VIEW_SHARE = 8 / 9  # the 3D view is at least this times as wide as the picture is high
_PICTURE_SHARE = 16 / 9  # and the whole picture at least this: a portrait video gives 1280 x 720


def _even(value: float) -> int:
    """The nearest even number, since video codecs halve the colour planes."""
    return 2 * round(value / 2)


def panel_widths(width: int, height: int, panel_height: int) -> tuple[int, int]:
    """(left, right) widths of the picture for a source of width x height; both even, constant for a source."""
    left = _even(panel_height * min(max(width / height, _NARROWEST_FRAME), _WIDEST_FRAME))
    return left, max(_even(panel_height * _VIEW_SHARE), _even(panel_height * _PICTURE_SHARE) - left)


def picture_size(width: int, height: int, view: ViewSettings) -> tuple[int, int]:
    """(width, height) of what compose makes from a source of width x height. Both even; 1280x720 for a portrait phone
    video, 1920x720 for 16:9."""
    panel = _even(view.height)
    return sum(panel_widths(width, height, panel)), panel


def compose(
    frame: NDArray[np.uint8],
    tracks: tuple[Track, ...],
    caption: Caption,
    view: ViewSettings,
    ground: GroundState,
) -> NDArray[np.uint8]:
    """Draw one picture, (H, W, 3) uint8 RGB of the size picture_size names.

    frame: (h, w, 3) uint8 RGB, not changed. ground: the state after stage.update_ground for this frame. The same
    arguments give the same bytes."""
    width, panel = picture_size(frame.shape[1], frame.shape[0], view)
    left, right = panel_widths(frame.shape[1], frame.shape[0], panel)
    picture = np.empty((panel, width, 3), np.uint8)
    picture[:, :left] = _draw_frame(frame, tracks, caption, left, panel)
    side = draw_view3d(tracks, ground, view, right, panel)
    title_view(side, caption, view.yaw_deg)
    draw_legend(side)
    if not tracks:
        draw_message(side, "no person in view")
    elif all(t.pose3d is None for t in tracks):
        draw_message(side, "no 3D pose yet")
    picture[:, left:] = side
    return picture


def _draw_frame(
    frame: NDArray[np.uint8], tracks: tuple[Track, ...], caption: Caption, width: int, height: int
) -> NDArray[np.uint8]:
    """The left half: the frame scaled to fit, letterboxed if its shape is extreme, with everybody's keypoints."""
    scale = min(width / frame.shape[1], height / frame.shape[0])
    inner = (min(width, max(1, round(frame.shape[1] * scale))), min(height, max(1, round(frame.shape[0] * scale))))
    if width - inner[0] < 4 and height - inner[1] < 4:
        inner = (width, height)  # a pixel or two of stretch rather than a dark line along the edge
    small = _resize(frame, *inner)
    for track in tracks:
        draw_pose2d(small, track.pose2d, f"#{track.id}" if len(tracks) > 1 else "", scale)
    if inner != (width, height):
        panel = np.full((height, width, 3), BACKGROUND_BOTTOM, np.uint8)
        x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
        panel[y : y + inner[1], x : x + inner[0]] = small
        small = panel
    title_frame(small, caption)
    return small


def _resize(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale; exact halvings first, because averaging at odd ratios is slow and interpolating across many pixels
    aliases."""
    while frame.shape[1] >= 2 * width and frame.shape[0] >= 2 * height:
        half = (frame.shape[1] // 2, frame.shape[0] // 2)
        frame = np.asarray(cv2.resize(frame, half, interpolation=cv2.INTER_AREA), np.uint8)
    if frame.shape[:2] == (height, width):
        return frame.copy()
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
