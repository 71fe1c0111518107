"""Augmentation keeps bodies bodies; batches draw what they say and nothing depends on anything but the seed."""

from __future__ import annotations

import numpy as np
import pytest

from posepipe.errors import InputError, UsageError
from posepipe.skeleton import H36M_17
from posepipe.training.augment import (
    LIMBS,
    MIN_LEG_DISTANCE,
    RAISED_DEG,
    UPPER,
    AugmentRanges,
    augment,
    exchange_limbs,
    heading,
    lean,
    leg_distance,
    mirror,
    partners_needed,
    raise_arms,
    recombine,
    rescale_limbs,
    swing,
    turn,
)
from posepipe.training.data.batches import batches, frame_weights, stack_frames
from posepipe.training.data.motion import Clip
from posepipe.training.virtual_camera import CameraRanges

BONES = np.array(H36M_17.bones)
J = H36M_17.index
REST = {
    "hip": (0, 0.9, 0), "r_hip": (-0.1, 0.9, 0), "r_knee": (-0.1, 0.5, 0), "r_ankle": (-0.1, 0.1, 0),
    "l_hip": (0.1, 0.9, 0), "l_knee": (0.1, 0.5, 0), "l_ankle": (0.1, 0.1, 0), "spine": (0, 1.1, 0),
    "thorax": (0, 1.35, 0), "neck": (0, 1.5, 0), "head": (0, 1.6, 0), "l_shoulder": (0.2, 1.35, 0),
    "l_elbow": (0.5, 1.35, 0), "l_wrist": (0.75, 1.35, 0), "r_shoulder": (-0.2, 1.35, 0),
    "r_elbow": (-0.5, 1.35, 0), "r_wrist": (-0.75, 1.35, 0),
}  # fmt: skip


def lengths(joints: np.ndarray) -> np.ndarray:
    return np.linalg.norm(joints[:, BONES[:, 1]] - joints[:, BONES[:, 0]], axis=-1)


def people(count: int, seed: int = 0) -> np.ndarray:
    """The rest pose with every bone bent a little at random, turned and placed anywhere."""
    rng = np.random.default_rng(seed)
    rest = np.array([REST[name] for name in H36M_17.joints])
    joints = np.zeros((count, 17, 3))
    for parent, child in H36M_17.bones:
        bone = rest[child] - rest[parent]
        wobble = 0.0 if child in (J("l_hip"), J("r_hip")) else 0.25
        bent = bone + rng.normal(0, wobble * np.linalg.norm(bone), (count, 3))
        bent *= np.linalg.norm(bone) / np.linalg.norm(bent, axis=1, keepdims=True)
        joints[:, child] = joints[:, parent] + bent
    return (turn(joints, rng.uniform(-3, 3, count)) + rng.normal(0, 3, (count, 1, 3))).astype(np.float32)


def test_mirror_twice_is_the_identity_and_once_swaps_sides() -> None:
    joints = people(20)
    np.testing.assert_array_equal(mirror(mirror(joints)), joints)
    mirrored = mirror(joints)
    np.testing.assert_allclose(mirrored[:, J("l_wrist")], joints[:, J("r_wrist")] * [-1, 1, 1])
    np.testing.assert_allclose(mirrored[:, J("head")], joints[:, J("head")] * [-1, 1, 1])
    # a mirrored person is still a person: left is where left was, seen from the way the body faces
    rest = np.array([[REST[name] for name in H36M_17.joints]])
    np.testing.assert_allclose(mirror(rest), rest, atol=1e-12)


def test_limbs_grow_by_their_own_factor_and_keep_their_directions() -> None:
    joints = people(30).astype(float)
    factors = np.random.default_rng(1).uniform(0.7, 1.4, (30, len(LIMBS)))
    grown = rescale_limbs(joints, factors)
    ratio = lengths(grown) / lengths(joints)
    for limb, ends in enumerate(LIMBS):
        for end in ends:
            np.testing.assert_allclose(ratio[:, J(end) - 1], factors[:, limb], rtol=1e-9)
    np.testing.assert_array_equal(grown[:, 0], joints[:, 0])
    for parent, child in H36M_17.bones:
        before, after = joints[:, child] - joints[:, parent], grown[:, child] - grown[:, parent]
        np.testing.assert_allclose(np.cross(before, after), 0, atol=1e-9)
    assert sorted(end for ends in LIMBS for end in ends) == sorted(H36M_17.joints[1:]), "every bone is in one limb"


