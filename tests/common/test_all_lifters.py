"""One suite over every lifter: the contract of DESIGN §4, on the graph that users run (see conftest.py)."""

import numpy as np
import pytest

from posepipe.errors import CheckpointError, UsageError
from posepipe.hashing import file_sha256
from posepipe.lifters.catalogue import LIFTERS
from posepipe.lifters.checkpoint import read_header
from posepipe.noise import NoiseKey
from posepipe.skeleton import H36M_17
from posepipe.trt_build.runners.ort import OrtRunner

PEOPLE = 3


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    keypoints = rng.normal(0, 0.7, (PEOPLE, 17, 2)).astype(np.float32)
    return keypoints, rng.uniform(0.3, 1, (PEOPLE, 17)).astype(np.float32)


def keys(seed=0):
    return [NoiseKey(seed, "test", 7, i) for i in range(PEOPLE)]


def any_number(subject):
    return subject.contract.fixed_hypotheses is None


def test_shapes_types_and_normalised_weights(subject, inputs):
    noise = subject.noise(6)
    hypotheses, log_weights = subject.runner.run(*inputs, noise)
    assert hypotheses.shape == (PEOPLE, noise.shape[1], 17, 3)
    assert log_weights.shape == (PEOPLE, noise.shape[1])
    assert hypotheses.dtype == log_weights.dtype == np.float32
    np.testing.assert_allclose(np.exp(log_weights).sum(1), 1, atol=1e-5)
    assert (hypotheses[:, :, 0] == 0).all()
    assert np.isfinite(hypotheses).all()


def test_metres_of_a_person(subject, inputs):
    """Somebody who stands upright has no joint further than two metres from the hip, in any hypothesis."""
    across = [0, -0.2, -0.2, -0.2, 0.2, 0.2, 0.2, 0, 0, 0, 0, 0.35, 0.4, 0.4, -0.35, -0.4, -0.4]
    down = [0, 0, 0.9, 1.8, 0, 0.9, 1.8, -0.5, -1.0, -1.3, -1.6, -0.95, -0.4, 0.1, -0.95, -0.4, 0.1]
    standing = np.stack([across, down], -1) - [0, np.mean(down)]
    standing = np.repeat((standing / np.sqrt((standing**2).sum(-1).mean()))[None], PEOPLE, 0).astype(np.float32)
    hypotheses, _ = subject.runner.run(standing, np.ones_like(inputs[1]), subject.noise(6))
    assert np.linalg.norm(hypotheses, axis=-1).max() < 2.0
    assert np.linalg.norm(hypotheses[:, :, H36M_17.index("head")], axis=-1).mean() > (0.05 if subject.random else 0.2)


def test_the_same_keys_give_the_same_bytes_and_others_do_not(subject, inputs):
    count = subject.contract.fixed_hypotheses or 5
    first = subject.runner.sample(*inputs, keys(), count)
    again = subject.runner.sample(*inputs, keys(), count)
    assert first[0].tobytes() == again[0].tobytes()
    other = subject.runner.sample(*inputs, keys(1), count)[0]
    assert (np.abs(other - first[0]).max() > 1e-3) == any_number(subject)


def test_two_hypotheses_differ(subject, inputs):
    if subject.contract.fixed_hypotheses == 1:
        pytest.skip("gives one hypothesis by design")
    hypotheses, _ = subject.runner.run(*inputs, subject.noise(40))
    gaps = np.linalg.norm(hypotheses[:, :, None] - hypotheses[:, None], axis=-1).mean(-1)
    assert gaps[:, ~np.eye(gaps.shape[1], dtype=bool)].min() > 1e-4


def test_spread_grows_with_the_noise(subject, inputs):
    if not any_number(subject):
        pytest.skip("its noise is not used")
    noise = subject.noise(64)
    chooses = subject.contract.lifter == "mdn"
    if chooses:
        noise[..., 0] = 0.3  # the same kernel for all, so that only the noise around it counts

    def spread(scale):
        scaled = scale * noise
        if chooses:
            scaled[..., 0] = noise[..., 0]
        return subject.runner.run(*inputs, scaled)[0].std(1).mean()

    none, half, once, twice = (spread(s) for s in (0, 0.5, 1, 2))
    assert none < 1e-6 < half
    assert half < once < twice


