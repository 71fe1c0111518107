"""What the rendered actor does: walk, wave, squat, turn, crossed; a closed form of time, so any frame can be asked for.

Arms are either swung by joint angles or guided by a wrist target in the chest's frame; feet follow actor_gait; the
pelvis then takes the height that both legs can reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from posepipe.errors import UsageError
from posepipe.noise import NoiseKey, uniform
from posepipe.pipeline.source.actor_body import ActorBody
from posepipe.pipeline.source.actor_gait import PHASE, Path, foot_at, smooth
from posepipe.pipeline.source.actor_pose import (
    SIDES,
    Arm,
    Array,
    BodyPose,
    Foot,
    Torso,
    assemble,
    hip_offset,
    rot_x,
    rot_y,
    rot_z,
    spine_points,
    two_bones,
)

MOTIONS = ("walk", "wave", "squat", "turn", "crossed")
TURN_TIME = 1.3
HOLD_TIME = {"wave": 2.6, "squat": 2.9, "crossed": 3.0}
TURN_STEP = math.radians(55.0)
WALK_RADIUS = 0.85


@dataclass(frozen=True)
class Style:
    """Small differences between two actors doing the same thing; all derived from the seed."""

    start: float
    pace: float
    size: float
    clockwise: float


@dataclass(frozen=True)
class Upper:
    """Angles (radians) and offsets (metres, for a 1.72 m body) above the feet, and the arms' task.

    reach: per side, (wrist target in the chest frame from the shoulder, elbow pole, thumb hint, weight 0..1)."""

    drop: float = 0.0
    back: float = 0.0
    sway: float = 0.0
    pelvis_lean: float = 0.0
    pelvis_twist: float = 0.0
    pelvis_roll: float = 0.0
    chest_lean: float = math.radians(2.0)
    chest_twist: float = 0.0
    head_yaw: float = 0.0
    head_pitch: float = 0.0
    swing: tuple[float, float] = (0.05, 0.05)
    elbow: tuple[float, float] = (0.25, 0.25)
    reach: tuple[tuple[Array, Array, Array, float] | None, ...] = (None, None)


def style_of(motion: str, seed: int) -> Style:
    """The style of a seed. Seed 0 starts the motion at its beginning at the middle pace."""
    if seed == 0:
        return Style(0.0, 1.0, 1.0, 1.0)
    u = uniform(NoiseKey(seed, f"actor-style-{motion}", 0, 0), 4).astype(float)
    return Style(10.0 * u[0], 0.9 + 0.2 * u[1], 0.88 + 0.24 * u[2], 1.0 if u[3] < 0.5 else -1.0)


def pose_at(body: ActorBody, motion: str, t: float, seed: int = 0) -> BodyPose:
    """The actor's exact pose t seconds into a motion. Raises UsageError for an unknown motion."""
    if motion not in MOTIONS:
        raise UsageError(f"Unknown motion '{motion}'.", f"Known: {', '.join(MOTIONS)}.")
    style = style_of(motion, seed)
    t = t * style.pace + style.start
    path, cycle, half_width = _path(motion, style, body)
    upper = _upper(motion, t, cycle, style)
    feet = {side: foot_at(body, path, t, side, cycle, half_width) for side in SIDES}
    torso = _torso(body, path(t), upper, feet)
    points = spine_points(body, torso)
    arms = {
        side: _arm(body, torso.chest, points[f"{side}_shoulder"], side, upper.swing[i], upper.elbow[i], upper.reach[i])
        for i, side in enumerate(SIDES)
    }
    return assemble(body, torso, arms, feet, torso.pelvis @ np.array([0.0, 0.0, 1.0]))