def test_turning_adds_to_the_heading() -> None:
    joints = people(50).astype(float)
    turned = heading(turn(joints, np.full(50, 0.7)))
    np.testing.assert_allclose(np.exp(1j * turned), np.exp(1j * (heading(joints) + 0.7)), atol=1e-9)
    np.testing.assert_allclose(heading(np.array([[REST[name] for name in H36M_17.joints]])), 0, atol=1e-12)


def test_recombined_people_keep_their_bones_and_face_one_way() -> None:
    lower, upper = people(400, 1).astype(float), people(400, 2).astype(float)
    joined, fits = recombine(lower, upper)
    assert 0.2 < fits.mean() < 1.0
    np.testing.assert_array_equal(joined[~fits], lower[~fits])
    legs = [j for j in range(17) if j not in UPPER]
    np.testing.assert_allclose(joined[:, legs], lower[:, legs], atol=1e-12)
    upper_bones = [i for i, (_, child) in enumerate(H36M_17.bones) if child in UPPER]
    np.testing.assert_allclose(lengths(joined)[fits][:, upper_bones], lengths(upper)[fits][:, upper_bones], atol=1e-9)
    assert (leg_distance(joined[fits]) >= MIN_LEG_DISTANCE).all()
    # the upper body is the other one's, in its own pelvis frame, turned about the vertical only
    ours = turn(joined - joined[:, :1], -heading(joined))[fits][:, UPPER]
    theirs = turn(upper - upper[:, :1], -heading(upper))[fits][:, UPPER]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_hands_in_a_leg_and_broken_backs_are_refused() -> None:
    rest = np.array([[REST[name] for name in H36M_17.joints]])
    assert recombine(rest, rest)[1].all()
    reaching = rest.copy()
    reaching[0, J("l_wrist")] = (0.1, 0.7, 0.02)  # in the middle of the left thigh
    assert leg_distance(reaching)[0] == pytest.approx(0.02)
    assert not recombine(rest, reaching)[1].any()
    bent = rest.copy()
    bent[0, UPPER] = rest[0, 0] + (rest[0, UPPER] - rest[0, 0])[:, [0, 2, 1]]  # bowed forward by 90 degrees
    assert not recombine(rest, bent)[1].any()


def test_augment_stays_in_its_ranges() -> None:
    ranges = AugmentRanges(mirror=0.0, height=(0.9, 1.1), limb=0.0, recombine=0.0, exchange=0.0)
    joints = people(500)
    result = augment(joints, joints[:0], np.random.default_rng(3), ranges)
    ratio = lengths(result) / lengths(joints)
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(16), rtol=1e-4)
    assert 0.899 < ratio.min() < 0.91
    assert 1.09 < ratio.max() < 1.101
    still = AugmentRanges(mirror=1.0, height=(1.0, 1.0), limb=0.0, recombine=0.0, exchange=0.0, swing_deg=0.0)
    flipped = augment(joints, joints[:0], np.random.default_rng(3), still)
    np.testing.assert_allclose(flipped, mirror(joints), atol=1e-5)
    assert flipped.dtype == np.float32
    assert partners_needed(1000, AugmentRanges(recombine=0.3)) == 300


