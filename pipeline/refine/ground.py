"""The ground under a clip: one plane for all of it, fitted to where feet stood, in the camera frame.

Putting every frame's lowest joint on the floor instead (z - min(z)) makes the floor follow the noise of an ankle, and a
jump disappear.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.skeleton import H36M_17

ANKLES = (H36M_17.index("l_ankle"), H36M_17.index("r_ankle"))
_THORAX = H36M_17.index("thorax")
ANKLE_HEIGHT = 0.08  # metres from the ankle's centre to the sole, of the CMU subjects that the shipped weights know

_UP_DOUBT = np.radians(4.0)  # how far the "up" of bodies is off, as measured: 0.5 to 8 degrees, mostly below 4
_FOOT_DOUBT = 0.05  # metres: scatter of a standing ankle
_STEPS = 5  # looks at the ground that a clip is worth: frames err together. With more, people on a spot tilt the plane
_ROUNDS = 10
_FEWEST = 10


@dataclass(frozen=True)
class Ground:
    """A plane in the camera frame: up (3,) unit vector, away from the ground; height: metres from it to the camera.

    looks: number of frames that it was fitted to. scatter: metres, median distance of the lower sole from it."""

    up: tuple[float, float, float]
    height: float
    looks: int
    scatter: float

    def heights(self, points: NDArray) -> NDArray[np.float64]:
        """(..., 3) metres in the camera frame -> (...) metres above the ground."""
        return np.asarray(points, np.float64) @ np.array(self.up) + self.height

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3) camera frame -> world with y up: z is where the camera looks along the ground, turned towards it
        (right-handed: x right, y up, z towards the camera), as in exported BVH and TRC."""
        up = np.array(self.up)
        back = np.array([0.0, 0.0, -1.0])
        back = back - (back @ up) * up
        if np.linalg.norm(back) < 1e-6:  # a camera that looks straight down: its lower edge is towards it
            back = np.array([0.0, 1.0, 0.0])
        back = back / np.linalg.norm(back)
        return np.stack([np.cross(up, back), up, back])

    def to_world(self, points: NDArray) -> NDArray[np.float64]:
        """(..., 3) metres in the camera frame -> the world: y = 0 is the ground, the camera stands above the origin."""
        return np.asarray(points, np.float64) @ self.rotation.T + np.array([0.0, self.height, 0.0])

    def scaled(self, factor: float) -> Ground:
        return Ground(self.up, self.height * factor, self.looks, self.scatter * factor)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def ground_from_json(text: str) -> Ground:
    """The inverse of Ground.to_json. Raises ValueError for other text."""
    data = json.loads(text)
    try:
        up = tuple(float(v) for v in data["up"])
        return Ground((up[0], up[1], up[2]), float(data["height"]), int(data["looks"]), float(data["scatter"]))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a ground ({error})") from None


def fit_ground(pose: NDArray, root: NDArray, ankle_height: float = ANKLE_HEIGHT) -> Ground | None:
    """The plane on which these people stood: pose (N, 17, 3) hip-relative and root (N, 3), metres, camera frame, of all
    people and frames. None where fewer than ten frames have both.

    Up is first the median direction from the ankles to the base of the neck, since people mostly stand; that needs no
    level camera. Then the plane is fitted to the lower ankle of every frame, with that direction as a prior, so that it
    only tilts as far as people have walked about. An ankle above the plane may be a jump and counts less than one
    below it."""
    placed = np.asarray(pose, np.float64) + np.asarray(root, np.float64)[:, None]
    good = np.isfinite(placed[:, [*ANKLES, _THORAX]]).all((-1, -2))
    if good.sum() < _FEWEST:
        return None
    placed = placed[good]
    ankles = placed[:, list(ANKLES)]
    bodies = placed[:, _THORAX] - ankles.mean(1)
    up = _unit(np.median(bodies / np.linalg.norm(bodies, axis=-1, keepdims=True), axis=0))
    lower = (ankles @ up).argmin(1)
    feet = ankles[np.arange(len(ankles)), lower]
    middle = np.median(feet, axis=0)
    e1 = _unit(np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [1.0, 0.0, 0.0]))
    e2 = np.cross(up, e1)
    spread = feet - middle
    # up + a e1 + b e2 along which feet have the height d, in units of the doubts: three unknowns, linear.
    columns = np.stack([spread @ e1, spread @ e2, -np.ones(len(feet))], 1)
    target = -(spread @ up)
    each = np.sqrt(min(len(feet), _STEPS) / len(feet)) / _FOOT_DOUBT
    prior = np.diag([1 / _UP_DOUBT, 1 / _UP_DOUBT, 0.0])
    weight, found = np.ones(len(feet)), np.zeros(3)
    for _ in range(_ROUNDS):
        rows = np.concatenate([columns * (each * weight)[:, None], prior])
        found = np.linalg.lstsq(rows, np.concatenate([target * each * weight, np.zeros(3)]), rcond=None)[0]
        above = columns @ found - target
        doubt = np.where(above > 0, _FOOT_DOUBT, 2 * _FOOT_DOUBT)
        weight = 1 / (1 + (above / doubt) ** 2)
    up = _unit(up + found[0] * e1 + found[1] * e2)
    heights = feet @ up
    level = float(np.median(heights[weight >= np.median(weight)]))
    height = ankle_height - level
    return Ground(
        (float(up[0]), float(up[1]), float(up[2])),
        height,
        len(feet),
        float(np.median(np.abs(heights - level))),
    )


def _unit(v: NDArray) -> NDArray[np.float64]:
    return v / np.linalg.norm(v)