def _path(motion: str, style: Style, body: ActorBody) -> tuple[Path, float, float]:
    """(path, gait cycle in seconds, half the distance between the feet's lines)."""
    if motion == "walk":
        speed = 0.78 * style.size * style.clockwise / WALK_RADIUS

        def circle(t: float) -> tuple[float, float, float]:
            a, r = speed * t, WALK_RADIUS * body.scale
            return r * math.sin(a), r * math.cos(a), a + math.copysign(math.pi / 2, speed)

        return circle, 1.12, 0.085
    if motion == "turn":
        rate = math.radians(52.0) * style.size * style.clockwise
        return (lambda t: (0.0, 0.0, rate * t)), 1.05, 0.11

    period = HOLD_TIME[motion] + TURN_TIME

    def stand(t: float) -> tuple[float, float, float]:
        count = math.floor(t / period)
        turned = count + smooth((t - count * period - HOLD_TIME[motion]) / TURN_TIME)
        return 0.0, 0.0, style.clockwise * TURN_STEP * turned

    return stand, 0.65, {"squat": 0.17}.get(motion, 0.12)


def _upper(motion: str, t: float, cycle: float, style: Style) -> Upper:
    """What the body above the feet does at time t."""
    look = 0.22 * math.sin(0.9 * t + 0.4), 0.05 * math.sin(0.7 * t)
    if motion in ("walk", "turn"):
        return _walking(t, cycle, style, 1.0 if motion == "walk" else 0.35, look)
    period = HOLD_TIME[motion] + TURN_TIME
    count = math.floor(t / period)
    local = t - count * period
    if motion == "squat":
        return _squatting(local, style, look)
    active = smooth(local / 0.7) * (1.0 - smooth((local - HOLD_TIME[motion] + 0.7) / 0.7))
    if motion == "wave":
        return _waving(t, local, count, active, style, look)
    return _crossing(t, local, count, active, style, look)


def _walking(t: float, cycle: float, style: Style, amount: float, look: tuple[float, float]) -> Upper:
    # Left heel strikes at phase 0; the left leg is ahead then, so the pelvis' left side leads and the right arm swings.
    phase = 2 * math.pi * (t / cycle + PHASE["l"])
    ahead = math.cos(phase) * amount * style.size
    return Upper(
        drop=0.020 + 0.012 * amount * math.cos(2 * phase),
        sway=0.022 * math.sin(phase),
        pelvis_twist=-0.09 * ahead,
        pelvis_roll=0.045 * amount * math.sin(phase),
        chest_lean=math.radians(3.0) * amount + 0.02,
        chest_twist=0.13 * ahead,
        head_yaw=0.6 * look[0],
        head_pitch=0.05 + look[1],
        swing=(0.06 - 0.42 * ahead, 0.06 + 0.42 * ahead),
        elbow=(0.42 - 0.20 * ahead, 0.42 + 0.20 * ahead),
    )


def _squatting(local: float, style: Style, look: tuple[float, float]) -> Upper:
    phase = min(local / HOLD_TIME["squat"], 1.0)
    depth = 0.5 - 0.5 * math.cos(2 * math.pi * phase)
    depth = depth * depth * (3 - 2 * depth)
    lean = 0.62 * depth * style.size
    return Upper(
        drop=0.015 + 0.40 * depth * style.size,
        back=0.17 * depth,
        pelvis_lean=0.75 * lean,
        chest_lean=lean + 0.03,
        head_yaw=0.5 * look[0],
        head_pitch=-0.75 * lean,
        swing=(0.06 + 1.75 * depth, 0.06 + 1.75 * depth),
        elbow=(0.25 - 0.1 * depth, 0.25 - 0.1 * depth),
    )


def _waving(t: float, local: float, count: int, active: float, style: Style, look: tuple[float, float]) -> Upper:
    index = (count + 1) % 2  # the right hand first
    sign = (1.0, -1.0)[index]
    side_to_side = 0.13 * style.size * math.sin(2 * math.pi * 1.1 * local)
    target = np.array([sign * (0.24 + side_to_side), 0.30 - 0.25 * abs(side_to_side), 0.14])
    reach: list[tuple[Array, Array, Array, float] | None] = [None, None]
    reach[index] = (target, np.array([sign * 1.0, -1.0, -0.3]), np.array([-sign, 0.0, 0.2]), active)
    return Upper(
        drop=0.018,
        sway=-0.02 * sign * active,
        pelvis_roll=0.03 * sign * active,
        chest_twist=0.06 * math.sin(1.3 * t),
        head_yaw=look[0],
        head_pitch=look[1],
        reach=tuple(reach),
    )