def before_calibration(subject, inputs, noise):
    """What the sampler draws, before its hypotheses are spread about their mean; the graph's own where none are."""
    if not subject.contract.network.get("calibrated"):
        return subject.runner.run(*inputs, noise)[0]
    torch = pytest.importorskip("torch")
    from posepipe.lifters.build import load

    _, sampler = load(subject.checkpoint, subject.variant)
    sampler.calibration = None
    with torch.no_grad():
        return sampler(*(torch.from_numpy(array) for array in (*inputs, noise)))[0].numpy()


def test_one_hypothesis_is_enough(subject, inputs):
    if not any_number(subject):
        pytest.skip("always gives the same number")
    noise = subject.noise(6)
    alone, log_weight = subject.runner.run(*inputs, noise[:, 2:3])
    np.testing.assert_allclose(alone[:, 0], before_calibration(subject, inputs, noise)[:, 2], atol=3e-5)
    np.testing.assert_allclose(log_weight, 0, atol=1e-6)


def test_more_hypotheses_leave_the_first_ones_as_they_are(subject, inputs):
    if not any_number(subject):
        pytest.skip("always gives the same number")
    noise = subject.noise(64)
    few, many = (before_calibration(subject, inputs, noise[:, :h]) for h in (4, 64))
    np.testing.assert_allclose(many[:, :4], few, atol=3e-5)


def test_calibration_moves_hypotheses_along_the_line_through_their_mean(subject, inputs):
    if not any_number(subject) or not subject.contract.network.get("calibrated"):
        pytest.skip("was not calibrated")
    noise = subject.noise(64)
    drawn = before_calibration(subject, inputs, noise)
    spread, log_weights = subject.runner.run(*inputs, noise)
    weights = np.exp(log_weights)[..., None, None]
    middle = (weights * drawn).sum(1, keepdims=True)
    before, after = drawn - middle, spread - middle
    np.testing.assert_allclose(np.cross(before, after), 0, atol=1e-4)
    assert ((before * after).sum(-1) >= -1e-6).all()
    far = np.linalg.norm(before, axis=-1) > 0.02
    ratio = np.linalg.norm(after, axis=-1)[far] / np.linalg.norm(before, axis=-1)[far]
    assert ratio.min() > 0.1
    assert ratio.max() < 20


def test_a_mirrored_person_gets_the_mirrored_hypotheses(subject, inputs):
    if not subject.averages_with_the_mirror_image:
        pytest.skip("as published, it does not average with the mirror image")
    keypoints, confidence = inputs
    noise = subject.noise(6)
    plain, _ = subject.runner.run(keypoints, confidence, noise)
    other, _ = subject.runner.run(subject.mirror(keypoints), subject.mirror(confidence), subject.mirrored_noise(noise))
    np.testing.assert_allclose(subject.mirror(other), plain, atol=2e-5)
    assert np.abs(subject.mirror(plain) - plain).max() > 0.01


def test_people_do_not_touch_each_other(subject, inputs):
    keypoints, confidence = inputs
    noise = subject.noise(6)
    together, weights = subject.runner.run(keypoints, confidence, noise)
    for i in range(PEOPLE):
        alone, weight = subject.runner.run(keypoints[i : i + 1], confidence[i : i + 1], noise[i : i + 1])
        np.testing.assert_allclose(alone[0], together[i], atol=2e-5)
        np.testing.assert_allclose(weight[0], weights[i], atol=1e-5)


def test_nan_in_one_person_stays_there_and_counts_as_unseen(subject, inputs):
    keypoints, confidence = inputs
    noise = subject.noise(6)
    clean, _ = subject.runner.run(keypoints, confidence, noise)
    spoiled, hidden = keypoints.copy(), confidence.copy()
    spoiled[1, 5] = np.nan
    hidden[1, 5] = 0
    got, _ = subject.runner.run(spoiled, confidence, noise)
    np.testing.assert_array_equal(got[[0, 2]], clean[[0, 2]])
    np.testing.assert_allclose(got, subject.runner.run(keypoints, hidden, noise)[0], atol=2e-6)
    everything = np.full_like(keypoints, np.nan)
    assert np.isfinite(subject.runner.run(everything, confidence, noise)[0]).all()


