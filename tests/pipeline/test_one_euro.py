"""The filter against the paper's algorithm written out for one number, and what is promised about time and gaps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posepipe.pipeline.smooth.one_euro import OneEuro, one_euro

HOW = OneEuro(min_cutoff=1.5, beta=4.0)


def run(values, times, how=HOW, unit=1.0):
    state, result = None, []
    for value, t in zip(values, times, strict=True):
        state = one_euro(state, np.asarray(value), t, how, unit)
        result.append(state.value)
    return np.array(result)


def paper(values, times, how):
    """Casiez et al. 2012, algorithm 1, for one coordinate."""

    def alpha(cutoff, step):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / step)

    out, slope = [values[0]], 0.0
    for i in range(1, len(values)):
        step = times[i] - times[i - 1]
        dx = (values[i] - out[-1]) / step
        a = alpha(how.d_cutoff, step)
        slope = a * dx + (1 - a) * slope
        a = alpha(how.min_cutoff + how.beta * abs(slope), step)
        out.append(a * values[i] + (1 - a) * out[-1])
    return np.array(out)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.005, 0.4)), min_size=2, max_size=30))
def test_one_coordinate_is_the_papers_algorithm_at_any_rate(steps):
    values, times = [v for v, _ in steps], np.cumsum([s for _, s in steps])
    np.testing.assert_allclose(run([[v] for v in values], times)[:, 0], paper(values, times, HOW), atol=1e-9)


@given(st.integers(0, 1000), st.floats(0, 6.28))
def test_turning_the_axes_turns_the_result(seed, angle):
    path = np.random.default_rng(seed).normal(size=(20, 5, 2)).cumsum(0)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    times = np.arange(20) / 30
    np.testing.assert_allclose(run(path @ turn.T, times), run(path, times) @ turn.T, atol=1e-9)


def test_rest_is_calm_and_motion_is_on_time():
    times, rng = np.arange(300) / 30, np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (300, 1, 3))
    still = run(noise, times)
    assert np.diff(still, axis=0).std() < 0.25 * np.diff(noise, axis=0).std()
    speed = 3.0  # m/s: a kick
    moving = np.zeros((300, 1, 3))
    moving[:, 0, 0] = speed * times
    behind = (moving - run(moving, times))[-1, 0, 0] / speed
    assert 0 < behind < 0.015, "seconds; half a frame"


def test_a_unit_makes_pixels_of_a_large_person_what_those_of_a_small_one_are():
    path = np.random.default_rng(1).normal(size=(30, 4, 2)).cumsum(0)
    times = np.arange(30) / 30
    np.testing.assert_allclose(run(7 * path, times, unit=7.0), 7 * run(path, times), atol=1e-9)


def test_an_unseen_joint_is_nan_and_starts_anew_while_the_others_go_on():
    path = np.random.default_rng(2).normal(size=(12, 3, 2))
    times = np.arange(12) / 30
    holed = path.copy()
    holed[5:7, 1] = np.nan
    got, whole = run(holed, times), run(path, times)
    np.testing.assert_array_equal(np.isnan(got).any((1, 2)), [i in (5, 6) for i in range(12)])
    np.testing.assert_array_equal(got[:, [0, 2]], whole[:, [0, 2]])
    np.testing.assert_array_equal(got[7, 1], path[7, 1])
    assert not np.allclose(got[8, 1], path[8, 1])


@pytest.mark.parametrize("jump", [0.51, 100.0, 0.0, -1.0])
def test_after_a_gap_or_a_clock_that_does_not_advance_it_starts_anew(jump):
    state = one_euro(one_euro(None, np.zeros((2, 3)), 10.0, HOW), np.zeros((2, 3)), 10.03, HOW)
    np.testing.assert_array_equal(one_euro(state, np.ones((2, 3)), 10.03 + jump, HOW).value, np.ones((2, 3)))


def test_just_before_the_gap_it_goes_on():
    state = one_euro(None, np.zeros((2, 3)), 10.0, HOW)
    assert (one_euro(state, np.ones((2, 3)), 10.45, HOW).value < 1).all()
