"""One suite over every lifter that is shipped: the contract of DESIGN §4, on the graph that users run."""

import numpy as np
import pytest

from posepipe.errors import CheckpointError, UsageError
from posepipe.lifters.catalogue import LIFTERS
from posepipe.lifters.checkpoint import read_header, sha256
from posepipe.noise import NoiseKey
from posepipe.skeleton import H36M_17
from posepipe.trt_build.runners.ort import OrtRunner

SHIPPED = [e for e in LIFTERS if e.checkpoint]
PEOPLE = 3


@pytest.fixture(scope="module", params=[e.name for e in SHIPPED])
def runner(request):
    entry = next(e for e in SHIPPED if e.name == request.param)
    with OrtRunner(entry.graph_path) as runner:
        yield runner


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    keypoints = rng.normal(0, 0.7, (PEOPLE, 17, 2)).astype(np.float32)
    return keypoints, rng.uniform(0.3, 1, (PEOPLE, 17)).astype(np.float32)


def noise_for(runner, count, seed=0, people=PEOPLE):
    h = runner.contract.fixed_hypotheses or count
    return np.random.default_rng(seed).normal(size=(people, h, *runner.contract.noise_shape)).astype(np.float32)


def keys(seed=0):
    return [NoiseKey(seed, "test", 7, i) for i in range(PEOPLE)]


def test_shapes_types_and_normalised_weights(runner, inputs):
    noise = noise_for(runner, 6)
    hypotheses, log_weights = runner.run(*inputs, noise)
    assert hypotheses.shape == (PEOPLE, noise.shape[1], 17, 3)
    assert hypotheses.dtype == log_weights.dtype == np.float32
    np.testing.assert_allclose(np.exp(log_weights).sum(1), 1, atol=1e-5)
    assert (hypotheses[:, :, 0] == 0).all()
    assert np.isfinite(hypotheses).all()


def test_metres_of_a_person(runner, inputs):
    """A head stands within arm's length of a hip, whatever the input."""
    hypotheses, _ = runner.run(*inputs, noise_for(runner, 6))
    assert np.linalg.norm(hypotheses, axis=-1).max() < 3.0
    assert np.linalg.norm(hypotheses[:, :, H36M_17.index("head")], axis=-1).mean() > 0.2


def test_the_same_keys_give_the_same_bytes_and_others_do_not(runner, inputs):
    count = runner.contract.fixed_hypotheses or 5
    first = runner.sample(*inputs, keys(), count)
    again = runner.sample(*inputs, keys(), count)
    assert first[0].tobytes() == again[0].tobytes()
    if runner.contract.fixed_hypotheses is None:
        assert np.abs(runner.sample(*inputs, keys(1), count)[0] - first[0]).max() > 1e-3


def test_hypotheses_differ_and_spread_grows_with_the_noise(runner, inputs):
    if runner.contract.fixed_hypotheses == 1:
        pytest.skip("gives one hypothesis by design")
    noise = noise_for(runner, 40)
    hypotheses, _ = runner.run(*inputs, noise)
    gaps = np.linalg.norm(hypotheses[:, :, None] - hypotheses[:, None], axis=-1).mean(-1)
    off_diagonal = gaps[:, ~np.eye(gaps.shape[1], dtype=bool)]
    assert off_diagonal.min() > 1e-4
    if runner.contract.fixed_hypotheses is None:
        noise[..., 0] = 0.3  # the same kernel for all, so that only the noise around it counts
        spreads = [
            runner.run(*inputs, np.concatenate([noise[..., :1], s * noise[..., 1:]], -1))[0].std(1).mean()
            for s in (0.5, 1, 2)
        ]
        np.testing.assert_allclose(spreads, [0.5 * spreads[1], spreads[1], 2 * spreads[1]], rtol=1e-3)


def test_more_hypotheses_leave_the_first_ones_as_they_are(runner, inputs):
    if runner.contract.fixed_hypotheses is not None:
        pytest.skip("always gives the same number")
    few, many = (runner.sample(*inputs, keys(), h)[0] for h in (4, 64))
    np.testing.assert_allclose(many[:, :4], few, atol=1e-5)


def test_people_do_not_touch_each_other(runner, inputs):
    keypoints, confidence = inputs
    noise = noise_for(runner, 6)
    together, weights = runner.run(keypoints, confidence, noise)
    for i in range(PEOPLE):
        alone, weight = runner.run(keypoints[i : i + 1], confidence[i : i + 1], noise[i : i + 1])
        np.testing.assert_allclose(alone[0], together[i], atol=2e-5)
        np.testing.assert_allclose(weight[0], weights[i], atol=1e-5)


def test_nan_in_one_person_stays_there_and_counts_as_unseen(runner, inputs):
    keypoints, confidence = inputs
    noise = noise_for(runner, 6)
    clean, _ = runner.run(keypoints, confidence, noise)
    spoiled, hidden = keypoints.copy(), confidence.copy()
    spoiled[1, 5] = np.nan
    hidden[1, 5] = 0
    got, _ = runner.run(spoiled, confidence, noise)
    np.testing.assert_array_equal(got[[0, 2]], clean[[0, 2]])
    np.testing.assert_allclose(got, runner.run(keypoints, hidden, noise)[0], atol=1e-6)
    everything = np.full_like(keypoints, np.nan)
    assert np.isfinite(runner.run(everything, confidence, noise)[0]).all()


def test_impossible_numbers_of_hypotheses_are_refused(runner, inputs):
    for count in (0, -1, 1_000_000, 3 if runner.contract.fixed_hypotheses else 0):
        with pytest.raises(UsageError):
            runner.sample(*inputs, keys(), count)


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda e: e.name)
def test_graph_and_weights_belong_together(entry):
    header = read_header(entry.checkpoint_path)
    with OrtRunner(entry.graph_path) as runner:
        assert runner.checkpoint_sha256 == sha256(entry.checkpoint_path)
        assert (runner.contract.lifter, runner.contract.conversion) == (header.lifter, header.conversion)


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda e: e.name)
def test_graph_is_torch_to_1e_5(entry):
    pytest.importorskip("torch")
    from posepipe.trt_build.export_onnx import compare_with_torch

    assert compare_with_torch(entry.checkpoint_path, entry.graph_path, entry.variant) <= 1e-5


def test_other_weights_under_the_same_graph_are_refused(tmp_path):
    entry = SHIPPED[0]
    (tmp_path / entry.graph_path.name).write_bytes(entry.graph_path.read_bytes())
    data = bytearray(entry.checkpoint_path.read_bytes())
    data[-1] ^= 1
    (tmp_path / entry.checkpoint).write_bytes(data)
    with pytest.raises(CheckpointError, match="another version"):
        OrtRunner(tmp_path / entry.graph_path.name)
    (tmp_path / entry.checkpoint).unlink()
    with pytest.raises(CheckpointError):
        OrtRunner(tmp_path / entry.graph_path.name)
