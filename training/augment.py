"""More bodies and poses from the same motion: mirrored, rescaled, limbs lengthened, halves and limbs of people joined.

All functions take H36M-17 joints (N, 17, 3) in metres in a world frame with y up, and work on the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from posepipe.skeleton import H36M_17

Floats = NDArray[np.float32]


def _indices(*names: str) -> NDArray[np.int64]:
    return np.array([H36M_17.index(name) for name in names])


_MIRROR = np.array(H36M_17.mirror)
_BONES = np.array(H36M_17.bones)
# path[j, b] = 1 where bone b lies between the hip and joint j: joints = hip + path @ bone vectors
_PATH = np.zeros((len(H36M_17), len(_BONES)), np.float32)
for _bone, (_parent, _child) in enumerate(H36M_17.bones):  # parents come first only along a chain, so walk each chain
    for _joint in range(len(H36M_17)):
        _up = _joint
        while _up > 0:
            if _up == _child:
                _PATH[_joint, _bone] = 1.0
            _up = H36M_17.parents[_up]

# Bones that grow together; left and right always do.
LIMBS = (
    ("l_hip", "r_hip"),
    ("l_knee", "r_knee"),
    ("l_ankle", "r_ankle"),
    ("spine", "thorax"),
    ("neck", "head"),
    ("l_shoulder", "r_shoulder"),
    ("l_elbow", "r_elbow"),
    ("l_wrist", "r_wrist"),
)
_LIMB_OF_BONE = np.array(
    [next(i for i, ends in enumerate(LIMBS) if H36M_17.joints[child] in ends) for _, child in H36M_17.bones]
)

# How much each bone (named by its end) turns against its parent, relative to swing_deg. The pelvis keeps its shape;
# knees and elbows turn less than hips and shoulders, because on one side of straight there is no room.
SWING = {
    "knee": 1.0, "ankle": 0.6, "spine": 0.5, "thorax": 0.5, "neck": 0.5, "head": 0.3, "shoulder": 0.3,
    "elbow": 1.3, "wrist": 0.9, "hip": 0.0,
}  # fmt: skip

UPPER = _indices(
    "spine", "thorax", "neck", "head", "l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist"
)
_L_HIP, _R_HIP, _SPINE = _indices("l_hip", "r_hip", "spine")
_REACHING = _indices("head", "l_elbow", "l_wrist", "r_elbow", "r_wrist")
_LEG_TOP = _indices("l_hip", "l_knee", "r_hip", "r_knee")
_LEG_END = _indices("l_knee", "l_ankle", "r_knee", "r_ankle")

# Two halves fit when the pelvises agree after turning about the vertical. No reaching joint may come nearer to a leg's
# axis than real ones do (the first percentile over all frames of the CMU subset is 0.09 m).
MAX_HIP_LINE_DEG, MAX_SPINE_DEG, MIN_LEG_DISTANCE = 15.0, 25.0, 0.09

RAISED_DEG = (0.0, 150.0)  # of an upper arm held out, from hanging down


@dataclass(frozen=True)
class _Chain:
    """An arm or a leg: root, middle, end; the frame of the torso that it moves in: left and right, lower and upper."""

    joints: tuple[int, int, int]
    across: tuple[int, int]
    along: tuple[int, int]


def _chain(side: str, names: tuple[str, str, str], lower: str, upper: str) -> _Chain:
    root, middle, end = (H36M_17.index(f"{side}_{name}") for name in names)
    across = (H36M_17.index(f"l_{names[0]}"), H36M_17.index(f"r_{names[0]}"))
    return _Chain((root, middle, end), across, (H36M_17.index(lower), H36M_17.index(upper)))


_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_CHAINS = tuple(_chain(side, _ARM, "hip", "thorax") for side in "lr") + tuple(
    _chain(side, _LEG, "hip", "spine") for side in "lr"
)


@dataclass(frozen=True)
class AugmentRanges:
    """mirror, recombine: shares of the batch. exchange: the chance of every single arm and leg to be somebody else's.
    height: uniform factor of the whole body. limb: standard deviation of the logarithm of each limb's own factor.
    swing_deg: standard deviation of the turn of a thigh or shoulder girdle about each axis; see SWING for the other
    bones. lean_deg: standard deviation of the tilt of the whole body about each horizontal axis. elbow, knee: standard
    deviation of the logarithm of forearm over upper arm, and of shank over thigh, beside what `limb` does to them; the
    arm's and the leg's length stay. raised: the chance of every single arm to be held out to its side, see raise_arms.
    What they are worth is measured in docs/data_limit.md and docs/training_choices.md.
    """

    mirror: float = 0.5
    height: tuple[float, float] = (0.85, 1.15)
    limb: float = 0.06
    recombine: float = 0.3
    exchange: float = 0.0
    swing_deg: float = 12.0
    lean_deg: float = 0.0
    elbow: float = 0.0
    knee: float = 0.0
    raised: float = 0.0


DEFAULT_AUGMENT = AugmentRanges()


def mirror(joints: Floats) -> Floats:
    """The mirror image in the plane x = 0, left and right renamed. Twice is the identity."""
    return joints.take(_MIRROR, axis=1) * np.array([-1, 1, 1], joints.dtype)


def rescale_limbs(joints: Floats, factors: Floats) -> Floats:
    """Multiply the length of every bone by its limb's factor (N, len(LIMBS)), > 0; directions and the hip stay."""
    bones = joints.take(_BONES[:, 1], axis=1) - joints.take(_BONES[:, 0], axis=1)
    grown = bones * factors.take(_LIMB_OF_BONE, axis=1)[..., None]
    return joints[:, :1] + _PATH.astype(joints.dtype) @ grown


