"""The TensorRT runner over a recording double (fake_gpu.py): what it calls and in which order, what comes out, what is
said when something fails, and that nothing is left behind."""

from __future__ import annotations

import dataclasses
import importlib.util
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posepipe.errors import EngineError, MissingDependencyError, PosepipeError, UsageError
from posepipe.lifters.catalogue import entry
from posepipe.noise import NoiseKey, held_key, normal
from posepipe.trt_build.engine.sidecar import read_sidecar, write_sidecar
from posepipe.trt_build.runners import tensorrt as trt_runner
from posepipe.trt_build.runners.ort import OrtRunner
from posepipe.trt_build.runners.tensorrt import TensorRtRunner

_SPEC = importlib.util.spec_from_file_location("posepipe_fake_gpu", Path(__file__).with_name("fake_gpu.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
fake_gpu = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake_gpu)
FakeGpu, write_engine, OUT_OF_MEMORY = fake_gpu.FakeGpu, fake_gpu.write_engine, fake_gpu.OUT_OF_MEMORY

GRAPH = entry("mdn").graph_path
H = 5
LAUNCH = ["cuMemcpyHtoDAsync", "cuLaunchKernel", "execute_async_v3", "cuMemcpyDtoHAsync"]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    double = FakeGpu()
    double.install(monkeypatch)
    return double


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    for people in (1, 2, 4, 8):
        write_engine(folder, GRAPH, "mdn", people, H)
    write_engine(folder, GRAPH, "mdn", 1, 7)
    return folder


@pytest.fixture
def engine(engines: Path) -> Path:
    return next(engines.glob("mdn-*-b1-h5-*.engine"))


def people(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[NoiseKey]]:
    rng = np.random.default_rng(seed)
    keypoints = (0.7 * rng.normal(size=(number, 17, 2))).astype(np.float32)
    confidence = rng.uniform(size=(number, 17)).astype(np.float32)
    keys = [NoiseKey(seed, "file", 2**33 + i, 7 * i) for i in range(number)]
    keys[-1] = held_key(seed, "file", 3.3, number, 2.0)
    return keypoints, confidence, keys


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 8, 9, 19])
def test_the_engine_gives_what_onnx_runtime_gives_for_any_number_of_people(gpu, engine, number) -> None:
    given = people(number)
    with TensorRtRunner(engine) as runner, OrtRunner(GRAPH) as reference:
        runner.warm_up(8, H)
        got = runner.sample(*given, H)
        expected = reference.sample(*given, H)
        for mine, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-6)
        again = runner.sample(*given, H)
        np.testing.assert_array_equal(again[0], got[0])
        assert not np.shares_memory(again[0], got[0])
        assert (runner.backend, runner.contract, runner.checkpoint_sha256) == (
            "tensorrt[fp32]",
            reference.contract,
            reference.checkpoint_sha256,
        )
    assert gpu.leaked() == {}


def test_a_result_does_not_depend_on_who_else_is_there(gpu, engine) -> None:
    keypoints, confidence, keys = people(6)
    with TensorRtRunner(engine) as runner:
        runner.warm_up(8, H)
        together, weights = runner.sample(keypoints, confidence, keys, H)
        for i in range(6):
            alone, weight = runner.sample(keypoints[i : i + 1], confidence[i : i + 1], keys[i : i + 1], H)
            np.testing.assert_allclose(alone[0], together[i], atol=2e-6)
            np.testing.assert_allclose(weight[0], weights[i], atol=2e-6)


def test_one_graph_holds_everything_and_a_call_is_one_launch(gpu, engine) -> None:
    with TensorRtRunner(engine) as runner:
        runner.warm_up(1, H)
        names = gpu.names()
        begin, end = names.index("cuStreamBeginCapture"), names.index("cuStreamEndCapture")
        assert names[begin + 1 : end] == LAUNCH
        assert names[:begin].count("execute_async_v3") >= 1  # TensorRT's first launch is not recorded
        assert names.count("cuStreamBeginCapture") == 1  # people = 1 needs one bucket
        assert runner.bucket(1, H).captured
        before = len(gpu.names())
        runner.sample(*people(1), H)
        assert gpu.names()[before:] == ["cuCtxSetCurrent", "cuGraphLaunch", "cuStreamSynchronize"]
        runner.warm_up(1, H)
        assert gpu.names().count("cuStreamBeginCapture") == 1
    order = [n for n in gpu.names() if "Destroy" in n or "Free" in n or "Release" in n or "Unload" in n]
    assert order[:2] == ["cuGraphDestroy", "cuGraphExecDestroy"]  # the recipe at once, the graph before its buffers
    assert order[-3:] == ["cuModuleUnload", "cuStreamDestroy", "cuDevicePrimaryCtxRelease"]
    assert gpu.leaked() == {}


