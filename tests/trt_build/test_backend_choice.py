"""Which backend runs, why, and that the pipeline runs on each."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from posepipe.errors import EngineError, MissingDependencyError, UsageError
from posepipe.lifters.catalogue import entry
from posepipe.noise import NoiseKey
from posepipe.pipeline.backend import backend_of, open_runner
from posepipe.pipeline.settings import RunSettings
from posepipe.trt_build.runners import load as load_module
from posepipe.trt_build.runners.load import Choice, choose, people_at_once

_SPEC = importlib.util.spec_from_file_location("posepipe_fake_gpu", Path(__file__).with_name("fake_gpu.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
fake_gpu = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake_gpu)

GRAPH = entry("mdn").graph_path
NO_DRIVER = "there is no NVIDIA driver (libcuda.so.1 does not load)"


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    double = fake_gpu.FakeGpu()
    double.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load_module, "gpu_or_reason", lambda: fake_gpu.GPU)
    monkeypatch.setattr(load_module, "find_spec", lambda name: object())
    monkeypatch.setattr(load_module, "_torch_has_cuda", lambda: False)
    (tmp_path / "engines").mkdir()
    return double


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(load_module, "gpu_or_reason", lambda: NO_DRIVER)


def test_without_a_gpu_auto_is_onnx_runtime_and_says_why(no_gpu) -> None:
    assert str(choose("auto", GRAPH)) == f"backend onnxruntime: {NO_DRIVER}"
    with pytest.raises(EngineError, match=r"TensorRT cannot run here: there is no NVIDIA driver .*--backend onnxrun"):
        choose("tensorrt", GRAPH)
    assert choose("torch", GRAPH).backend == "torch"
    with pytest.raises(UsageError, match="No backend is called 'cuda'"):
        choose("cuda", GRAPH)


def test_auto_takes_tensorrt_then_torch_on_the_gpu_then_onnx_runtime(gpu, monkeypatch) -> None:
    choice = choose("auto", GRAPH, 5)
    assert choice.backend == "onnxruntime"
    assert "NVIDIA Fake, but no engine to run (No engine of mdn.onnx fits H = 5" in choice.why
    monkeypatch.setattr(load_module, "_torch_has_cuda", lambda: True)
    assert choose("auto", GRAPH, 5).backend == "torch"
    path = fake_gpu.write_engine(Path("engines"), GRAPH, "mdn", 1, 5)
    choice = choose("auto", GRAPH, 5)
    assert (choice.backend, choice.engine) == ("tensorrt", path)
    assert str(choice) == f"backend tensorrt: {path} fits this NVIDIA Fake"
    assert choose("auto", GRAPH, 6).backend == "torch"  # an engine has one H


def test_an_engine_of_another_lifter_version_or_use_does_not_count(gpu) -> None:
    fake_gpu.write_engine(Path("engines"), entry("martinez").graph_path, "martinez", 1, 1)
    fake_gpu.write_engine(Path("engines"), entry("mdn:means").graph_path, "mdn:means", 1, 5)  # the same weights
    with pytest.raises(EngineError, match=r"fits H = 5, NVIDIA Fake and TensorRT 11\.4\.0: there is none"):
        choose("tensorrt", GRAPH, 5)
    fake_gpu.write_engine(Path("engines"), GRAPH, "mdn", 1, 5, version="10.13.3")
    with pytest.raises(EngineError, match=r"are for H = 5, NVIDIA Fake and TensorRT 10\.13\.3.* --hypotheses 5"):
        choose("tensorrt", GRAPH, 5)


def test_without_tensorrt_the_extra_is_named(gpu, monkeypatch) -> None:
    monkeypatch.setattr(load_module, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"TensorRT is not installed.*posepipe\[tensorrt\]"):
        choose("tensorrt", GRAPH, 5)
    assert "TensorRT is not installed" in choose("auto", GRAPH).why


def test_a_run_opens_the_engines_and_makes_them_ready(gpu) -> None:
    for people in (1, 2):
        fake_gpu.write_engine(Path("engines"), GRAPH, "mdn", people, 5)
    settings = RunSettings(backend="auto", hypotheses=5)
    assert backend_of(settings).backend == "tensorrt"
    runner, hypotheses = open_runner(settings)
    with runner:
        assert (runner.backend, hypotheses) == ("tensorrt[fp32]", 5)
        keys = [NoiseKey(0, "film", 1, i) for i in range(2)]
        given = (np.zeros((2, 17, 2), np.float32), np.ones((2, 17), np.float32), keys)
        assert runner.sample(*given, 5)[0].shape == (2, 5, 17, 3)
    assert gpu.leaked() == {}


def test_what_cannot_be_made_ready_is_closed(gpu) -> None:
    fake_gpu.write_engine(Path("engines"), GRAPH, "mdn", 1, 5)
    gpu.fail["create_execution_context"] = (1, 2)
    with pytest.raises(EngineError, match="OutOfMemory"):
        open_runner(RunSettings(backend="tensorrt", hypotheses=5))
    assert gpu.leaked() == {}


def test_an_engine_by_its_path(gpu) -> None:
    path = fake_gpu.write_engine(Path("engines"), GRAPH, "mdn", 1, 5)
    settings = RunSettings(lifter=str(path), hypotheses=5)
    assert settings.lifter_name == path.name
    runner, _ = open_runner(settings)
    runner.close()
    with pytest.raises(UsageError, match="is a TensorRT engine"):
        open_runner(RunSettings(lifter=str(path), hypotheses=5, backend="torch"))
    assert gpu.leaked() == {}


def test_torch_runs_the_pipeline_on_the_cpu(no_gpu) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    runner, hypotheses = open_runner(RunSettings(backend="torch"))
    with runner:
        assert runner.backend == "torch[cpu]"
        assert people_at_once(Choice("torch", ""), runner, True) == 1
        given = (np.zeros((1, 17, 2), np.float32), np.ones((1, 17), np.float32), [NoiseKey(0, "film", 1, 0)])
        assert runner.sample(*given, hypotheses)[0].shape == (1, hypotheses, 17, 3)
