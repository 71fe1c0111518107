"""Virtual cameras: world joints of many people, each seen by a camera of its own, drawn at random.

World frame: y up, metres. Camera frame: x right, y down, z forward, metres. 2D is given on the plane z = 1 of the
camera (ray coordinates, posepipe.camera.rays), so that it needs no resolution. All is float32 and works on a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import UsageError

Floats = NDArray[np.float32]

# height / width of the images that cameras and phones make, upright and lying
ASPECTS = (9 / 16, 3 / 4, 1.0, 4 / 3, 16 / 9)


@dataclass(frozen=True)
class CameraRanges:
    """What cameras are drawn from. Yaw is uniform over the full turn.

    pitch_deg: uniform; negative looks down on the person. roll_deg: standard deviation, cut at three. distance: metres
    from the camera to the hip, log-uniform, since perspective changes with its ratio. fov_deg: uniform, over the longer
    image side. cut_share: of the samples the hip stands anywhere in the image and the image may cut the person off; in
    the others the camera steps back until the whole person fits. near: no joint is closer than this, metres.
    """

    pitch_deg: tuple[float, float] = (-45.0, 25.0)
    roll_deg: float = 4.0
    distance: tuple[float, float] = (1.5, 10.0)
    fov_deg: tuple[float, float] = (35.0, 90.0)
    cut_share: float = 0.2
    margin: float = 0.03
    near: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.near < self.distance[0] <= self.distance[1]:
            raise UsageError(f"Camera distances {self.distance} must be positive, ordered and beyond {self.near} m.")
        if not 5 <= self.fov_deg[0] <= self.fov_deg[1] <= 170:
            raise UsageError(f"Fields of view {self.fov_deg} must be ordered and between 5 and 170 degrees.")
        if not -90 < self.pitch_deg[0] <= self.pitch_deg[1] < 90:
            raise UsageError(f"Camera pitches {self.pitch_deg} must be ordered and between -90 and 90 degrees.")


@dataclass(frozen=True)
class Views:
    """People as their cameras see them.

    joints: (N, 17, 3) metres, absolute, camera frame. rays: (N, 17, 2) = (x/z, y/z). inside: (N, 17) bool, the joint is
    within the image. rotation: (N, 3, 3) world to camera. half_extent: (N, 2), the image spans +-half_extent on z = 1.
    """

    joints: Floats
    rays: Floats
    inside: NDArray[np.bool_]
    rotation: Floats
    half_extent: Floats


def world_to_camera(yaw: NDArray, pitch: NDArray, roll: NDArray) -> NDArray:
    """(N,) radians each -> (N, 3, 3) R = Rz(roll) Rx(-pitch) diag(1, -1, -1) Ry(yaw).

    yaw turns the person about the vertical, pitch > 0 tilts the camera up, roll > 0 turns the image clockwise."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    zero = np.zeros_like(cy)
    tilted = np.stack([cy, zero, sy, sp * sy, -cp, -sp * cy, cp * sy, sp, -cp * cy], axis=-1).reshape(-1, 3, 3)
    turn = np.stack([cr, -sr, zero, sr, cr, zero, zero, zero, zero + 1], axis=-1).reshape(-1, 3, 3)
    return turn @ tilted


DEFAULT_CAMERAS = CameraRanges()


def sample_views(joints: Floats, rng: np.random.Generator, ranges: CameraRanges = DEFAULT_CAMERAS) -> Views:
    """See each of joints (N, 17, 3) m (world frame, joint 0 the hip; where in the world does not matter) by a camera of
    its own. Draws 11 numbers per sample whatever the ranges, so that a seed means the same cameras for other poses."""
    count = len(joints)
    u = rng.random((11, count), dtype=np.float32)
    # three uniforms give a bell of standard deviation 1/2 that ends at +-1.5
    roll = np.float32(2 * np.radians(ranges.roll_deg)) * (u[0] + u[1] + u[2] - np.float32(1.5))
    pitch = np.radians(_between(u[3], *ranges.pitch_deg))
    rotation = world_to_camera(np.float32(2 * np.pi) * u[4], pitch, roll)
    around_hip = (joints - joints[:, :1]) @ rotation.swapaxes(1, 2)

    half_extent = _half_extents(u[5], np.radians(_between(u[6], *ranges.fov_deg)))
    by_joint = np.ascontiguousarray(around_hip.transpose(1, 0, 2))  # reducing over the first axis is 10x faster
    nearest = by_joint[..., 2].min(axis=0)
    # With the hip at depth z and at h on the plane z = 1, joint (X, Z) is inside +-room if |h z + X| <= room (z + Z),
    # so -room - low / z <= h <= room - high / z with low = min(X + room Z), high = max(X - room Z).
    room = half_extent * np.float32(1 - ranges.margin)
    aslant = room * by_joint[..., 2:]
    low, high = (by_joint[..., :2] + aslant).min(axis=0), (by_joint[..., :2] - aslant).max(axis=0)
    low_log, high_log = np.log(ranges.distance[0]), np.log(ranges.distance[1])
    distance = np.exp(_between(u[7], low_log, high_log))
    whole = u[8] >= ranges.cut_share
    fits_at = ((high - low) / (2 * room)).max(axis=1)
    depth = np.where(whole, np.clip(fits_at, distance, ranges.distance[1]), distance)

    # Where the hip may stand on the image for the whole person to be on it; the middle of that where it cannot be.
    from_edge, to_edge = -room - low / depth[:, None], room - high / depth[:, None]
    middle, free = (from_edge + to_edge) / 2, np.maximum(to_edge - from_edge, 0) / 2
    u_hip = u[9:].T * 2 - 1
    hip = np.where(whole[:, None], middle + free * u_hip, half_extent * u_hip)
    slant = np.sqrt(1 + (hip**2).sum(axis=1))  # distance = depth * slant
    depth = np.where(whole, np.minimum(depth, np.float32(ranges.distance[1]) / slant), depth / slant)
    depth = np.maximum(depth, np.float32(ranges.near) - nearest)

    towards = np.concatenate([hip, np.ones((count, 1), np.float32)], axis=1)
    seen = around_hip + (towards * depth[:, None])[:, None, :]
    rays = seen[..., :2] / seen[..., 2:]
    within = np.abs(rays) <= half_extent[:, None, :]
    inside = within[..., 0] & within[..., 1]
    return Views(seen, rays, inside, rotation, half_extent)


def _between(u: Floats, low: float, high: float) -> Floats:
    return np.float32(low) + np.float32(high - low) * u


def _half_extents(u: Floats, fov: Floats) -> Floats:
    """(N, 2) half width and half height of the image on z = 1; fov (N,) radians spans the longer side."""
    aspect = np.array(ASPECTS, np.float32)[np.minimum((u * len(ASPECTS)).astype(int), len(ASPECTS) - 1)]
    longer = np.tan(fov / 2)
    return np.stack([longer / np.maximum(aspect, 1), longer * np.minimum(aspect, 1)], axis=-1)