def test_elbows_and_knees_move_along_their_limbs() -> None:
    """The limb keeps its length, the ratio of its bones spreads as asked, and nothing else changes."""
    still = {"mirror": 0.0, "height": (1.0, 1.0), "limb": 0.0, "recombine": 0.0, "swing_deg": 0.0}
    joints = people(4000)
    before = lengths(joints)
    for middle, end, asked in (("elbow", "wrist", {"elbow": 0.3}), ("knee", "ankle", {"knee": 0.15})):
        after = lengths(augment(joints, joints[:0], np.random.default_rng(5), AugmentRanges(**still, **asked)))
        moved = [J(f"{side}_{name}") - 1 for side in "lr" for name in (middle, end)]
        others = [bone for bone in range(16) if bone not in moved]
        np.testing.assert_allclose(after[:, others], before[:, others], rtol=1e-4)
        np.testing.assert_allclose(after[:, moved].sum(1), before[:, moved].sum(1), rtol=1e-4)
        upper_l, lower_l, upper_r, lower_r = moved
        drawn = np.log(after[:, lower_l] / after[:, upper_l]) - np.log(before[:, lower_l] / before[:, upper_l])
        other = np.log(after[:, lower_r] / after[:, upper_r]) - np.log(before[:, lower_r] / before[:, upper_r])
        np.testing.assert_allclose(drawn, other, atol=1e-3)
        (sigma,) = asked.values()
        assert abs(drawn.mean()) < 0.05 * sigma
        assert 0.96 * sigma < drawn.std() < 1.04 * sigma


def clips() -> list[Clip]:
    """300 frames that hardly differ, and 10 that all do."""
    rng = np.random.default_rng(0)
    still = people(1)[0] + rng.normal(0, 0.0003, (300, 17, 3))
    return [Clip("still", "a", still.astype(np.float32)), Clip("lively", "a", people(10, 7))]


def test_rare_poses_weigh_more_than_repeated_ones() -> None:
    frames = stack_frames(clips())
    even = frame_weights(frames, power=0.0)
    np.testing.assert_allclose(even, 1 / 310, rtol=1e-5)
    full = frame_weights(frames, radius=0.01, power=1.0)
    assert full.sum() == pytest.approx(1, rel=1e-5)
    # 11 poses in all: the 300 near-copies share what one pose gets
    assert full[:300].sum() == pytest.approx(1 / 11, rel=0.05)
    np.testing.assert_allclose(full[300:], 1 / 11, rtol=0.05)
    turned = frame_weights(
        turn(frames, np.linspace(0, 6, 310).astype(np.float32)) + np.float32(2), radius=0.01, power=1.0
    )
    np.testing.assert_allclose(turned, full, rtol=0.02, err_msg="where one stands and looks does not matter")


def test_batches_hold_the_poses_of_the_clips_seen_exactly() -> None:
    made = next(batches(clips(), 64, np.random.default_rng(1), augmented=False))
    frames = stack_frames(clips())
    shape = lengths(made.joints_camera)
    pairwise = np.linalg.norm(made.joints_camera[:, :, None] - made.joints_camera[:, None], axis=-1)
    known = np.linalg.norm(frames[:, :, None] - frames[:, None], axis=-1)
    nearest = abs(pairwise[:, None] - known[None]).max(axis=(2, 3)).min(axis=1)
    assert nearest.max() < 1e-4
    np.testing.assert_allclose(made.rays2d * made.joints_camera[..., 2:], made.joints_camera[..., :2], atol=1e-5)
    assert shape.shape == (64, 16)
    assert made.inside.shape == (64, 17)


def test_batches_repeat_with_the_seed_end_when_told_and_follow_weights() -> None:
    def run(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.stack([b.joints_camera for b in batches(clips(), 32, rng, steps=3)])

    assert run(1).shape == (3, 32, 17, 3)
    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))
    only = np.zeros(310)
    only[304] = 1.0
    cameras = CameraRanges(roll_deg=0.0)
    made = next(batches(clips(), 20, np.random.default_rng(0), augmented=False, weights=only, cameras=cameras))
    np.testing.assert_allclose(
        lengths(made.joints_camera), np.tile(lengths(stack_frames(clips()))[304], (20, 1)), atol=1e-5
    )


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match="no clips"):
        next(batches([], 4, np.random.default_rng(0)))
    for bad in (np.ones(3), -np.ones(310), np.zeros(310), np.full(310, np.nan)):
        with pytest.raises(UsageError, match="310 finite numbers"):
            next(batches(clips(), 4, np.random.default_rng(0), weights=bad))


