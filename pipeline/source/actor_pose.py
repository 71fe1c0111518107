"""Forward kinematics of the rendered actor: from joint rotations and limb targets to exact 3D joints.

World frame: y up, the ground is y = 0, metres, right-handed; an actor with heading 0 faces +z and has its left at +x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.source.actor_body import ActorBody
from posepipe.skeleton import H36M_17

Array = NDArray[np.float64]
SIDES = {"l": 1.0, "r": -1.0}

# Points on the head in its own frame (origin: centre of the skull), metres for a 1.72 m body.
HEAD_CENTRE = (0.0, 0.056, 0.040)
FACE_POINTS = {
    "nose": (0.0, -0.022, 0.112),
    "eye_inner": (0.017, 0.012, 0.088),
    "eye": (0.032, 0.012, 0.084),
    "eye_outer": (0.045, 0.012, 0.074),
    "ear": (0.076, -0.004, -0.004),
    "mouth": (0.024, -0.062, 0.078),
}


def rot_x(angle: float) -> Array:
    """Leans y towards z (an actor bends forward) for positive angles, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rot_y(angle: float) -> Array:
    """Turns z towards x (to the actor's left) for positive angles, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rot_z(angle: float) -> Array:
    """Turns x towards y for positive angles, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def unit(v: Array) -> Array:
    return v / math.sqrt(float(v @ v))


def two_bones(start: Array, target: Array, first: float, second: float, pole: Array) -> tuple[Array, Array]:
    """Middle and end of a two-bone limb that reaches for target, bending towards pole (a direction, any length).

    Law of cosines; a target out of reach is approached along the straight line, so both lengths stay exact."""
    offset = target - start
    distance = math.sqrt(float(offset @ offset))
    axis = offset / distance
    distance = min(max(distance, abs(first - second) + 0.02), (first + second) * 0.9995)
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    side = unit(pole - axis * float(pole @ axis))
    middle = start + axis * along + side * math.sqrt(max(first**2 - along**2, 0.0))
    return middle, start + axis * distance


@dataclass(frozen=True)
class Arm:
    """Where an arm is: elbow and wrist (world), and the direction of the thumb (any length, not along the forearm)."""

    elbow: Array
    wrist: Array
    thumb: Array


@dataclass(frozen=True)
class Foot:
    """Where a foot is: ankle (world) and its rotation (columns: left, up, toes)."""

    ankle: Array
    rotation: Array


@dataclass(frozen=True)
class BodyPose:
    """One exact pose. joints: (17, 3) H36M-17, world metres. extras: points that BlazePose-33 names and H36M-17 lacks.

    rotations: world rotation of pelvis, chest, head, l_hand, r_hand, l_foot, r_foot, columns = left, up, forward;
    for a hand: columns = thumb, away from the fingers, palm normal."""

    joints: Array
    extras: dict[str, Array]
    rotations: dict[str, Array]

    def joint(self, name: str) -> Array:
        """(3,) world position of an H36M-17 joint or an extra point by name."""
        return self.extras[name] if name in self.extras else self.joints[H36M_17.index(name)]


@dataclass(frozen=True)
class Torso:
    """Pelvis centre (world) and the world rotations of pelvis, chest and head."""

    hip: Array
    pelvis: Array
    chest: Array
    head: Array


def hip_offset(body: ActorBody, side: str) -> Array:
    """(3,) from the pelvis centre to a hip joint, in the pelvis frame."""
    return np.array([SIDES[side] * body.hip_half_width * body.scale, 0.0, 0.0])


def spine_points(body: ActorBody, torso: Torso) -> dict[str, Array]:
    """World positions of spine, thorax, neck, head, l_shoulder and r_shoulder."""
    k = body.scale
    spine = torso.hip + torso.pelvis @ np.array(body.hip_to_spine) * k
    thorax = spine + torso.chest @ np.array(body.spine_to_thorax) * k
    neck = thorax + torso.chest @ np.array(body.thorax_to_neck) * k
    points = {"spine": spine, "thorax": thorax, "neck": neck}
    points["head"] = neck + torso.head @ np.array(body.neck_to_head) * k
    for side, sign in SIDES.items():
        x, y, z = body.thorax_to_shoulder
        points[f"{side}_shoulder"] = thorax + torso.chest @ np.array([sign * x, y, z]) * k
    return points


def hand_rotation(side: str, wrist: Array, elbow: Array, thumb: Array) -> Array:
    """(3, 3) frame of a hand whose fingers continue the forearm: columns thumb, -fingers, palm normal."""
    fingers = unit(wrist - elbow)
    across = unit(thumb - fingers * float(thumb @ fingers))
    return np.stack([across, -fingers, SIDES[side] * np.cross(fingers, across)], axis=1)


def assemble(body: ActorBody, torso: Torso, arms: dict[str, Arm], feet: dict[str, Foot], knee_pole: Array) -> BodyPose:
    """Join the parts into a pose. Legs bend towards knee_pole (world direction, forward of the actor)."""
    k = body.scale
    points = {"hip": torso.hip, **spine_points(body, torso)}
    rotations = {"pelvis": torso.pelvis, "chest": torso.chest, "head": torso.head}
    extras: dict[str, Array] = {}
    for side in SIDES:
        hip = torso.hip + torso.pelvis @ hip_offset(body, side)
        foot, arm = feet[side], arms[side]
        pole = knee_pole + foot.rotation[:, 2]
        knee, ankle = two_bones(hip, foot.ankle, body.thigh * k, body.shin * k, pole)
        points |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": ankle}
        points |= {f"{side}_elbow": arm.elbow, f"{side}_wrist": arm.wrist}
        turn = foot.rotation
        extras[f"{side}_heel"] = ankle + turn @ np.array([0.0, -body.ankle_height, -body.heel_back]) * k
        extras[f"{side}_foot_index"] = ankle + turn @ np.array([0.0, -body.ankle_height, body.toe_forward]) * k
        hand = hand_rotation(side, arm.wrist, arm.elbow, arm.thumb)
        for name, (x, y) in {"index": (0.024, -1.0), "pinky": (-0.030, -0.85), "thumb": (0.042, -0.55)}.items():
            extras[f"{side}_{name}"] = arm.wrist + hand @ np.array([x, y * body.hand, 0.0]) * k
        rotations |= {f"{side}_hand": hand, f"{side}_foot": turn}
    extras |= face_points(body, points["neck"], torso.head)
    return BodyPose(np.stack([points[name] for name in H36M_17.joints]), extras, rotations)


def face_points(body: ActorBody, neck: Array, head: Array) -> dict[str, Array]:
    """World positions of skull_centre, nose and left/right eyes, ears, mouth corners."""
    k = body.scale
    centre = neck + head @ np.array(HEAD_CENTRE) * k
    found = {"skull_centre": centre}
    for name, (x, y, z) in FACE_POINTS.items():
        if name == "nose":
            found[name] = centre + head @ np.array([x, y, z]) * k
            continue
        for side, sign in SIDES.items():
            found[f"{side}_{name}"] = centre + head @ np.array([sign * x, y, z]) * k
    return found