def test_impossible_numbers_of_hypotheses_are_refused(subject, inputs):
    for count in (0, -1, 1_000_000, 0 if any_number(subject) else 3):
        with pytest.raises(UsageError):
            subject.runner.sample(*inputs, keys(), count)


def test_arrays_of_another_shape_are_refused_by_name(subject, inputs):
    keypoints, confidence = inputs
    noise = subject.noise(6)
    wrong = {
        "keypoints": (keypoints[:, :16], confidence, noise),
        "confidence": (keypoints, confidence[:2], noise),
        "noise": (keypoints, confidence, np.stack([noise, noise], -1)),
    }
    for name, arrays in wrong.items():
        with pytest.raises(UsageError, match=f"'{name}' has the shape"):
            subject.runner.run(*arrays)


def test_graph_and_weights_belong_together(subject):
    header = read_header(subject.checkpoint)
    assert subject.runner.checkpoint_sha256 == file_sha256(subject.checkpoint)
    assert (subject.contract.lifter, subject.contract.conversion) == (header.lifter, header.conversion)


def test_graph_is_torch_to_3e_5(subject):
    """For one person and for several, one hypothesis and several, with joints that are not seen."""
    torch = pytest.importorskip("torch")
    from posepipe.lifters.build import load

    header, sampler = load(subject.checkpoint, subject.variant)
    assert header == subject.contract
    for people, count in ((1, 1), (5, 7)):
        rng = np.random.default_rng(people)
        keypoints = rng.normal(0, 0.7, (people, 17, 2)).astype(np.float32)
        confidence = rng.uniform(0, 1, (people, 17)).astype(np.float32)
        keypoints[0, 3], confidence[0, 12] = np.nan, 0
        given = keypoints, confidence, subject.noise(count, people, seed=people)
        with torch.no_grad():
            expected = sampler(*(torch.from_numpy(array) for array in given))
        for got, want in zip(subject.runner.run(*given), expected, strict=True):
            np.testing.assert_allclose(got, want.numpy(), atol=3e-5, rtol=0)


def test_tensorrt_could_read_the_graph(subject):
    onnx = pytest.importorskip("onnx")
    from posepipe.trt_build.tensorrt_check import problems

    assert problems(onnx.load(str(subject.graph), load_external_data=False)) == []


def test_the_graph_holds_no_weights_of_its_own(subject):
    """Every large matrix is a reference into the checkpoint: the weights exist once on disk."""
    onnx = pytest.importorskip("onnx")
    from safetensors import safe_open

    with safe_open(str(subject.checkpoint), framework="numpy") as file:
        stored = set(file.keys())
    model = onnx.load(str(subject.graph), load_external_data=False)
    tensors = {t.name.removesuffix(".f16"): t for t in model.graph.initializer}
    assert stored & tensors.keys()
    assert {n for n in stored & tensors.keys() if tensors[n].data_location != onnx.TensorProto.EXTERNAL} == set()
    own = {n for n, t in tensors.items() if n not in stored and np.prod(t.dims) > 17 * 17 * 4}
    assert own == set()


def test_other_weights_under_the_same_graph_are_refused(tmp_path):
    entry = next(e for e in LIFTERS if e.checkpoint)
    (tmp_path / entry.graph_path.name).write_bytes(entry.graph_path.read_bytes())
    data = bytearray(entry.checkpoint_path.read_bytes())
    data[-1] ^= 1
    (tmp_path / entry.checkpoint).write_bytes(data)
    with pytest.raises(CheckpointError, match="another version"):
        OrtRunner(tmp_path / entry.graph_path.name)
    (tmp_path / entry.checkpoint).unlink()
    with pytest.raises(CheckpointError):
        OrtRunner(tmp_path / entry.graph_path.name)
