"""The torch runner: its buckets (what a GPU would replay, here run as it is), and what is said when it cannot run."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from posepipe.errors import CheckpointError, EngineError, MissingDependencyError, UsageError  # noqa: E402
from posepipe.lifters.build import load as load_sampler  # noqa: E402
from posepipe.lifters.catalogue import entry  # noqa: E402
from posepipe.noise import NoiseKey, held_key  # noqa: E402
from posepipe.trt_build.runners import torch_runner  # noqa: E402
from posepipe.trt_build.runners.buckets import bucket_of, in_buckets, split, up_to  # noqa: E402
from posepipe.trt_build.runners.load import Choice, load  # noqa: E402
from posepipe.trt_build.runners.ort import OrtRunner  # noqa: E402
from posepipe.trt_build.runners.torch_runner import TorchBucket, TorchRunner, sampling  # noqa: E402

GRAPH = entry("mdn").graph_path
H = 6


def people(number: int) -> tuple[np.ndarray, np.ndarray, list[NoiseKey]]:
    rng = np.random.default_rng(number)
    keypoints = (0.7 * rng.normal(size=(number, 17, 2))).astype(np.float32)
    keys = [NoiseKey(3, "film", 9, i) for i in range(number - 1)] + [held_key(3, "film", 7.7, 99, 2.0)]
    return keypoints, rng.uniform(size=(number, 17)).astype(np.float32), keys


@pytest.mark.parametrize(
    ("number", "buckets", "expected"),
    [
        (1, (1, 2, 4, 8), [(0, 1, 1)]),
        (3, (1, 2, 4, 8), [(0, 3, 4)]),
        (8, (8, 4, 2, 1), [(0, 8, 8)]),
        (21, (1, 2, 4, 8), [(0, 8, 8), (8, 16, 8), (16, 21, 8)]),
        (3, (2,), [(0, 2, 2), (2, 3, 2)]),
        (5, (1, 4), [(0, 4, 4), (4, 5, 1)]),
    ],
)
def test_people_are_split_by_the_bucket(number, buckets, expected) -> None:
    assert split(number, buckets) == expected


def test_which_buckets_are_needed() -> None:
    assert [up_to(n, (1, 2, 4, 8)) for n in (1, 2, 3, 8, 30)] == [[1], [1, 2], [1, 2, 4], [1, 2, 4, 8], [1, 2, 4, 8]]
    assert up_to(1, (4,)) == [4]
    assert bucket_of(9, (1, 2)) == 2


@pytest.mark.parametrize("number", [1, 2, 3, 7, 8, 11])
def test_buckets_with_noise_drawn_inside_give_what_onnx_runtime_gives(number) -> None:
    header, sampler = load_sampler(entry("mdn").checkpoint_path)
    draw = sampling(sampler, header, compiled=False)
    launches = []

    def count(work):
        def launch() -> None:
            launches.append(None)
            work()

        return launch

    ready = {H: {p: TorchBucket(draw, torch.device("cpu"), p, (H, 49), count) for p in (1, 2, 4, 8)}}
    given = people(number)
    got = in_buckets(ready, *given, H)
    with OrtRunner(GRAPH) as reference:
        expected = reference.sample(*given, H)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=5e-6)
    assert len(launches) == -(-number // 8)


def test_a_bucket_takes_one_shape_and_other_hypotheses_are_refused() -> None:
    header, sampler = load_sampler(entry("mdn").checkpoint_path)
    bucket = TorchBucket(sampling(sampler, header, False), torch.device("cpu"), 2, (H, 49), lambda work: work)
    with pytest.raises(EngineError, match="recorded for 2 people"):
        bucket.run(*people(3))
    with pytest.raises(EngineError, match="ready for H = 6, not 9"):
        in_buckets({H: {2: bucket}}, *people(2), 9)


def test_an_error_of_the_device_is_one_sentence() -> None:
    header, sampler = load_sampler(entry("mdn").checkpoint_path)

    def broken(work):
        def launch() -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

        return launch

    bucket = TorchBucket(sampling(sampler, header, False), torch.device("cpu"), 1, (H, 49), broken)
    with pytest.raises(EngineError, match=r"The GPU failed \(CUDA error: an illegal memory access was encountered\)"):
        bucket.run(*people(1))


def test_compiled_or_not_the_same_is_drawn() -> None:
    """What a GPU runs goes through torch.compile; its front end is the same everywhere, so it is tried here, with the
    back end that only records."""
    header, sampler = load_sampler(entry("mdn").checkpoint_path)
    plain = sampling(sampler, header, False)
    whole = torch.compile(plain, dynamic=False, backend="eager", fullgraph=True)
    from posepipe.trt_build.runners.noise_torch import key_tensors

    keypoints, confidence, keys = people(2)
    given = (torch.from_numpy(keypoints), torch.from_numpy(confidence), *key_tensors(keys), H)
    with torch.no_grad():
        for one, other in zip(plain(*given), whole(*given), strict=True):
            torch.testing.assert_close(one, other)


def test_closed_and_wrong_calls() -> None:
    runner = TorchRunner(GRAPH, "cpu")
    runner.warm_up(2, H)
    with pytest.raises(UsageError, match="nobody"):
        runner.sample(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), [], H)
    with pytest.raises(UsageError, match="not possible"):
        runner.sample(*people(1), 0)
    runner.close()
    runner.close()
    with pytest.raises(EngineError, match="closed"):
        runner.sample(*people(1), H)


def test_without_cuda_the_device_is_refused_in_one_sentence() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EngineError, match="torch cannot use the device 'cuda'"):
        TorchRunner(GRAPH, "cuda")


def test_without_torch_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, torch_runner.__name__)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"needs torch.*posepipe\[train\]"):
        load(Choice("torch", "asked for"), GRAPH)


def test_a_graph_over_other_weights_is_refused(tmp_path) -> None:
    shutil.copy(GRAPH, tmp_path / GRAPH.name)
    weights = entry("mdn").checkpoint_path
    spoiled = bytearray(weights.read_bytes())
    spoiled[-1] ^= 1
    (tmp_path / weights.name).write_bytes(spoiled)
    with pytest.raises(CheckpointError, match="another version"):
        TorchRunner(tmp_path / GRAPH.name, "cpu")