def share_out(joints: Floats, middle: str, end: str, ratio: Floats) -> Floats:
    """(N, 2) factors for the bones that end at `middle` ("elbow" or "knee") and at `end`, which make the lower one
    `ratio` (N,) times as long in proportion to the upper one and leave the sum of both as it is, on the mean of left
    and right. Skeletons that are fitted to markers differ more in where the elbow and the knee are than people do: of
    the CMU subset, forearm over upper arm is 0.80 to 1.03 in those trained on and 0.59 in subject 05."""
    ends = ("hip" if middle == "knee" else "shoulder", middle, end)
    places = [joints[:, [H36M_17.index(f"{side}_{name}") for side in "lr"]] for name in ends]
    upper, lower = (np.linalg.norm(after - before, axis=-1).mean(1) for before, after in pairwise(places))
    longer = (upper + lower) / np.maximum(upper + ratio * lower, np.float32(1e-6))
    return np.stack([longer, ratio * longer], axis=1)


def _limb_of(name: str) -> int:
    return LIMBS.index((f"l_{name}", f"r_{name}"))


def swing(joints: Floats, rng: np.random.Generator, degrees: float) -> Floats:
    """Turn every bone of (N, 17, 3) a little against its parent, by a Gaussian rotation vector, and what hangs on it
    along: poses between and around the recorded ones. Bone lengths and the hip stay. (After the bone-angle operation of
    PoseAug, Gong et al. 2021, there learned, here drawn.)"""
    result = joints.copy()
    turns: dict[int, Floats | None] = {0: None}
    for parent, child in H36M_17.bones:
        share = SWING[H36M_17.joints[child].split("_")[-1]]
        before = turns[parent]
        if share == 0.0:
            turns[child] = before
        else:
            vector = np.float32(np.radians(degrees * share)) * rng.standard_normal((len(joints), 3), dtype=np.float32)
            own = _rotation(vector)
            turns[child] = own if before is None else before @ own
        bone = joints[:, child] - joints[:, parent]
        turned = turns[child]
        result[:, child] = result[:, parent] + (bone if turned is None else (turned @ bone[..., None])[..., 0])
    return result


def lean(joints: Floats, rng: np.random.Generator, degrees: float) -> Floats:
    """Tilt every person of (N, 17, 3) as a whole about the hip, by a Gaussian angle about each horizontal axis."""
    vector = np.float32(np.radians(degrees)) * rng.standard_normal((len(joints), 3), dtype=np.float32)
    vector[:, 1] = 0
    hip = joints[:, :1]
    return (joints - hip) @ _rotation(vector).swapaxes(1, 2) + hip


