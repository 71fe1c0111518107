"""Bones, joint limits and motion on a figure whose every bone is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posepipe.metrics_body import (
    BREACHES,
    acceleration,
    bone_asymmetry,
    bone_error,
    bone_lengths,
    breaches,
    velocity_error,
)
from posepipe.skeleton import H36M_17

KNEE, FOLDED, UNEQUAL = range(3)


def standing() -> np.ndarray:
    """Facing the camera, arms out, metres, x right, y down, z forward: the left side has positive x."""
    place = {"hip": (0, 0), "spine": (0, -0.2), "thorax": (0, -0.45), "neck": (0, -0.6), "head": (0, -0.75)}
    for side, x in (("l_", 1), ("r_", -1)):
        place |= {side + "hip": (0.1 * x, 0), side + "knee": (0.1 * x, 0.4), side + "ankle": (0.1 * x, 0.8)}
        place |= {
            side + "shoulder": (0.2 * x, -0.45),
            side + "elbow": (0.5 * x, -0.45),
            side + "wrist": (0.7 * x, -0.45),
        }
    return np.array([(*place[joint], 0.0) for joint in H36M_17.joints])


def bent_knee(degrees: float, side: str = "l_") -> np.ndarray:
    """Standing, one shank turned backwards (away from the camera) by so many degrees."""
    joints = standing()
    knee, ankle = H36M_17.index(side + "knee"), H36M_17.index(side + "ankle")
    angle = np.radians(degrees)
    joints[ankle] = joints[knee] + 0.4 * np.array([0, np.cos(angle), np.sin(angle)])
    return joints


def test_bones_have_their_lengths_and_are_alike_left_and_right():
    joints = standing()
    lengths = dict(zip([H36M_17.joints[c] for _, c in H36M_17.bones], bone_lengths(joints), strict=True))
    assert lengths["l_knee"] == pytest.approx(0.4)
    assert lengths["r_elbow"] == pytest.approx(0.3)
    assert bone_asymmetry(joints) == pytest.approx(0)


def test_one_longer_forearm_is_seen_by_both_measures():
    joints = standing()
    joints[H36M_17.index("l_wrist"), 0] += 0.06
    assert bone_asymmetry(joints) == pytest.approx(0.06 / 6)  # six pairs of bones
    assert bone_error(joints, standing()) == pytest.approx(0.06 / 16)
    assert breaches(joints).tolist() == [False, False, True]  # 0.26 is more than 1.25 times 0.2


@pytest.mark.parametrize("side", ["l_", "r_"])
@pytest.mark.parametrize(("degrees", "breach"), [(0, False), (90, False), (150, False), (-10, False), (-45, True)])
def test_knees_bend_one_way(side, degrees, breach):
    assert breaches(bent_knee(degrees, side))[KNEE] == breach


def test_limits_do_not_depend_on_how_the_person_stands_but_on_left_and_right():
    turns = Rotation.random(20, random_state=0).as_matrix()
    possible, impossible = bent_knee(60) @ turns, bent_knee(-60) @ turns
    assert not breaches(possible).any()
    assert breaches(impossible)[:, KNEE].all()
    swapped = possible[:, list(H36M_17.mirror)]  # the person now looks the other way
    assert breaches(swapped)[:, KNEE].all()


def test_an_arm_folded_flat_is_caught():
    joints = standing()
    elbow, wrist = H36M_17.index("r_elbow"), H36M_17.index("r_wrist")
    joints[wrist] = joints[elbow] + [0.2, 0.01, 0]
    assert breaches(joints).tolist() == [False, True, False]
    assert len(BREACHES) == 3


def test_motion_of_a_known_path():
    t = np.arange(30.0)[:, None, None]
    truth = np.broadcast_to(standing(), (30, 17, 3)) + t * [0.01, 0, 0]
    assert acceleration(truth) == pytest.approx(0, abs=1e-12)
    assert acceleration(truth + 0.5 * 0.004 * t**2 * [0, 1, 0]) == pytest.approx(0.004)
    assert velocity_error(truth + 3.0, truth) == pytest.approx(0, abs=1e-12)
    assert velocity_error(truth * 1 + t * [0, 0.02, 0], truth) == pytest.approx(0.02)