def test_swing_keeps_every_bone_length_and_the_hips():
    joints = people(200)
    swung = swing(joints, np.random.default_rng(0), 12.0)
    np.testing.assert_allclose(lengths(swung), lengths(joints), rtol=1e-4)
    hips = [0, J("l_hip"), J("r_hip")]
    np.testing.assert_allclose(swung[:, hips], joints[:, hips], atol=1e-6)
    np.testing.assert_allclose(swing(joints, np.random.default_rng(0), 0.0), joints, atol=1e-6)


def test_swing_turns_a_thigh_by_its_own_standard_deviation_and_carries_the_shin_along():
    joints = np.repeat(np.array([list(REST[j]) for j in H36M_17.joints], np.float32)[None], 40_000, 0)
    swung = swing(joints, np.random.default_rng(1), 10.0)
    hip, knee, ankle = J("l_hip"), J("l_knee"), J("l_ankle")
    thigh, shin = swung[:, knee] - swung[:, hip], swung[:, ankle] - swung[:, knee]

    def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        cos = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        return np.degrees(np.arccos(np.clip(cos, -1, 1)))

    # Of the three components of the rotation vector the one along the bone does not move it: two are seen.
    off = degrees(thigh, joints[:, knee] - joints[:, hip])
    assert np.sqrt((off**2).mean()) == pytest.approx(10 * 2**0.5, rel=0.03)
    assert np.sqrt((degrees(thigh, shin) ** 2).mean()) == pytest.approx(6 * 2**0.5, rel=0.03)


def test_lean_tilts_the_body_as_one_about_its_hip():
    joints = people(20_000)
    leant = lean(joints, np.random.default_rng(2), 10.0)
    np.testing.assert_allclose(lengths(leant), lengths(joints), rtol=1e-4)
    np.testing.assert_allclose(leant[:, 0], joints[:, 0], atol=1e-6)
    apart = leant[:, J("head")] - leant[:, J("l_ankle")]
    before = joints[:, J("head")] - joints[:, J("l_ankle")]
    np.testing.assert_allclose(np.linalg.norm(apart, axis=-1), np.linalg.norm(before, axis=-1), rtol=1e-4)
    up = np.zeros_like(joints)
    up[:, 1] = [0, 1, 0]
    tilted = lean(up, np.random.default_rng(3), 10.0)[:, 1]  # a stick that stood upright
    tilt = np.degrees(np.arccos(np.clip(tilted[:, 1], -1, 1)))
    assert np.sqrt((tilt**2).mean()) == pytest.approx(10 * 2**0.5, rel=0.03)  # two axes
    assert np.abs(tilted[:, [0, 2]].mean(0)).max() < 0.01  # to no side more than to another


def _arm_in_torso(joints: np.ndarray, side: str) -> np.ndarray:
    """Unit upper arm and forearm as seen from the shoulders' line and the back, by projections instead of matrices."""
    across = joints[:, J("l_shoulder")] - joints[:, J("r_shoulder")]
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    back = joints[:, J("thorax")] - joints[:, 0]
    back = back - (back * across).sum(-1, keepdims=True) * across
    back /= np.linalg.norm(back, axis=-1, keepdims=True)
    ahead = np.cross(across, back)
    parts = []
    for end, start in (("elbow", "shoulder"), ("wrist", "elbow")):
        bone = joints[:, J(f"{side}_{end}")] - joints[:, J(f"{side}_{start}")]
        bone = bone / np.linalg.norm(bone, axis=-1, keepdims=True)
        parts.append(np.stack([(bone * axis).sum(-1) for axis in (across, back, ahead)], -1))
    return np.concatenate(parts, -1)


