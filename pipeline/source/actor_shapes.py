"""The rendered actor as tapered capsules: a pose and a body in, a list of painted capsules (world frame) out."""

from __future__ import annotations

import numpy as np

from posepipe.pipeline.source.actor_body import ActorBody
from posepipe.pipeline.source.actor_paint import SKULL, Wardrobe, shade
from posepipe.pipeline.source.actor_pose import SIDES, Array, BodyPose
from posepipe.pipeline.source.actor_raster import Capsule, Paint


def shapes(body: ActorBody, pose: BodyPose, wardrobe: Wardrobe) -> list[Capsule]:
    """Every capsule of the actor, big ones first (they hide most, which saves work)."""
    girth = body.scale * body.build
    parts = _trunk(body, pose, wardrobe, girth)
    for side in SIDES:
        parts += _leg(body, pose, wardrobe, side, girth) + _arm(body, pose, wardrobe, side, girth)
    return parts + _head(body, pose, wardrobe)


def _trunk(body: ActorBody, pose: BodyPose, wardrobe: Wardrobe, g: float) -> list[Capsule]:
    k = body.scale
    chest, pelvis = pose.rotations["chest"], pose.rotations["pelvis"]
    hip, spine, thorax, neck = (pose.joint(name) for name in ("hip", "spine", "thorax", "neck"))
    low = np.array([0.0, -0.10, 0.0])
    shirt = Paint(texture=wardrobe.shirt, kind="plane", extent=(0.19 * g, -0.36 * k, 0.055 * k))
    trousers = Paint(texture=wardrobe.trousers, kind="plane", extent=(0.18 * g, -0.12 * k, 0.085 * k))
    flat = (1.0, 1.0, 0.62)
    front = chest @ np.array([0.0, 0.0, 0.028]) * k

    def worn(a: Array, b: Array, ra: float, rb: float, stretch: tuple[float, float, float] = flat) -> Capsule:
        return Capsule(a + front, b + front, ra * g, rb * g, shirt, chest, stretch, thorax + front)

    upper = thorax + chest @ np.array([0.0, -0.105, 0.0]) * k
    parts = [
        worn(upper, spine + chest @ low * 0.2 * k, 0.158, 0.132),
        worn(spine, hip + pelvis @ np.array([0.0, 0.07, -0.02]) * k, 0.132, 0.148, (1.0, 1.0, 0.66)),
    ]
    for sign in SIDES.values():
        blade = thorax + chest @ np.array([sign * 0.085, -0.075, 0.004]) * k
        breast = thorax + chest @ np.array([sign * 0.068, -0.118, 0.026]) * k
        shoulder = thorax + chest @ np.array([sign * 0.150, 0.002, -0.008]) * k
        collar = thorax + chest @ np.array([sign * 0.030, 0.045, -0.022]) * k
        parts.append(worn(blade, blade + chest @ low * k, 0.085, 0.070, (1.0, 1.0, 0.95)))
        parts.append(worn(breast, breast, 0.090, 0.090, (1.05, 0.9, 0.82)))
        parts.append(worn(collar, shoulder, 0.052, 0.056, (1.0, 1.0, 1.0)))
    seat = hip + pelvis @ np.array([0.0, 0.02, 0.0]) * k
    parts.append(
        Capsule(
            seat, hip + pelvis @ np.array([0, -0.045, 0.0]) * k, 0.165 * g, 0.155 * g, trousers, pelvis,
            (1.0, 0.75, 0.68), hip,
        )
    )  # fmt: skip
    for sign in SIDES.values():
        centre = hip + pelvis @ np.array([sign * 0.066, -0.055, -0.050]) * k
        parts.append(Capsule(centre, centre, 0.086 * g, 0.086 * g, trousers, pelvis, (1.0, 1.05, 1.0), hip))
    skin = Paint(wardrobe.colours.skin)
    parts.append(
        Capsule(
            thorax + front * 0.7 + chest @ np.array([0, 0.03, 0.0]) * k, neck + front * 0.8, 0.056 * k, 0.054 * k, skin
        )
    )
    return parts


def _leg(body: ActorBody, pose: BodyPose, wardrobe: Wardrobe, side: str, g: float) -> list[Capsule]:
    k, c = body.scale, wardrobe.colours
    hip, knee, ankle = (pose.joint(f"{side}_{name}") for name in ("hip", "knee", "ankle"))
    foot = pose.rotations[f"{side}_foot"]
    cloth, skin = Paint(c.trousers), Paint(c.skin)
    ahead = _bend_side(hip, knee, ankle, foot[:, 2])
    hem = ankle + (knee - ankle) * 0.10
    behind = knee + (ankle - knee) * 0.10 - ahead * 0.004 * k
    belly = knee + (ankle - knee) * 0.32 - ahead * 0.024 * k
    thigh = hip + pose.rotations["pelvis"] @ np.array([SIDES[side] * 0.004, -0.03, 0.0]) * k
    parts = [
        Capsule(thigh, knee, 0.088 * g, 0.058 * g, cloth),
        Capsule(knee, hem, 0.056 * g, 0.042 * g, cloth),
        Capsule(behind, belly, 0.052 * g, 0.047 * g, cloth),
        Capsule(belly, ankle + (knee - ankle) * 0.25, 0.047 * g, 0.040 * g, cloth),
        Capsule(
            knee + ahead * 0.012 * k, knee + ahead * 0.012 * k, 0.053 * g, 0.053 * g, Paint(shade(c.trousers, 1.06))
        ),
        Capsule(hem, ankle - foot[:, 1] * 0.03 * k, 0.037 * k, 0.036 * k, skin),
    ]
    down, forward, left = -foot[:, 1], foot[:, 2], foot[:, 0]
    heel = ankle + (down * (body.ankle_height - 0.036) - forward * 0.022) * k
    ball = ankle + (down * (body.ankle_height - 0.032) + forward * 0.110) * k
    toe = ankle + (down * (body.ankle_height - 0.026) + forward * (body.toe_forward - 0.028)) * k
    shoe, sole = Paint(c.shoes), Paint(c.sole)
    instep = ankle + (down * 0.012 + forward * 0.006) * k
    parts += [
        Capsule(heel, ball, 0.036 * k, 0.036 * k, shoe),
        Capsule(ball + left * 0.006 * k, toe, 0.036 * k, 0.028 * k, Paint(shade(c.shoes, 0.85))),
        Capsule(instep, ball, 0.041 * k, 0.032 * k, shoe),
        Capsule(
            heel + down * 0.022 * k, toe + down * 0.013 * k, 0.040 * k, 0.038 * k, sole, foot, (1.0, 0.40, 1.0), heel
        ),
    ]
    return parts


