"""Conversions are linear, balanced and symmetrical, whatever the points are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posepipe.conversion import BLAZEPOSE33_H36M17, COCO17_H36M17, CONVERSIONS, Conversion, conversion
from posepipe.errors import UsageError
from posepipe.skeleton import BLAZEPOSE_33, COCO_17, H36M_17
from posepipe.types import Pose2D

EVERY = pytest.mark.parametrize("rule", CONVERSIONS, ids=lambda c: c.name)
coordinates = st.floats(-2000, 2000, width=32)


def people(rule: Conversion, dimensions: int = 2) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, (len(rule.source), dimensions), elements=coordinates)


@EVERY
def test_weights_of_every_joint_add_up_to_one(rule: Conversion):
    assert set(rule.rules) == set(H36M_17.joints)
    np.testing.assert_allclose(rule.matrix.sum(1), 1, atol=1e-6)


@EVERY
@given(data=st.data(), angle=st.floats(-7, 7), scale=st.floats(0.01, 100), shift=st.tuples(coordinates, coordinates))
def test_turning_scaling_and_moving_the_image_commutes(rule, data, angle, scale, shift):
    points = data.draw(people(rule)).astype(np.float64)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    before = rule.points(points @ turn.T + shift)
    after = rule.points(points) @ turn.T + shift
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-2 * scale)


@EVERY
@given(data=st.data(), width=st.integers(1, 4000))
def test_mirroring_the_image_commutes(rule, data, width):
    points = data.draw(people(rule)).astype(np.float64)
    flip, offset = np.array([-1, 1]), np.array([width, 0])
    before = rule.points((points * flip + offset)[list(rule.source.mirror)])
    after = (rule.points(points) * flip + offset)[list(H36M_17.mirror)]
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-2)


@EVERY
@given(data=st.data())
def test_a_missing_keypoint_spoils_exactly_the_joints_that_need_it(rule, data):
    points = data.draw(people(rule, data.draw(st.sampled_from([2, 3]))))
    lost = data.draw(st.integers(0, len(rule.source) - 1))
    damaged = points.copy()
    damaged[lost] = np.nan
    result = rule.points(damaged)
    needs = np.array([rule.source.joints[lost] in rule.rules[joint] for joint in H36M_17.joints])
    assert result.dtype == np.float32
    assert np.isnan(result).all(-1).tolist() == needs.tolist()
    np.testing.assert_array_equal(result[~needs], rule.points(points)[~needs])


@EVERY
def test_a_batch_is_the_same_as_one_at_a_time(rule: Conversion):
    points = np.random.default_rng(0).normal(size=(3, 2, len(rule.source), 2)).astype(np.float32)
    single = np.stack([[rule.points(p) for p in row] for row in points])
    np.testing.assert_allclose(rule.points(points), single, atol=1e-6)


@EVERY
def test_limbs_follow_their_own_keypoint_and_the_hip_both_hips(rule: Conversion):
    # A correction of the detector's bias may mix a little of other keypoints in.
    for name in ("l_ankle", "r_wrist", "l_elbow", "r_knee", "l_hip", "r_shoulder"):
        weights = rule.matrix[H36M_17.index(name)]
        assert weights.argmax() == rule.source.index(name)
        assert weights.max() > 0.5
    if "hip" not in rule.source.joints:
        hip = rule.rules["hip"]
        assert hip["l_hip"] == hip["r_hip"] == max(hip.values())


def test_coco_joints_at_known_places():
    points = np.random.default_rng(1).normal(size=(17, 2)).astype(np.float32)
    joints = dict(zip(H36M_17.joints, COCO17_H36M17.points(points), strict=True))
    at = dict(zip(COCO_17.joints, points, strict=True))
    np.testing.assert_allclose(joints["hip"], (at["l_hip"] + at["r_hip"]) / 2, atol=1e-6)
    np.testing.assert_allclose(joints["spine"], (joints["hip"] + joints["thorax"]) / 2, atol=1e-6)
    np.testing.assert_array_equal(joints["neck"], at["nose"])
    np.testing.assert_array_equal(joints["r_ankle"], at["r_ankle"])


def test_blazepose_head_lies_above_the_neck_and_the_neck_above_the_shoulders():
    points = np.zeros((33, 2), np.float32)
    places = {"l_ear": (1, 2), "r_ear": (-1, 2), "l_mouth": (0.5, 3), "r_mouth": (-0.5, 3)}
    places |= {"l_shoulder": (4, 6), "r_shoulder": (-4, 6), "l_hip": (2, 18), "r_hip": (-2, 18)}
    for name, place in places.items():
        points[BLAZEPOSE_33.index(name)] = place
    joints = dict(zip(H36M_17.joints, BLAZEPOSE33_H36M17.points(points), strict=True))
    heights = [joints[name][1] for name in ("head", "neck", "thorax", "spine", "hip")]
    assert heights == sorted(heights), "y points down: head first"
    assert len(set(heights)) == 5


def test_confidence_is_the_mean_of_the_sources_and_zero_where_one_is_lost():
    keypoints = np.zeros((17, 2), np.float32)
    confidence = np.ones(17, np.float32)
    confidence[COCO_17.index("l_hip")] = 0.5
    keypoints[COCO_17.index("l_wrist")] = np.nan
    pose = COCO17_H36M17.pose(Pose2D(keypoints, confidence, "coco17"))
    joint = dict(zip(H36M_17.joints, pose.confidence, strict=True))
    assert pose.skeleton == "h36m17"
    assert joint["hip"] == pytest.approx(0.75)
    assert joint["spine"] == pytest.approx(0.875)
    assert joint["l_hip"] == pytest.approx(0.5)
    assert joint["l_wrist"] == 0
    assert joint["r_wrist"] == 1


@EVERY
@given(data=st.data())
def test_confidence_stays_between_zero_and_one(rule, data):
    confidence = data.draw(arrays(np.float32, len(rule.source), elements=st.floats(0, 1, width=32) | st.just(np.nan)))
    keypoints = np.zeros((len(rule.source), 2), np.float32)
    result = rule.pose(Pose2D(keypoints, confidence, rule.source.name)).confidence
    assert ((result >= 0) & (result <= 1)).all()


def test_a_detection_in_another_layout_is_refused_with_the_conversion_that_fits():
    pose = Pose2D(np.zeros((17, 2), np.float32), np.ones(17, np.float32), "coco17")
    with pytest.raises(UsageError, match=r"blazepose33 keypoints, not coco17.*coco17-h36m17@"):
        BLAZEPOSE33_H36M17.pose(pose)


def test_names_are_unique_and_unknown_ones_are_an_error():
    assert len({rule.name for rule in CONVERSIONS}) == len(CONVERSIONS)
    assert all(conversion(rule.name) is rule for rule in CONVERSIONS)
    with pytest.raises(UsageError, match="coco17-h36m17@"):
        conversion("coco17")