def _rotation(vector: Floats) -> Floats:
    """(N, 3) rotation vectors -> (N, 3, 3) (Rodrigues)."""
    angle = np.linalg.norm(vector, axis=-1)[:, None, None]
    x, y, z = (vector / (angle[:, 0] + np.float32(1e-12))).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    return np.eye(3, dtype=vector.dtype) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def heading(joints: Floats) -> Floats:
    """(N,) radians: the turn about the vertical that takes +x to the line from right to left hip, seen from above."""
    across = joints[:, _L_HIP] - joints[:, _R_HIP]
    return np.arctan2(-across[:, 2], across[:, 0])


def turn(joints: Floats, yaw: Floats) -> Floats:
    """Rotate (N, J, 3) about the world's y axis by yaw (N,) radians."""
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = joints[..., 0], joints[..., 1], joints[..., 2]
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1)


def recombine(lower: Floats, upper: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Legs and hips of lower (N, 17, 3), everything above the hips of upper (N, 17, 3), joined at the hip with upper
    turned about the vertical to the heading of lower. Bone lengths are those of the two sources.

    Returns the poses and (N,) whether each is plausible; an implausible one is returned as lower, unchanged."""
    turned = turn(upper - upper[:, :1], heading(lower) - heading(upper))
    ours = lower - lower[:, :1]
    fits = _angle_below(ours[:, _L_HIP] - ours[:, _R_HIP], turned[:, _L_HIP] - turned[:, _R_HIP], MAX_HIP_LINE_DEG)
    fits &= _angle_below(ours[:, _SPINE], turned[:, _SPINE], MAX_SPINE_DEG)
    joined = ours.copy()
    joined[:, UPPER] = turned[:, UPPER]
    fits &= leg_distance(joined) >= MIN_LEG_DISTANCE
    return np.where(fits[:, None, None], joined + lower[:, :1], lower), fits


def exchange_limbs(joints: Floats, rng: np.random.Generator, chance: float) -> Floats:
    """Give arms and legs of (N, 17, 3) the directions that those of others in the batch have, each with `chance`, left
    ones also from right ones; bone lengths, torso and hip stay. A limb that would reach into a leg is left as it was.

    The arms and legs of an unseen dancer are each within a few degrees of some recorded one, but the four together are
    far from all recorded poses (median 4 degrees a bone for one arm, 19 for the whole body, subject 05 against the
    others of the CMU subset), so a network has to see them freely combined."""
    result = joints.copy()
    mirrored = mirror(joints)
    for chain in _CHAINS:
        root, middle, end = chain.joints
        rows = np.flatnonzero(rng.random(len(joints)) < chance)
        others = rng.integers(0, len(joints), len(rows))
        lenders = np.where((rng.random(len(rows)) < 0.5)[:, None, None], mirrored[others], joints[others])
        ours = result[rows]
        turned = _frame(ours, chain) @ _frame(lenders, chain).swapaxes(1, 2)  # from the lender's torso to ours
        previous = root
        for joint, before in ((middle, root), (end, middle)):
            bone = (turned @ (lenders[:, joint] - lenders[:, before])[..., None])[..., 0]
            length = np.linalg.norm(result[rows][:, joint] - result[rows][:, before], axis=-1, keepdims=True)
            scale = length / np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), np.float32(1e-6))
            ours[:, joint] = ours[:, previous] + scale * bone
            previous = joint
        _put_where_free(result, rows, ours)
    return result


def raise_arms(joints: Floats, rng: np.random.Generator, chance: float) -> Floats:
    """Hold arms of (N, 17, 3), each with `chance`, out to their side: the arm turns as a whole about the torso's axis
    from back to front until the upper arm, seen from the front, is RAISED_DEG from hanging down, evenly; how far it
    points ahead or back, the bend of the elbow and all lengths stay. An arm that would reach into a leg stays where it
    was.

    Arms held out are what dancers, traffic policemen and people who reach for something do, and rare in the CMU subset:
    9 % of the upper arms trained on are above the shoulder's height, up to half in single clips of subject 05."""
    result = joints.copy()
    for chain, side in zip(_CHAINS[:2], (1, -1), strict=True):
        root, middle, end = chain.joints
        rows = np.flatnonzero(rng.random(len(joints), dtype=np.float32) < chance)
        ours = result[rows]
        left, along, ahead = np.moveaxis(_frame(ours, chain), -1, 0)
        upper = ours[:, middle] - ours[:, root]
        now = np.arctan2(side * (upper * left).sum(-1), -(upper * along).sum(-1))
        wanted = np.radians(rng.uniform(*RAISED_DEG, len(rows))).astype(np.float32)
        turn_by = _rotation(ahead * (side * (wanted - now))[:, None])
        for joint in (middle, end):
            ours[:, joint] = ours[:, root] + (turn_by @ (ours[:, joint] - ours[:, root])[..., None])[..., 0]
        _put_where_free(result, rows, ours)
    return result


def _put_where_free(joints: Floats, rows: NDArray[np.int64], changed: Floats) -> None:
    """Give rows of (N, 17, 3) their changed poses, but for those that would reach into a leg, or farther into one."""
    fits = leg_distance(changed) >= np.minimum(MIN_LEG_DISTANCE, leg_distance(joints[rows]))
    joints[rows[fits]] = changed[fits]


def _frame(joints: Floats, chain: _Chain) -> Floats:
    """(N, 3, 3) axes of a part of the torso as columns: its left, its length, and what is square to both."""
    left = joints[:, chain.across[0]] - joints[:, chain.across[1]]
    left = left / np.maximum(np.linalg.norm(left, axis=-1, keepdims=True), np.float32(1e-6))
    ahead = np.cross(left, joints[:, chain.along[1]] - joints[:, chain.along[0]])
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), np.float32(1e-6))
    return np.stack([left, np.cross(ahead, left), ahead], axis=-1)


