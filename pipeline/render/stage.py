"""Where each person stands in the 3D view, kept steady over time.

Nothing here remembers by itself: the caller holds a GroundState and passes it to the next frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.viewpoint import ViewSettings, upright
from posepipe.skeleton import H36M_17
from posepipe.types import Track

# Shares of the remaining difference made up per frame.
_FLOOR_FALLS, _FLOOR_RISES = 0.5, 0.02  # a foot below the floor is proof, a lifted foot is none
_FOLLOW, _FOCUS, _ZOOM_OUT, _ZOOM_IN = 0.3, 0.1, 0.15, 0.02
_SNAP = 1.5  # metres: a root that jumps further than this is a new place, not noise
_FORGET = 30  # frames a person may be out of sight before their place is given up
_MAX_RADIUS = 4.0  # metres: further people get small rather than everybody
_FARTHEST = 60.0  # metres from the camera; a fit beyond that is a failed fit
_SPACING = 1.2  # metres between people whose place nobody knows
_FEET = (H36M_17.index("l_ankle"), H36M_17.index("r_ankle"))
_HIP = 0.95  # metres from the hip to the floor where no foot is known
_SOLE = 0.07  # metres from ankle to floor


@dataclass(frozen=True)
class Anchor:
    """A person's place: floor point (x, z) and height of the floor (y, downwards), metres in the upright camera frame.

    floor is None while no absolute position was ever known; the lowest foot is then put on the floor."""

    track: int
    x: float
    z: float
    floor: float | None
    unseen: int = 0


@dataclass(frozen=True)
class GroundState:
    """Everything the 3D view carries from frame to frame. focus: the floor point looked at; radius: metres to
    either side of it that people take."""

    anchors: tuple[Anchor, ...] = ()
    focus: tuple[float, float] | None = None
    radius: float = 0.0

    def anchor(self, track: int) -> Anchor | None:
        return next((a for a in self.anchors if a.track == track), None)


def update_ground(state: GroundState, tracks: tuple[Track, ...], view: ViewSettings) -> GroundState:
    """The state for this frame: floors fall fast and rise slowly, places and the focus follow smoothly.

    People out of sight keep their place for a second; without anyone the view stays where it was."""
    anchors = [replace(a, unseen=a.unseen + 1) for a in state.anchors if a.unseen < _FORGET]
    for track in tracks:
        if track.pose3d is None:
            continue
        known = next((i for i, a in enumerate(anchors) if a.track == track.id), None)
        moved = _moved(None if known is None else anchors[known], track, view, len(anchors))
        if known is None:
            anchors.append(moved)
        else:
            anchors[known] = moved
    seen = [a for a in anchors if a.unseen == 0]
    if not seen:
        return replace(state, anchors=tuple(anchors))
    places = np.array([(a.x, a.z) for a in seen])
    centre = (places.min(0) + places.max(0)) / 2
    fresh = state.focus is None or float(np.hypot(*(centre - state.focus))) > 2 * _SNAP
    focus = centre if state.focus is None or fresh else state.focus + _FOCUS * (centre - state.focus)
    wanted = min(_spread(places - centre, view), _MAX_RADIUS)
    rate = 1.0 if fresh else _ZOOM_OUT if wanted > state.radius else _ZOOM_IN
    radius = state.radius + rate * (wanted - state.radius)
    return GroundState(tuple(anchors), (float(focus[0]), float(focus[1])), radius)


def _spread(offsets: NDArray, view: ViewSettings) -> float:
    """Metres the view must reach to hold floor points at these (N, 2) offsets: what lies behind takes less room."""
    yaw = np.radians(view.yaw_deg)
    sideways = offsets @ (np.cos(yaw), np.sin(yaw))
    away = offsets @ (-np.sin(yaw), np.cos(yaw))
    return float(np.maximum(np.abs(sideways), np.abs(away) / 2).max())


def _moved(anchor: Anchor | None, track: Track, view: ViewSettings, place: int) -> Anchor:
    """The person's anchor after this frame; `place` numbers people whose position nobody knows."""
    assert track.pose3d is not None
    root = upright(track.pose3d.root, view)
    if not _known(root):
        return replace(anchor, unseen=0) if anchor else Anchor(track.id, place * _SPACING, 0.0, None)
    feet = _lowest_foot(track, view)
    if anchor is None or anchor.floor is None or np.hypot(root[0] - anchor.x, root[2] - anchor.z) > _SNAP:
        return Anchor(track.id, float(root[0]), float(root[2]), None if feet is None else float(root[1] + feet))
    floor = anchor.floor
    if feet is not None:
        gap = root[1] + feet - floor
        floor += (_FLOOR_FALLS if gap > 0 else _FLOOR_RISES) * gap
    x, z = anchor.x + _FOLLOW * (root[0] - anchor.x), anchor.z + _FOLLOW * (root[2] - anchor.z)
    return Anchor(track.id, float(x), float(z), float(floor))


def _known(root: NDArray) -> bool:
    """Whether a position can be believed enough to stand somebody there."""
    return bool((np.abs(root) < _FARTHEST).all())  # NaN compares false


def _lowest_foot(track: Track, view: ViewSettings) -> float | None:
    """Metres from the hip down to the sole of the lower foot; None when neither ankle is known."""
    assert track.pose3d is not None
    ankles = upright(track.pose3d.joints[list(_FEET)], view)[:, 1]
    return float(np.nanmax(ankles)) + _SOLE if np.isfinite(ankles).any() else None


def place(joints: NDArray, track: Track, state: GroundState, view: ViewSettings) -> NDArray[np.float64]:
    """(..., 17, 3) hip-relative metres of this person -> the world of the 3D view (y down, floor at y = 0)."""
    assert track.pose3d is not None
    anchor = state.anchor(track.id) or Anchor(track.id, 0.0, 0.0, None)
    root = upright(track.pose3d.root, view)
    standing = anchor.floor is not None and _known(root)
    hip = root[1] - anchor.floor if standing else -(_lowest_foot(track, view) or _HIP)
    return upright(joints, view) + np.array([anchor.x, hip, anchor.z])
