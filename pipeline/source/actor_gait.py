"""Footsteps that follow a path without sliding: walking, turning on the spot and standing are one closed form.

A foot stands for the first 60 % of its cycle (Perry 1992, Gait Analysis, ch. 1) at the place where the path puts it
half-way through that stance, and swings to the next such place. Where two footholds coincide, the foot does not lift.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from posepipe.pipeline.source.actor_body import ActorBody
from posepipe.pipeline.source.actor_pose import SIDES, Array, Foot, rot_x, rot_y

STANCE = 0.6
PHASE = {"l": 0.0, "r": 0.5}
Path = Callable[[float], tuple[float, float, float]]  # seconds -> (x, z, heading in radians)


def smooth(x: float) -> float:
    """Minimum-jerk ease from 0 to 1, clamped."""
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (x * (6.0 * x - 15.0) + 10.0)


def _foothold(path: Path, when: float, offset: float, toe_out: float) -> Array:
    """(x, z, yaw) of a foot that stands offset metres to the left of the path."""
    x, z, heading = path(when)
    return np.array([x + offset * math.cos(heading), z - offset * math.sin(heading), heading + toe_out])


def _effort(start: Array, end: Array) -> tuple[float, float]:
    """(how far ahead 0..1, how much to lift 0..1) for a swing between two footholds."""
    distance = math.hypot(end[0] - start[0], end[1] - start[1])
    return min(distance / 0.85, 1.0), min(distance / 0.5 + abs(end[2] - start[2]) / 0.8, 1.0)


def foot_at(body: ActorBody, path: Path, t: float, side: str, cycle: float, half_width: float) -> Foot:
    """The foot of a side at time t: never below the ground, still while it stands.

    cycle: seconds per gait cycle. half_width: metres from the path to the middle of the foot."""
    sign, toe_out = SIDES[side], SIDES[side] * math.radians(7.0)
    count = math.floor(t / cycle + PHASE[side])
    u = t / cycle + PHASE[side] - count
    before, here, after = (
        _foothold(path, (count + k + STANCE / 2 - PHASE[side]) * cycle, sign * half_width * body.scale, toe_out)
        for k in (-1, 0, 1)
    )
    strike, rise = math.radians(16.0) * _effort(before, here)[0], math.radians(38.0) * _effort(here, after)[0]
    lift = 0.0
    if u < STANCE:
        place = here
        pitch = -strike * (1.0 - smooth(u / 0.12)) + rise * smooth((u - 0.36) / (STANCE - 0.36))
    else:
        w = (u - STANCE) / (1.0 - STANCE)
        place = here + (after - here) * smooth(w)
        next_strike = math.radians(16.0) * _effort(here, after)[0]
        pitch = rise * (1.0 - smooth(w / 0.7)) - next_strike * smooth((w - 0.4) / 0.6)
        lift = 0.085 * _effort(here, after)[1] * math.sin(math.pi * w) ** 2
    return _planted(body, place, pitch, lift * body.scale)


def _planted(body: ActorBody, place: Array, pitch: float, lift: float) -> Foot:
    """A foot pitched about its toe tip (pitch > 0: heel up) or about its heel, its lowest point at height lift."""
    k = body.scale
    rotation = rot_y(place[2]) @ rot_x(pitch)
    pivot = np.array([0.0, 0.0, body.toe_forward if pitch > 0 else -body.heel_back]) * k
    ankle = np.array([0.0, body.ankle_height, 0.0]) * k
    base = np.array([place[0], lift, place[1]])
    return Foot(base + rot_y(place[2]) @ pivot + rotation @ (ankle - pivot), rotation)