def leg_distance(joints: Floats) -> Floats:
    """(N,) metres: the smallest distance of head, elbows and wrists to the axes of thighs and shanks."""
    start, points = joints[:, _LEG_TOP], joints[:, _REACHING]
    axis = joints[:, _LEG_END] - start
    from_start = points[:, :, None] - start[:, None]
    squared = np.maximum((axis**2).sum(axis=-1), 1e-12)
    along = np.clip((from_start * axis[:, None]).sum(axis=-1) / squared[:, None], 0, 1)
    away = from_start - along[..., None] * axis[:, None]
    return np.sqrt((away**2).sum(axis=-1).min(axis=(1, 2)))


def _angle_below(a: Floats, b: Floats, degrees: float) -> NDArray[np.bool_]:
    lengths = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return (a * b).sum(axis=-1) > np.cos(np.radians(degrees)) * lengths


def augment(
    joints: Floats, partners: Floats, rng: np.random.Generator, ranges: AugmentRanges = DEFAULT_AUGMENT
) -> Floats:
    """joints (N, 17, 3) -> new poses of the same shape. partners (M, 17, 3), M = partners_needed(N, ranges), lend their
    upper bodies to the first M samples; draw both at random."""
    count = len(joints)
    share = len(partners)
    result = joints.copy()
    if share:
        result[:share], _ = recombine(joints[:share], partners)
    if ranges.exchange > 0:
        result = exchange_limbs(result, rng, ranges.exchange)
    if ranges.raised > 0:
        result = raise_arms(result, rng, ranges.raised)
    flipped = rng.random(count, dtype=np.float32) < ranges.mirror
    result[flipped] = mirror(result[flipped])
    if ranges.swing_deg > 0:
        result = swing(result, rng, ranges.swing_deg)
    if ranges.lean_deg > 0:
        result = lean(result, rng, ranges.lean_deg)
    factors = np.exp(np.float32(ranges.limb) * rng.standard_normal((count, len(LIMBS)), dtype=np.float32))
    low, high = ranges.height
    factors *= np.float32(low) + np.float32(high - low) * rng.random((count, 1), dtype=np.float32)
    for middle, end, sigma in (("elbow", "wrist", ranges.elbow), ("knee", "ankle", ranges.knee)):
        if sigma > 0:
            ratio = np.exp(np.float32(sigma) * rng.standard_normal(count, dtype=np.float32))
            upper, lower = (_limb_of(name) for name in (middle, end))
            factors[:, [upper, lower]] *= share_out(result, middle, end, ratio)
    return rescale_limbs(result, factors)


def partners_needed(count: int, ranges: AugmentRanges) -> int:
    """How many partners augment() wants for count samples."""
    return round(count * ranges.recombine)