def test_the_kernel_is_compiled_for_the_gpu_and_the_streams_handle_goes_to_tensorrt(gpu, engine) -> None:
    with TensorRtRunner(engine) as runner:
        runner.warm_up(1, H)
    calls = dict(gpu.calls)
    assert calls["nvrtcCompileProgram"] == ((b"--gpu-architecture=sm_90", b"--fmad=false"),)
    assert calls["execute_async_v3"] == (int(calls["cuStreamDestroy"][0]),)


def test_a_stream_of_somebody_else_is_used_and_left_alone(gpu, engine) -> None:
    with TensorRtRunner(engine, stream=0xBEEF) as runner:
        runner.warm_up(1, H)
    assert dict(gpu.calls)["execute_async_v3"] == (0xBEEF,)
    assert not {"cuStreamCreate", "cuStreamDestroy"} & set(gpu.names())


def test_graph_and_plain_launches_and_given_noise_agree_bit_by_bit(gpu, engine) -> None:
    keypoints, confidence, keys = people(1)
    with TensorRtRunner(engine) as runner, TensorRtRunner(engine, captured=False) as plain:
        runner.warm_up(1, H)
        plain.warm_up(1, H)
        bucket = runner.bucket(1, H)
        by_graph = runner.sample(keypoints, confidence, keys, H)
        noise = np.stack([normal(key, (H, 49)) for key in keys])
        others = [
            bucket.run_plainly(keypoints, confidence, keys),
            plain.sample(keypoints, confidence, keys, H),
            bucket.run_with_noise(keypoints, confidence, noise),
            plain.run(keypoints, confidence, noise),
        ]
        for other in others:
            np.testing.assert_array_equal(other[0], by_graph[0])
        assert not plain.bucket(1, H).captured
        assert bucket.milliseconds(3) == [0.25] * 3
        with pytest.raises(EngineError, match="noise has the shape"):
            bucket.run_with_noise(keypoints, confidence, noise[:, :2])
    assert gpu.leaked() == {}


def test_an_engine_alone_runs_with_given_noise(gpu, engines) -> None:
    """As the accuracy gate uses it: opened, run, nothing before."""
    keypoints, confidence, _ = people(4)
    noise = np.random.default_rng(3).normal(size=(4, H, 49)).astype(np.float32)
    with TensorRtRunner(next(engines.glob("*-b4-*.engine"))) as runner, OrtRunner(GRAPH) as reference:
        got, expected = runner.run(keypoints, confidence, noise), reference.run(keypoints, confidence, noise)
        np.testing.assert_allclose(got[0], expected[0], atol=2e-6)
        assert not np.shares_memory(runner.run(keypoints, confidence, noise)[0], got[0])
        with pytest.raises(EngineError, match="recorded for 4 people"):
            runner.run(keypoints[:2], confidence[:2], noise[:2])
    assert gpu.leaked() == {}


def test_inputs_that_an_engine_does_not_have_are_not_drawn(gpu, tmp_path) -> None:
    graph = entry("martinez").graph_path
    path = write_engine(tmp_path, graph, "martinez", 2, 1, without=("noise",))
    given = people(2)
    with TensorRtRunner(path) as runner, OrtRunner(graph) as reference:
        runner.warm_up(2, 1)
        np.testing.assert_allclose(runner.sample(*given, 1)[0], reference.sample(*given, 1)[0], atol=2e-6)
    assert "cuLaunchKernel" not in gpu.names()


def test_with_some_buckets_missing_people_are_split(gpu, tmp_path) -> None:
    path = write_engine(tmp_path, GRAPH, "mdn", 2, H)
    given = people(5)
    with TensorRtRunner(path) as runner, OrtRunner(GRAPH) as reference:
        runner.warm_up(8, H)
        before = gpu.names().count("cuGraphLaunch")
        np.testing.assert_allclose(runner.sample(*given, H)[0], reference.sample(*given, H)[0], atol=2e-6)
        assert gpu.names().count("cuGraphLaunch") - before == 3