def _crossing(t: float, local: float, count: int, active: float, style: Style, look: tuple[float, float]) -> Upper:
    # The arms swing from wide open to crossed in front of the chest; the arm in front alternates.
    closed = 0.5 - 0.5 * math.cos(2 * math.pi * local / HOLD_TIME["crossed"] * 2)
    reach = []
    for i, sign in enumerate((1.0, -1.0)):
        front = 1.0 if (i + count) % 2 == 0 else 0.0
        opened = np.array([sign * 0.40, -0.10, 0.20])
        crossed = np.array([-sign * (0.23 + 0.06 * style.size), -0.20 - 0.07 * (1 - front), 0.235 + 0.085 * front])
        bulge = np.array([0.0, 0.0, 0.14 * math.sin(math.pi * closed)])
        target = opened + (crossed - opened) * closed + bulge
        reach.append((target, np.array([sign * 1.0, -0.8, -0.1]), np.array([0.0, 1.0, 0.4]), active))
    return Upper(
        drop=0.018,
        chest_lean=0.03 + 0.06 * closed * active,
        chest_twist=0.08 * math.sin(1.1 * t),
        head_yaw=look[0],
        head_pitch=look[1] + 0.06 * closed * active,
        reach=tuple(reach),
    )


def _torso(body: ActorBody, place: tuple[float, float, float], upper: Upper, feet: dict[str, Foot]) -> Torso:
    """Pelvis, chest and head; the pelvis sinks as far as the more stretched leg needs."""
    k = body.scale
    x, z, heading = place
    facing = rot_y(heading)
    pelvis = facing @ rot_y(upper.pelvis_twist) @ rot_z(upper.pelvis_roll) @ rot_x(upper.pelvis_lean)
    chest = facing @ rot_y(upper.chest_twist) @ rot_z(-0.5 * upper.pelvis_roll) @ rot_x(upper.chest_lean)
    head = chest @ rot_y(upper.head_yaw - upper.chest_twist) @ rot_x(upper.head_pitch)
    ground = np.array([x, 0.0, z]) + facing @ np.array([upper.sway, 0.0, -upper.back]) * k
    heights = [body.leg + (body.ankle_height - upper.drop) * k]
    for side, foot in feet.items():
        joint = pelvis @ hip_offset(body, side)
        gap = ground + joint - foot.ankle
        level = math.hypot(gap[0], gap[2])
        heights.append(foot.ankle[1] - joint[1] + math.sqrt(max((0.996 * body.leg) ** 2 - level**2, 0.01)))
    soft = 0.008 * k  # a smooth minimum, always below the smallest
    lowest = min(heights)
    ground[1] = lowest - soft * math.log(sum(math.exp((lowest - h) / soft) for h in heights))
    return Torso(ground, pelvis, chest, head)


def _arm(
    body: ActorBody,
    chest: Array,
    shoulder: Array,
    side: str,
    swing: float,
    bend: float,
    reach: tuple[Array, Array, Array, float] | None,
) -> Arm:
    """An arm swung forward by `swing` and bent by `bend` radians, pulled towards a wrist target where there is one."""
    k, sign = body.scale, SIDES[side]
    upper, lower = body.upper_arm * k, body.forearm * k
    frame = rot_z(sign * 0.16) @ rot_x(-swing) @ rot_y(-sign * 0.25)
    down = np.array([0.0, -1.0, 0.0])
    elbow = frame @ down * upper
    wrist = elbow + frame @ rot_x(-bend) @ down * lower
    thumb = frame @ np.array([-sign * 0.35, 0.25, 1.0])
    if reach is not None:
        target, pole, hint, weight = reach
        swung_pole = frame @ np.array([0.0, 0.0, -1.0])
        elbow, wrist = two_bones(
            np.zeros(3), wrist + (target * k - wrist) * weight, upper, lower, swung_pole * (1 - weight) + pole * weight
        )
        thumb = thumb * (1 - weight) + hint * weight
    return Arm(shoulder + chest @ elbow, shoulder + chest @ wrist, chest @ thumb)
