"""`posepipe selftest`, `posepipe bench` and the GPU benchmark, as far as they go without a GPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.lifters.catalogue import LIFTERS, entry, fits
from posepipe.trt_build import noise_check, selftest
from posepipe.trt_build.runners import load as load_module
from posepipe.trt_build.selftest import Row

ROOT = Path(__file__).resolve().parents[2]


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(f"posepipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_gpu(monkeypatch):
    reason = "there is no NVIDIA driver (libcuda.so.1 does not load)"
    for module in ("engine.engines", "engine.probe"):
        monkeypatch.setattr(f"posepipe.trt_build.{module}.gpu_or_reason", lambda index=0: reason)
    for module in (selftest, load_module):
        monkeypatch.setattr(module, "gpu_or_reason", lambda index=0: reason)


def test_onnx_runtime_works_and_the_report_says_on_what(no_gpu, capsys) -> None:
    assert main(["selftest", "--backend", "onnxruntime", "--lifter", "martinez"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("--- posepipe selftest")
    for word in ("python: 3.", "onnxruntime 1.", "ok     martinez", "All 1 lifters work on onnxruntime.", "no NVIDIA"):
        assert word in text


def test_torch_on_the_processor_is_compared_with_onnx_runtime(no_gpu, capsys) -> None:
    pytest.importorskip("torch")
    assert main(["selftest", "--backend", "torch", "--lifter", "mdn", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["good"]
    assert report["noise"].startswith("0 of 120,003 uniforms differ")
    (row,) = report["lifters"]
    assert 0 < row["difference"] < 1e-5
    assert row["weights"] == "shipped"


def test_tensorrt_without_a_driver_is_said_plainly(no_gpu, capsys) -> None:
    assert main(["selftest", "--backend", "tensorrt"]) == 1
    assert "The tensorrt backend does not work here: there is no NVIDIA driver" in capsys.readouterr().out


def test_a_lifter_that_differs_fails_the_test(no_gpu, monkeypatch, capsys) -> None:
    monkeypatch.setattr(selftest, "_distance", lambda *given: 2e-4)
    monkeypatch.setattr(selftest, "_can_make_small", lambda: False)  # no torch: nothing to compare with
    assert main(["selftest", "--backend", "onnxruntime", "--lifter", "martinez"]) == 0
    assert "not compared" in capsys.readouterr().out
    assert main(["selftest", "--backend", "onnxruntime", "--lifter", "drpose:dcgct"]) == 1
    assert "FAILED drpose:dcgct" in capsys.readouterr().out
    assert not Row("mdn", "small", difference=2e-4).good
    assert not Row("mdn", "small", difference=float("nan")).good
    assert not Row("mdn", "small", difference=0.0, same=False).good
    assert Row("mdn", "small", difference=1e-5, same=True).good


def test_noise_that_differs_is_a_failure() -> None:
    uniforms = np.stack([noise_check.uniform(key, noise_check.COUNT) for key in noise_check.KEYS])
    normals = np.stack([noise_check.normal(key, (noise_check.COUNT,)) for key in noise_check.KEYS])
    assert noise_check.verdict(uniforms, np.nextafter(normals, np.float32(9))).endswith("at most 1 float32 steps")
    assert noise_check.verdict(uniforms, normals * np.float32(1.000001)).startswith("FAILED")
    uniforms[1, 5] = np.nextafter(uniforms[1, 5], np.float32(1))
    assert noise_check.verdict(uniforms, normals).startswith("FAILED: 1 of")


def test_the_kernel_is_checked_through_the_same_calls_as_a_run(monkeypatch) -> None:
    fake_gpu = loaded(Path(__file__).with_name("fake_gpu.py"))
    gpu = fake_gpu.FakeGpu()
    gpu.install(monkeypatch)
    monkeypatch.setattr(noise_check, "gpu_or_reason", lambda index=0: fake_gpu.GPU)
    assert (
        noise_check.check_cuda() == "0 of 120,003 uniforms differ from the host's, normals by at most 0 float32 steps"
    )
    assert gpu.leaked() == {}


def test_every_lifter_has_a_small_network(tmp_path) -> None:
    pytest.importorskip("torch")
    from posepipe.lifters.checkpoint import read_header
    from posepipe.trt_build.small import network_of, write_random

    for e in LIFTERS:
        path = write_random(tmp_path / "small.safetensors", e, network_of(e))
        assert fits(e, read_header(path)), e.name
        assert path.stat().st_size < 1e6


def test_bench_times_what_is_here_and_says_what_is_not(no_gpu, capsys) -> None:
    command = ["bench", "--lifter", "martinez", "--seconds", "0.01", "--persons", "2"]
    assert main([*command, "--backend", "onnxruntime", "--backend", "tensorrt", "--json"]) == 0
    ort, trt = json.loads(capsys.readouterr().out)["rows"]
    assert (ort["backend"], ort["persons"]) == ("onnxruntime[cpu]", 2)
    assert 0 < ort["p50_ms"] <= ort["p99_ms"]
    assert "no NVIDIA driver" in trt["not_here"]
    assert main([*command, "--backend", "tensorrt"]) == 1
    assert "no NVIDIA driver" in capsys.readouterr().out


def test_the_gpu_benchmark_smokes_on_the_processor_and_goes_on_where_it_stopped(tmp_path, capsys) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    benchmark = loaded(ROOT / "benchmarks" / "gpu_launch.py")
    out = tmp_path / "launch.json"
    command = ["--out", str(out), "--lifter", "mdn", "--persons", "1", "2", "--repeats", "2"]
    assert benchmark.main([*command, "--hypotheses", "3", "--minutes", "0"]) == 3
    assert "2 lines are left" in capsys.readouterr().out
    assert benchmark.main([*command, "--hypotheses", "3"]) == 0
    first = json.loads(out.read_text())
    assert benchmark.main([*command, "--hypotheses", "3", "4"]) == 0
    table = json.loads(out.read_text())
    assert len(table["cases"]) == 4
    for name, row in first["cases"].items():
        assert table["cases"][name] == row  # not measured again
        assert row["graph_is_plain"]
        assert set(row["us"]) == {"graph", "plain", "eager", "authors"}
    assert first["cases"]["mdn H=3 K=1 persons=2"]["flop"] == 2 * first["cases"]["mdn H=3 K=1 persons=1"]["flop"]
    assert "small networks on the processor" in table["device"]
    assert table["commands"]


def test_the_benchmarks_lines_are_those_of_the_issue() -> None:
    pytest.importorskip("torch")
    benchmark = loaded(ROOT / "benchmarks" / "gpu_launch.py")
    every = list(benchmark.cases(list(LIFTERS), (1, 20, 200), (1, 2, 10), (1, 4, 8)))
    assert (every[0].lifter, every[0].hypotheses, every[0].steps, every[0].persons) == ("drpose", 200, 10, 1)
    assert len(every) == len(set(every))
    assert sum(c.lifter == "drpose" for c in every) == 27
    assert sum(c.lifter == "htnet" for c in every) == 3
    assert {c.lifter for c in every} == {e.name for e in LIFTERS}
    assert entry("drpose").parameters > 3e6
