"""The generator against Random123's published vectors and a second implementation; what the stream promises."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posepipe.noise import NoiseKey, held_key, normal, philox4x32, stream_key, uniform

PI_COUNTER, PI_KEY = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
# Random123, kat_vectors: philox4x32 with 10 rounds.
PUBLISHED = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI_COUNTER, PI_KEY, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
GOLDEN_KEY = (0x75DEAA33, 0x54E0C795)
word = st.integers(0, 2**32 - 1)
keys = st.builds(
    NoiseKey,
    seed=st.integers(-(2**63), 2**63),
    source=st.text(max_size=20),
    frame=st.integers(0, 2**40),
    track=st.integers(0, 2**31),
)


def plainly(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Philox in Python integers, one round at a time, as the paper's figure draws it."""
    left, right = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * left[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * left[2], 2**32)
        left = [high1 ^ left[1] ^ right[0], low1, high0 ^ left[3] ^ right[1], low0]
        right = [(right[0] + 0x9E3779B9) % 2**32, (right[1] + 0xBB67AE85) % 2**32]
    return left


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED, ids=["zeros", "ones", "pi"])
def test_published_vectors(counter, key, expected):
    assert philox4x32(np.array([counter], np.uint32), key)[0].tolist() == list(expected)


@given(st.lists(st.tuples(word, word, word, word), min_size=1, max_size=5), st.tuples(word, word))
def test_many_counters_at_once_are_each_on_its_own(counters, key):
    got = philox4x32(np.array(counters, np.uint32), key)
    assert got.tolist() == [plainly(counter, key) for counter in counters]


@given(keys, st.integers(1, 200), st.integers(1, 200))
def test_drawing_more_keeps_the_first(key, few, more):
    few, more = sorted((few, more))
    np.testing.assert_array_equal(uniform(key, more)[:few], uniform(key, few))
    np.testing.assert_array_equal(normal(key, (more, 3))[:few], normal(key, (few, 3)))
    np.testing.assert_array_equal(normal(key, (more,))[:few], normal(key, (few,)))


@given(keys)
def test_every_part_of_the_key_matters_and_nothing_else(key):
    def draw(**change: object) -> bytes:
        return normal(NoiseKey(**{**key.__dict__, **change}), (8,)).tobytes()

    first = draw()
    others = {draw(seed=key.seed + 1), draw(source=key.source + "x"), draw(frame=key.frame + 1)}
    others |= {draw(track=key.track + 1), draw(frame=key.frame + 2**32)}
    assert len(others) == 5
    assert first not in others
    assert draw() == first, "drawing others in between changes nothing"


def test_no_two_names_are_glued_into_the_same_key():
    assert stream_key(1, "2") != stream_key(12, "")
    assert stream_key(1, "") != stream_key(0, "1")


def test_the_stream_is_pinned():
    """Files on users' disks are repeated with it, so it may never change."""
    key = NoiseKey(seed=7, source="golden", frame=3, track=1)
    assert stream_key(7, "golden") == GOLDEN_KEY
    words = [plainly((block, 3, 0, 1), GOLDEN_KEY) for block in range(2)]
    expected = [((w >> 9) + 0.5) / 2**23 for block in words for w in block]
    np.testing.assert_array_equal(uniform(key, 8), np.array(expected, np.float32))


def test_uniforms_are_uniform_and_never_zero_or_one():
    u = uniform(NoiseKey(1, "moments", 0, 0), 400_000)
    assert 0 < u.min() < u.max() < 1
    counts = np.histogram(u, 20, (0, 1))[0]
    chi2 = ((counts - 20_000) ** 2 / 20_000).sum()
    assert chi2 < 43.8  # 99.9 % of a chi-squared with 19 degrees of freedom


def test_normals_have_the_moments_of_a_normal():
    n = 400_000
    z = normal(NoiseKey(2, "moments", 5, 3), (n // 4, 4)).astype(np.float64)
    flat = z.ravel()
    deviation = 4 / np.sqrt(n)  # four standard errors of each statistic
    assert abs(flat.mean()) < deviation
    assert abs(flat.var() - 1) < deviation * np.sqrt(2)
    assert abs((flat**3).mean()) < deviation * np.sqrt(15)
    assert abs((flat**4).mean() - 3) < deviation * np.sqrt(96)
    correlation = np.corrcoef(z.T)
    assert np.abs(correlation - np.eye(4)).max() < 4 / np.sqrt(n / 4), "neighbours of one pair are independent too"


def test_frames_and_tracks_are_independent_of_each_other():
    rows = np.stack([normal(NoiseKey(0, "x", frame, track), (4096,)) for frame in range(4) for track in range(4)])
    assert np.abs(np.corrcoef(rows) - np.eye(16)).max() < 5 / np.sqrt(4096)


@given(st.integers(-(2**31), 2**31), st.floats(-1e4, 1e6), st.integers(0, 1000), st.floats(0.1, 100))
def test_held_noise_is_a_point_on_the_circle_through_two_drawn_tensors(seed, seconds, track, refresh):
    key = held_key(seed, "x", seconds, track, refresh)
    assert 0 <= key.turn <= np.pi / 2
    assert key.frame + key.turn / (np.pi / 2) == pytest.approx(seconds / refresh, abs=1e-6, rel=1e-9)
    here, there = (normal(NoiseKey(seed, "x", key.frame + k, track), (6,)).astype(float) for k in (0, 1))
    np.testing.assert_allclose(normal(key, (6,)), np.cos(key.turn) * here + np.sin(key.turn) * there, atol=1e-5)


def test_held_noise_is_standard_normal_at_every_moment_and_moves_at_one_speed():
    moments = [normal(held_key(3, "x", t, 0, 4.0), (100_000,)) for t in np.arange(0, 8, 0.5)]
    for values in moments:
        assert abs(values.mean()) < 0.015
        assert abs(values.var() - 1) < 0.02
    steps = [np.sqrt(((b - a) ** 2).mean()) for a, b in itertools.pairwise(moments)]
    np.testing.assert_allclose(steps, 2 * np.sin(np.pi / 2 / 4 * 0.5 / 2), rtol=0.02)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_held_noise_without_a_time_is_that_of_time_zero(seconds):
    assert held_key(1, "x", seconds, 2, 4.0) == NoiseKey(1, "x", 0, 2)