@pytest.mark.parametrize(
    "call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate", "execute_async_v3"]
)
def test_a_capture_that_fails_is_one_warning_and_plain_launches(gpu, engine, call) -> None:
    gpu.fail[call] = (3 if call == "execute_async_v3" else 1, fake_gpu.CAPTURE_INVALIDATED)
    given = people(9)
    with TensorRtRunner(engine) as runner, OrtRunner(GRAPH) as reference:
        with pytest.warns(RuntimeWarning, match="launch by launch") as said:
            runner.warm_up(8, H)
        assert len(said) == 1
        assert gpu.names().count("cuStreamBeginCapture") == 1
        assert "cuGraphLaunch" not in gpu.names()
        np.testing.assert_allclose(runner.sample(*given, H)[0], reference.sample(*given, H)[0], atol=2e-6)
    assert gpu.leaked() == {}


def test_another_shape_is_refused_and_nothing_is_captured_for_it(gpu, engine) -> None:
    with TensorRtRunner(engine) as runner:
        with pytest.raises(EngineError, match=r"ready for H = nothing yet, not 5\. Call warm_up"):
            runner.sample(*people(1), H)
        runner.warm_up(1, H)
        captures = gpu.names().count("cuStreamBeginCapture")
        with pytest.raises(EngineError, match=r"ready for H = 5, not 7"):
            runner.sample(*people(1), 7)
        with pytest.raises(EngineError, match=r"recorded for 1 people"):
            runner.bucket(1, H).run(*people(2))
        with pytest.raises(UsageError, match="shape"):
            runner.sample(np.zeros((1, 16, 2), np.float32), *people(1)[1:], H)
        with pytest.raises(EngineError, match=r"gives 5 hypotheses per launch, not 50.*--hypotheses 50"):
            runner.warm_up(1, 50)
        assert gpu.names().count("cuStreamBeginCapture") == captures
        runner.warm_up(1, 7)  # asked for, and there is an engine
        assert runner.sample(*people(1), 7)[0].shape == (1, 7, 17, 3)
        assert runner.sample(*people(1), H)[0].shape == (1, H, 17, 3)
    assert gpu.leaked() == {}


def _no_profile(gpu: FakeGpu) -> None:
    gpu.profiles = 0


def _open_shape(gpu: FakeGpu) -> None:
    gpu.shape_of = lambda name, shape: (-1, *shape[1:])


def _refused(gpu: FakeGpu) -> None:
    gpu.takes_plans = False


def _no_context(gpu: FakeGpu) -> None:
    gpu.fail["create_execution_context"] = (1, OUT_OF_MEMORY)


def _no_run(gpu: FakeGpu) -> None:
    gpu.runs_engines = False


def _no_address(gpu: FakeGpu) -> None:
    gpu.fail["set_tensor_address"] = (2, 1)


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (_no_profile, "has no optimisation profile. Build it again: posepipe build-engines --lifter mdn"),
        (_open_shape, r"has the input keypoints \(-1, 17, 2\), not \(1, 17, 2\)"),
        (_refused, r"does not take mdn-.*\(The plan is incompatible\)\. Build it again: posepipe build-engines"),
        (_no_context, "Error Code 2: OutOfMemory"),
        (_no_run, r"did not run the engine \(Cuda failure\)"),
        (_no_address, "does not take a buffer for confidence"),
    ],
)
def test_what_tensorrt_refuses_is_one_sentence_and_leaves_nothing(gpu, engine, harm, text) -> None:
    harm(gpu)
    with TensorRtRunner(engine) as runner:
        with pytest.raises(EngineError, match=text):
            runner.warm_up(1, H)
        assert set(gpu.leaked()) == {"context", "stream", "module"}  # the runner's own: the bucket's are gone
    assert gpu.leaked() == {}


def test_an_engine_with_other_types_is_refused(gpu, tmp_path) -> None:
    path = write_engine(tmp_path, GRAPH, "mdn", 1, H, types={"hypotheses": "float16"})
    with TensorRtRunner(path) as runner, pytest.raises(EngineError, match="has the output hypotheses"):
        runner.warm_up(1, H)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"tensorrt": "10.13.3"},
            r"built by TensorRT 10\.13\.3, not 11\.4\.0\. Build it again: posepipe build-engines",
        ),
        ({"compute_capability": "8.9"}, r"for compute capability 8\.9, not 9\.0\. Build it again"),
        ({"gpu": "NVIDIA Other"}, "for the GPU NVIDIA Other, not NVIDIA Fake. Build it again"),
        ({"engine_bytes": 12}, "bytes instead of 12. Build it again"),
        ({"engine_sha256": "0" * 64}, "are not those that were built. Build it again"),
    ],
)
def test_an_engine_of_another_machine_or_version_is_never_shown_to_tensorrt(gpu, tmp_path, change, text) -> None:
    path = write_engine(tmp_path, GRAPH, "mdn", 1, H)
    write_sidecar(path, dataclasses.replace(read_sidecar(path), **change))
    with pytest.raises(EngineError, match=text):
        TensorRtRunner(path)
    assert gpu.calls == []


