"""The gate on results whose error is known, and the people that it uses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from posepipe.lifters.checkpoint import Checkpoint
from posepipe.skeleton import H36M_17
from posepipe.trt_build.engine.gate import Run, compare, noise_of, reference
from posepipe.trt_build.engine.poses import people, poses

CONTRACT = Checkpoint("mdn", {}, "person", "h36m17@1", (4,), 20)
PEOPLE = 60


def lifter(keypoints: np.ndarray, confidence: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Uses all that it is given, every person and hypothesis on its own; weights that depend on H as real ones do."""
    joints = np.concatenate([keypoints, confidence[..., None]], -1)[:, None] * 0.3 + noise[:, :, None, :3] * 0.1
    scores = noise[..., 3]
    weights = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    return joints.astype(np.float32), weights.astype(np.float32)


def changed(error: float, share: float = 1.0) -> Run:
    """The same with `error` metres in a share of the joints."""

    def run(keypoints: np.ndarray, confidence: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert len(keypoints) == len(confidence) == len(noise) == 8
        joints, weights = lifter(keypoints, confidence, noise)
        hit = np.random.default_rng(int(noise.sum() * 1e3) % 2**31).uniform(size=joints.shape[:-1]) < share
        joints[..., 2] += np.where(hit, np.float32(error), 0)
        return joints, weights

    return run


@pytest.fixture(scope="module")
def expected():
    return reference(CONTRACT, lifter, PEOPLE, batch=7)


@pytest.mark.parametrize(
    ("error", "share", "fp32", "fp16"),
    [
        (0.0, 1.0, True, True),
        (0.9e-4, 1.0, True, True),
        (1.1e-4, 1.0, False, True),
        (1.1e-4, 0.001, False, True),
        (0.9e-3, 1.0, False, True),
        (1.1e-3, 1.0, False, False),
        (0.5, 0.002, False, True),
        (0.5, 0.05, False, False),
        (float("nan"), 0.001, False, False),
        (float("inf"), 0.001, False, False),
    ],
)
def test_what_passes(expected, error: float, share: float, fp32: bool, fp16: bool) -> None:
    difference = compare(expected, changed(error, share), persons=8, hypotheses=20)  # 60 people: the last is filled up
    assert (difference.passes("fp32"), difference.passes("fp16")) == (fp32, fp16)
    assert (difference.poses, difference.hypotheses) == (PEOPLE, 10)
    if np.isfinite(error):
        assert difference.maximum == pytest.approx(error, abs=1e-6)
    assert ("max 0.1 mm" in difference.line("fp32"), "p99 1 mm" in difference.line("fp16")) == (True, True)


def test_an_engine_with_more_hypotheses_is_compared_by_its_first(expected) -> None:
    assert compare(expected, changed(0.0), 8, 200).maximum == 0
    assert compare(expected, changed(0.0), 8, 3).hypotheses == 3
    assert np.array_equal(noise_of(CONTRACT, range(3), 200)[:, :5], noise_of(CONTRACT, range(3), 5))


def test_wrong_weights_fail(expected) -> None:
    def run(*inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        joints, weights = lifter(*inputs)
        return joints, weights[:, ::-1]

    difference = compare(expected, run, 8, 20)
    assert difference.maximum == 0
    assert not difference.passes("fp32")
    assert not difference.passes("fp16")


def test_results_without_a_unit_are_compared_as_shares(expected) -> None:
    large = dataclasses.replace(expected, hypotheses=expected.hypotheses * 100)

    def run(*inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        joints, weights = lifter(*inputs)
        return joints * 100 + np.float32(1e-3), weights

    assert compare(large, run, 8, 20).passes("fp32")
    assert not compare(expected, lambda *i: (lifter(*i)[0] + np.float32(1e-3), lifter(*i)[1]), 8, 20).passes("fp32")


def test_steps_and_fixed_numbers_decide_how_many_hypotheses() -> None:
    def count(**fields: object) -> int:
        return reference(dataclasses.replace(CONTRACT, **fields), lifter, 4).count  # type: ignore[arg-type]

    assert (count(), count(steps=10), count(steps=2), count(hypotheses=3)) == (10, 1, 5, 3)
    assert count(fixed_hypotheses=5, hypotheses=5) == 5


def test_people_are_of_human_size_and_stand_upright() -> None:
    joints = poses(500)
    index = {name: i for i, name in enumerate(H36M_17.joints)}
    lengths = {
        child: np.linalg.norm(joints[:, c] - joints[:, p], axis=1)
        for p, c in H36M_17.bones
        for child in [H36M_17.joints[c]]
    }
    assert 0.36 < lengths["l_knee"].min() <= lengths["l_knee"].max() < 0.5
    assert np.allclose(lengths["l_knee"], lengths["r_knee"])  # one person's legs are equally long
    assert (joints[:, index["head"], 1] < joints[:, index["l_ankle"], 1]).mean() > 0.95  # y points down
    assert np.all(joints[:, 0] == 0)
    # left, up and forward are right-handed: nobody is a mirror image
    across = joints[:, index["l_hip"]] - joints[:, index["r_hip"]]
    up = joints[:, index["thorax"]] - joints[:, index["hip"]]
    forward = np.cross(across, up)[:, 2]
    elbows = joints[:, [index["l_elbow"], index["r_elbow"]]].mean(1)
    wrists = joints[:, [index["l_wrist"], index["r_wrist"]]].mean(1)
    assert np.corrcoef(forward, (wrists - elbows)[:, 2])[0, 1] > 0.3  # forearms hang forward, on every side


def test_keypoints_are_what_a_lifter_is_given() -> None:
    for space in ("person", "screen"):
        keypoints, confidence = people(space, 300)
        assert (keypoints.dtype, confidence.dtype) == (np.float32, np.float32)
        assert np.isfinite(keypoints).all()
        assert 0 <= confidence.min() <= confidence.max() <= 1
        assert 0.02 < (confidence == 0).mean() < 0.1
        again, _ = people(space, 300)
        assert np.array_equal(keypoints, again)
        other, _ = people(space, 300, seed=1)
        assert not np.array_equal(keypoints, other)
    assert np.abs(people("screen", 300)[0]).max() < 1  # in the picture
