"""The same people, the same seed, another backend: every lifter gives the same hypotheses in torch and in ONNX Runtime,
noise included."""

from __future__ import annotations

import numpy as np
import pytest

from posepipe.noise import NoiseKey, held_key


def test_torch_draws_the_same_hypotheses_as_onnx_runtime(subject):
    pytest.importorskip("torch")
    from posepipe.trt_build.runners.torch_runner import TorchRunner

    rng = np.random.default_rng(5)
    keypoints = (0.7 * rng.normal(size=(3, 17, 2))).astype(np.float32)
    confidence = rng.uniform(0.2, 1.0, (3, 17)).astype(np.float32)
    keys = [NoiseKey(11, "film", 40, 0), NoiseKey(11, "film", 40, 1), held_key(11, "film", 5.5, 2, 4.0)]
    count = subject.contract.fixed_hypotheses or 7
    expected = subject.runner.sample(keypoints, confidence, keys, count)
    with TorchRunner(subject.graph, "cpu") as runner:
        assert runner.contract == subject.contract
        assert runner.checkpoint_sha256 == subject.runner.checkpoint_sha256
        got = runner.sample(keypoints, confidence, keys, count)
    scale = max(1.0, float(np.abs(expected[0]).max()))
    assert np.abs(got[0] - expected[0]).max() <= 1e-4 * scale  # metres
    assert np.abs(np.exp(got[1]) - np.exp(expected[1])).max() <= 1e-4