def test_without_a_gpu_nothing_of_tensorrt_is_touched(monkeypatch, engine) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)  # importing it would say so
    monkeypatch.setattr(trt_runner, "gpu_or_reason", lambda index=0: "there is no NVIDIA driver (libcuda)")
    with pytest.raises(EngineError, match=r"cannot run here: there is no NVIDIA driver \(libcuda\)\. Use --backend"):
        TensorRtRunner(engine)


def test_without_the_extra_it_is_named(gpu, monkeypatch, engine) -> None:
    for name in ("cuda.bindings", "tensorrt"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(MissingDependencyError, match=r"posepipe\[tensorrt\]"):
            TensorRtRunner(engine)
        assert gpu.leaked() == {}


def test_closing_twice_and_using_it_afterwards(gpu, engine) -> None:
    runner = TensorRtRunner(engine)
    runner.warm_up(2, H)
    runner.close()
    calls = len(gpu.calls)
    runner.close()
    assert len(gpu.calls) == calls
    for use in (lambda: runner.warm_up(1, H), lambda: runner.sample(*people(1), H)):
        with pytest.raises(EngineError, match="closed"):
            use()
    assert gpu.leaked() == {}


def test_another_thread_gets_the_context_first(gpu, engine) -> None:
    results = []
    with TensorRtRunner(engine) as runner:
        runner.warm_up(1, H)

        def work() -> None:
            results.append(runner.sample(*people(1), H)[0])
            results.append(gpu.current.get(threading.get_ident()))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert results[1] is True


def life(engine: Path) -> None:
    """All that a run does, for as long as nothing fails."""
    with TensorRtRunner(engine) as runner:
        runner.warm_up(2, H)
        runner.sample(*people(3), H)


def every_call(engine: Path, double: Callable[[], FakeGpu]) -> list[str]:
    gpu = double()
    life(engine)
    return gpu.names()


@pytest.mark.parametrize("what", [OUT_OF_MEMORY, KeyboardInterrupt])
def test_whatever_call_fails_nothing_is_left_behind(monkeypatch, engine, what) -> None:
    """Every single call of a run fails once: the error is one of ours (or the interrupt), and everything that can be
    freed is."""

    def double() -> FakeGpu:
        gpu = FakeGpu()
        gpu.install(monkeypatch)
        return gpu

    names = every_call(engine, double)
    assert len(names) > 60
    for number, name in enumerate(names, 1):
        gpu = double()
        gpu.fail_at = (number, what)
        raised: BaseException | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                life(engine)
            except (PosepipeError, KeyboardInterrupt) as error:
                raised = error
        if what is KeyboardInterrupt:
            assert isinstance(raised, KeyboardInterrupt), (number, name)
        allowed = int(any(word in name for word in ("Free", "Destroy", "Unload", "Release")))  # it refused to go
        assert sum(gpu.leaked().values()) <= allowed, (number, name, gpu.leaked())


def test_out_of_memory_says_what_helps(gpu, engine) -> None:
    gpu.fail["cuMemAlloc"] = (2, OUT_OF_MEMORY)
    with (
        TensorRtRunner(engine) as runner,
        pytest.raises(EngineError, match=r"cuMemAlloc \(CUDA_ERROR_OUT.*fewer hypothe"),
    ):
        runner.warm_up(1, H)
    assert gpu.leaked() == {}


def test_the_double_has_the_names_of_the_real_bindings(gpu) -> None:
    """What the double answers to, cuda-python has too."""
    doubles = {
        name: set(vars(__import__("sys").modules[name])) for name in ("cuda.bindings.driver", "cuda.bindings.nvrtc")
    }
    import subprocess
    import sys

    for name, mine in doubles.items():
        program = f"import {name} as m; print(' '.join(dir(m)))"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip("cuda-python is not installed")
        public = {n for n in mine if not n.startswith("__")}
        assert public <= set(result.stdout.split())