def _bend_side(start: Array, middle: Array, end: Array, fallback: Array) -> Array:
    """Unit direction towards which a limb bends at its middle; fallback where it is nearly straight."""
    axis = (end - start) / np.linalg.norm(end - start)
    out = (middle - start) - axis * float((middle - start) @ axis) + 0.02 * (fallback - axis * float(fallback @ axis))
    return out / np.linalg.norm(out)


def _arm(body: ActorBody, pose: BodyPose, wardrobe: Wardrobe, side: str, g: float) -> list[Capsule]:
    k, c = body.scale, wardrobe.colours
    shoulder, elbow, wrist = (pose.joint(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist"))
    hand = pose.rotations[f"{side}_hand"]
    shirt, skin = Paint(c.shirt), Paint(c.skin)
    sleeve = shoulder + (elbow - shoulder) * 0.62
    parts = [
        Capsule(shoulder + (elbow - shoulder) * 0.04, sleeve, 0.055 * g, 0.050 * g, shirt),
        Capsule(sleeve, sleeve + (elbow - shoulder) * 0.02, 0.052 * g, 0.052 * g, Paint(c.print_on)),
        Capsule(sleeve, elbow, 0.043 * g, 0.039 * g, skin),
        Capsule(elbow, elbow + (wrist - elbow) * 0.35, 0.039 * g, 0.041 * g, skin),
        Capsule(elbow + (wrist - elbow) * 0.35, wrist, 0.041 * g, 0.027 * g, skin),
    ]

    def at(thumbward: float, out: float, palmward: float) -> Array:
        return wrist + hand @ np.array([thumbward, -out, palmward]) * k

    palm = Paint(shade(c.skin, 1.03))
    parts.append(Capsule(at(0, 0.018, 0), at(0, 0.075, 0), 0.030 * k, 0.040 * k, palm, hand, (1.0, 1.0, 0.42), wrist))
    tips = {0.027: 0.155, 0.009: 0.168, -0.010: 0.160, -0.028: 0.140}
    for x, reach in tips.items():
        parts.append(Capsule(at(x * 0.95, 0.085, 0.0), at(x * 1.05, reach, 0.016), 0.0115 * k, 0.0085 * k, skin))
    parts.append(Capsule(at(0.022, 0.025, 0.006), at(0.050, 0.068, 0.014), 0.015 * k, 0.011 * k, skin))
    parts.append(Capsule(at(0.050, 0.068, 0.014), at(0.058, 0.098, 0.018), 0.011 * k, 0.009 * k, skin))
    return parts


def _head(body: ActorBody, pose: BodyPose, wardrobe: Wardrobe) -> list[Capsule]:
    k, c = body.scale, wardrobe.colours
    turn, centre = pose.rotations["head"], pose.extras["skull_centre"]
    face = Paint(texture=wardrobe.face, kind="sphere", extent=(SKULL[0] * k, SKULL[1] * k, SKULL[2] * k))
    hair, warm = Paint(c.hair), Paint(shade(c.skin, 0.94))

    def at(x: float, y: float, z: float) -> Array:
        return centre + turn @ np.array([x, y, z]) * k

    wide, high, deep = SKULL
    parts = [
        Capsule(centre, centre, k, k, face, turn, (wide, high, deep), centre),
        Capsule(at(0, -0.03, 0.022), at(0, -0.078, 0.050), 0.062 * k, 0.030 * k, face, turn, (1.0, 1.0, 0.9), centre),
        Capsule(
            at(0, 0.026, -0.026),
            at(0, 0.026, -0.026),
            k,
            k,
            hair,
            turn,
            (wide + 0.006, high - 0.014, deep - 0.012),
            centre,
        ),
        Capsule(at(0, -0.03, -0.052), at(0, -0.055, -0.052), 0.046 * k, 0.040 * k, hair, turn, (1.2, 1.0, 0.8), centre),
        Capsule(at(0, 0.010, 0.090), at(0, -0.022, 0.102), 0.008 * k, 0.012 * k, warm),
    ]
    for sign in SIDES.values():
        ear = at(sign * 0.073, -0.004, -0.006)
        parts.append(Capsule(ear, ear, k, k, warm, turn, (0.011, 0.032, 0.020), ear))
        parts.append(
            Capsule(at(sign * 0.008, -0.026, 0.096), at(sign * 0.008, -0.026, 0.096), 0.009 * k, 0.009 * k, warm)
        )
    return parts