def test_exchanged_limbs_are_somebodys_at_the_own_length_on_the_own_torso() -> None:
    joints = people(60, 3)
    changed = exchange_limbs(joints, np.random.default_rng(4), 0.5)
    np.testing.assert_allclose(lengths(changed), lengths(joints), rtol=1e-4)
    torso = [J(n) for n in ("hip", "spine", "thorax", "neck", "head", "l_shoulder", "r_shoulder", "l_hip", "r_hip")]
    np.testing.assert_array_equal(changed[:, torso], joints[:, torso])
    moved = np.abs(changed[:, J("l_elbow")] - joints[:, J("l_elbow")]).max(-1) > 1e-4
    assert 0.2 < moved.mean() < 0.7
    known = np.concatenate([_arm_in_torso(joints, "l"), _arm_in_torso(mirror(joints), "l")])
    nearest = np.abs(_arm_in_torso(changed, "l")[:, None] - known[None]).max(-1).min(1)
    np.testing.assert_allclose(nearest, 0, atol=1e-4)


def test_no_exchange_without_the_chance_and_the_same_for_the_same_seed() -> None:
    joints = people(30, 5)
    np.testing.assert_array_equal(exchange_limbs(joints, np.random.default_rng(0), 0.0), joints)
    first, second = (exchange_limbs(joints, np.random.default_rng(7), 0.6) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_raised_arms_are_out_to_their_own_side_at_every_height_with_the_same_bend() -> None:
    joints = people(4000, 8)
    raised = raise_arms(joints, np.random.default_rng(9), 1.0)
    np.testing.assert_allclose(lengths(raised), lengths(joints), rtol=1e-4)
    arms = [J(f"{side}_{name}") for side in "lr" for name in ("elbow", "wrist")]
    others = [joint for joint in range(17) if joint not in arms]
    np.testing.assert_array_equal(raised[:, others], joints[:, others])
    for side, outwards in (("l", 1), ("r", -1)):
        before, after = _arm_in_torso(joints, side), _arm_in_torso(raised, side)
        moved = np.abs(after - before).max(-1) > 1e-4
        assert moved.mean() > 0.95, "hardly any of these arms would reach into a leg"
        out, up, ahead = after[moved, :3].T
        angle = np.degrees(np.arctan2(outwards * out, -up))  # from hanging, seen from the front
        low, high = RAISED_DEG
        assert low - 0.1 <= angle.min() <= angle.max() <= high + 0.1
        quarters = np.percentile(angle, (25, 50, 75))
        np.testing.assert_allclose(quarters, np.array([0.25, 0.5, 0.75]) * (high - low) + low, atol=6)
        np.testing.assert_allclose(ahead, before[moved, 2], atol=1e-4)  # nearer to front or back it does not come
        bends = [(part[:, :3] * part[:, 3:]).sum(-1) for part in (before, after)]
        np.testing.assert_allclose(*bends, atol=1e-4)


def test_arms_are_raised_by_chance_and_never_into_a_leg() -> None:
    joints = people(3000, 10)
    np.testing.assert_array_equal(raise_arms(joints, np.random.default_rng(0), 0.0), joints)
    moved = np.abs(raise_arms(joints, np.random.default_rng(1), 0.3) - joints).max(-1) > 1e-4
    assert 0.25 < moved[:, J("l_wrist")].mean() < 0.32
    assert 0.25 < moved[:, J("r_wrist")].mean() < 0.32
    both = (moved[:, J("l_wrist")] & moved[:, J("r_wrist")]).mean()
    assert 0.06 < both < 0.12, "each arm by itself"
    # seated with the thighs out to both sides, where arms that hang would go through them
    rest = np.array([[REST[name] for name in H36M_17.joints]], np.float32)
    for side, x in (("l", 1), ("r", -1)):
        rest[0, J(f"{side}_knee")] = [x * 0.55, 1.0, 0]
        rest[0, J(f"{side}_ankle")] = [x * 0.55, 0.6, 0]
    many = np.repeat(rest, 2000, 0)
    assert leg_distance(raise_arms(many, np.random.default_rng(2), 1.0)).min() >= MIN_LEG_DISTANCE - 1e-6
