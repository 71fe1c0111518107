"""Building over a double of TensorRT: what is called, in which order, with what; what is left when it goes wrong."""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from posepipe.__main__ import main  # noqa: E402
from posepipe.errors import EngineError, MissingDependencyError  # noqa: E402
from posepipe.lifters.build import build_sampler, save  # noqa: E402
from posepipe.lifters.checkpoint import Checkpoint  # noqa: E402
from posepipe.trt_build.engine import engines  # noqa: E402
from posepipe.trt_build.engine.build import BuildSettings, build_plan  # noqa: E402
from posepipe.trt_build.engine.probe import GpuInfo  # noqa: E402
from posepipe.trt_build.engine.progress import Phases, SignalsWait  # noqa: E402
from posepipe.trt_build.engine.sidecar import check_engine, read_sidecar  # noqa: E402
from posepipe.trt_build.engine.versions import load_tensorrt  # noqa: E402
from posepipe.trt_build.runners.ort import OrtRunner  # noqa: E402


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fake_builder = load("fake_builder")
GPU = GpuInfo("NVIDIA Fake", "9.0", "580.65.06", "13.0", 80 << 30)
NETWORK = {"first": {"lifter": "martinez", "width": 8}, "steps": 2, "channels": 32, "layers": 1, "heads": 2,
           "refinement_hidden": 8}  # fmt: skip
HEADER = Checkpoint("drpose", NETWORK, "screen", "h36m17@1", (2, 17, 3), 20, steps=2)


VERSIONS = ("10.16.1.11", "11.4.0.106")


@pytest.fixture(params=VERSIONS)
def fake(request: pytest.FixtureRequest) -> Any:
    return fake_builder.FakeBuilder(request.param)


def build(fake: Any, **settings: Any) -> bytes:
    return build_plan(fake.module(), b"graph", BuildSettings(**settings), Phases(None))


def test_a_build_calls_this_in_this_order(fake: Any) -> None:
    assert build(fake, workspace=123) == b"graph"
    assert fake.calls == [
        ("Builder", ()),
        ("create_network", (2 if fake.version.startswith("10") else 0,)),  # strongly typed, by flag or by nature
        ("OnnxParser", ()),
        ("parse", (5,)),
        ("create_builder_config", ()),
        ("set_memory_pool_limit", (0, 123)),
        ("clear_flag", (6,)),
        ("create_timing_cache", (b"",)),
        ("set_timing_cache", (b"", False)),
        ("build_serialized_network", ()),
    ]
    assert fake.parser_lived  # it owns the weights
    assert len(fake.steps_done) == 3


def test_the_timing_cache_is_read_and_brought_up_to_date(fake: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    build(fake, timing_cache=cache)
    assert cache.read_bytes() == b"+measured"
    build(fake, timing_cache=cache)
    assert fake.arguments("create_timing_cache")[1] == (b"+measured",)
    fake.cache_fits = False  # of another GPU
    build(fake, timing_cache=cache)
    assert fake.arguments("set_timing_cache")[-2:] == [(b"+measured+measured", False), (b"", False)]
    assert cache.read_bytes() == b"+measured"
    build(fake, timing_cache=tmp_path / "no folder" / "cache")
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize(
    ("setting", "errors", "text"),
    [
        ("starts", [], r"TensorRT cannot start \(no reason given\)"),
        ("parses", [], r"cannot read the graph \(Unsupported operator Nonsense\)"),
        ("builds", [], r"could not build the engine \(it gave no reason\)"),
        ("builds", ["a\nb", "CUDA error: out of memory.\nmore"], r"\(CUDA error: out of memory\)\. Close what else"),
    ],
)
def test_failures_are_one_sentence_with_tensorrts_own_words(
    fake: Any, tmp_path: Path, setting: str, errors: list[str], text: str
) -> None:
    setattr(fake, setting, False)
    fake.errors = errors
    with pytest.raises(EngineError, match=text) as caught:
        build(fake, timing_cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_control_c_reaches_tensorrt_as_a_wish_and_python_afterwards(fake: Any, tmp_path: Path) -> None:
    """No exception may pass through TensorRT: the double would show it, as it has no handler either."""
    fake.while_building = fake_builder.press(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build(fake, timing_cache=tmp_path / "cache")
    assert fake.steps_done == []  # the first step was the last
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert list(tmp_path.iterdir()) == []


def test_signals_wait_and_nothing_waits_when_none_came() -> None:
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with SignalsWait() as signals:
            signal.raise_signal(signal.SIGTERM)
            assert (signals.arrived, seen) == (signal.SIGTERM, [])
        assert seen == [signal.SIGTERM]
        with SignalsWait():
            pass
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_phases_are_shown_nested_and_vanish() -> None:
    from io import StringIO

    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=StringIO())) as bar:
        phases = Phases(bar)
        phases.start("Building", None, 2)
        phases.start("Tactics", "Building", 10)
        phases.step("Tactics", 3)
        phases.step("unknown", 3)
        phases.finish("unknown")
        assert [(t.description, t.completed, t.total) for t in bar.tasks] == [("Building", 0, 2), ("  Tactics", 4, 10)]
        phases.finish("Tactics")
        phases.finish("Building")
        assert bar.tasks == []


@pytest.mark.parametrize(("version", "text"), [("9.3.0", "knows 10 and 11"), ("12.0.1", "This is TensorRT 12.0.1")])
def test_other_versions_are_refused(monkeypatch: pytest.MonkeyPatch, version: str, text: str) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_builder.FakeBuilder(version).module())
    with pytest.raises(EngineError, match=text):
        load_tensorrt()


def test_absent_tensorrt_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'posepipe\[tensorrt\]'"):
        load_tensorrt()


# The whole command, on a machine that seems to have a GPU.


class PlanRunner:
    """Opens what the double built: the graph with fixed shapes, in ONNX Runtime. error: added to every joint."""

    error = 0.0

    def __init__(self, engine: Path) -> None:
        import onnxruntime

        self.info = read_sidecar(engine)
        check_engine(self.info, engine, gpu=GPU.name)
        self.session = onnxruntime.InferenceSession(engine.read_bytes(), providers=["CPUExecutionProvider"])

    def __enter__(self) -> Any:
        return self.run

    def __exit__(self, *rest: object) -> None:
        self.session = None

    def run(self, keypoints: Any, confidence: Any, noise: Any) -> Any:
        assert noise.shape == (self.info.persons, self.info.hypotheses, *self.info.noise_shape)
        feeds = {"keypoints": keypoints, "confidence": confidence, "noise": noise}
        hypotheses, log_weights = self.session.run(["hypotheses", "log_weights"], feeds)
        return hypotheses + np.float32(self.error), log_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save(path, build_sampler(HEADER).eval(), HEADER)
    return path


@pytest.fixture(scope="module")
def exported() -> Any:
    """export_program, but torch exports each network only once."""
    from posepipe.trt_build import export_onnx

    real, made = export_onnx.export_program, {}

    def export_program(sampler: Any, header: Checkpoint) -> Any:
        key = repr(sorted(header.network.items()))
        if key not in made:
            made[key] = real(sampler, header).SerializeToString()
        return onnx.ModelProto.FromString(made[key])

    return export_program


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, exported: Any) -> Any:
    """A GPU, TensorRT's double, and engines that are opened with PlanRunner; the gate takes 40 people."""
    fake = fake_builder.FakeBuilder()
    monkeypatch.setattr("posepipe.trt_build.export_onnx.export_program", exported)
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module())
    monkeypatch.setattr(engines, "gpu_or_reason", lambda: GPU)
    defaults = dict(engines.make_engines.__kwdefaults__ or {})
    monkeypatch.setattr(engines.make_engines, "__kwdefaults__", {**defaults, "opened": PlanRunner, "poses": 40})
    monkeypatch.setattr(PlanRunner, "error", 0.0)
    return fake


def command(weights: Path, out: Path, *rest: str) -> list[str]:
    build = ["build-engines", "--lifter", "drpose:martinez", "--checkpoint", str(weights), "-o", str(out)]
    return [*build, "--hypotheses", "7", "--steps", "1", "--no-faithful", *rest]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_engines_with_side_cars(
    machine: Any, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from posepipe.hashing import file_sha256

    assert main(command(weights, tmp_path, "--persons", "1", "4")) == 0
    ckpt = file_sha256(weights)
    stem = f"drpose-martinez-{ckpt[:8]}-sm90-{machine.version}"
    expected = [f"{stem}-b{b}-h7-k1-fp32" for b in (1, 4)]
    made = [name for name in names(tmp_path) if name.startswith(stem)]
    assert made == sorted(f"{name}.{kind}" for name in expected for kind in ("engine", "json"))
    others = {f"sm90-{machine.version}.timing-cache", "drpose-martinez.onnx", "small.safetensors"}
    assert set(names(tmp_path)) - set(made) == others
    output = capsys.readouterr().out
    assert output.count("(limit: max 0.1 mm)") == 2
    engine = tmp_path / f"{expected[1]}.engine"
    info = read_sidecar(engine)
    check_engine(info, engine, gpu="NVIDIA Fake", compute_capability="9.0", tensorrt=machine.version, persons=3,
                 checkpoint_sha256=ckpt, hypotheses=7, steps=1, skeleton="h36m17", conversion="h36m17@1")  # fmt: skip
    assert info.onnx_sha256 == file_sha256(tmp_path / "drpose-martinez.onnx")
    assert info.shapes == {"keypoints": (4, 17, 2), "confidence": (4, 17), "noise": (4, 7, 1, 17, 3),
                           "hypotheses": (4, 7, 17, 3), "log_weights": (4, 7)}  # fmt: skip
    assert (info.driver, info.cuda, info.precision, info.gate["poses"]) == ("580.65.06", "13.0", "fp32", 40)
    assert info.gate["max_m"] <= 1e-4
    assert set(info.layer_precisions["MatMul"]) == {"FLOAT"}
    with OrtRunner(tmp_path / "drpose-martinez.onnx") as runner:
        assert info.contract == runner.contract


def test_the_rebuild_command_builds_the_same_engine(machine: Any, weights: Path, tmp_path: Path) -> None:
    import shlex

    folder = tmp_path / "with a space"
    assert main(command(weights, folder, "--persons", "2")) == 0
    engine = next(folder.glob("*.engine"))
    before = read_sidecar(engine)
    words = shlex.split(before.rebuild_command(folder))
    assert words[:2] == ["posepipe", "build-engines"]
    assert main(words[1:]) == 0
    assert read_sidecar(engine) == before


def test_fp16_engines_are_typed_in_the_graph(machine: Any, weights: Path, tmp_path: Path) -> None:
    assert main(command(weights, tmp_path, "--precision", "fp16", "--persons", "1")) == 0
    engine = next(tmp_path.glob("*-fp16.engine"))
    info = read_sidecar(engine)
    assert info.precision == "fp16"
    assert info.layer_precisions["MatMul"]["FLOAT16"] >= 4
    assert set(info.layer_precisions["Softmax"]) == {"FLOAT"}
    graph = fake_builder.graph_of(engine.read_bytes())
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.graph.input, *graph.graph.output)}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT}
    assert any(t.data_type == onnx.TensorProto.FLOAT16 for t in graph.graph.initializer)
    assert (tmp_path / "drpose-martinez-fp16.onnx").is_file()


@pytest.mark.parametrize("trouble", ["gate", "not a number", "build", "parse", "interrupt", "terminate"])
def test_nothing_is_left_under_a_final_name(
    machine: Any, weights: Path, tmp_path: Path, trouble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = {"interrupt": 130, "terminate": 143}
    if trouble in ("gate", "not a number"):
        PlanRunner.error = float("nan") if trouble == "not a number" else 1e-3
    machine.builds, machine.parses = trouble != "build", trouble != "parse"
    if trouble in codes:
        number = signal.SIGINT if trouble == "interrupt" else signal.SIGTERM
        machine.while_building = fake_builder.press(number)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert main(command(weights, tmp_path, "--persons", "1")) == codes.get(trouble, 1)
    finally:
        signal.signal(signal.SIGTERM, handler)
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    words = {"build": "could not build", "parse": "Nonsense", "interrupt": "interrupted", "terminate": "terminated"}
    assert words.get(trouble, "differs too much") in error[0]
    left = {name for name in names(tmp_path) if not name.endswith(".timing-cache")}
    assert left == {"drpose-martinez.onnx", "small.safetensors"}


def test_an_engine_that_was_there_survives_a_failed_build(machine: Any, weights: Path, tmp_path: Path) -> None:
    assert main(command(weights, tmp_path, "--persons", "1")) == 0
    engine = next(tmp_path.glob("*.engine"))
    PlanRunner.error = 1.0
    assert main(command(weights, tmp_path, "--persons", "1")) == 1
    check_engine(read_sidecar(engine), engine)


def test_the_driver_is_asked_before_tensorrt_is_touched(
    machine: Any, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "gpu_or_reason", lambda: "there is no NVIDIA driver")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main(command(weights, tmp_path, "--persons", "1")) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "Graphs only, no engines: there is no NVIDIA driver."
    assert said.err == ""
    assert main(command(weights, tmp_path, "--persons", "1", "--backend", "onnx")) == 0
    assert main(command(weights, tmp_path, "--persons", "1", "--backend", "tensorrt")) == 1
    error = capsys.readouterr().err
    assert error.startswith("posepipe build-engines: Graphs only, no engines: there is no NVIDIA driver.")
    assert error.count("\n") == 1
    monkeypatch.setattr(engines, "gpu_or_reason", lambda: GPU)
    assert main(command(weights, tmp_path, "--persons", "1", "--backend", "tensorrt")) == 1
    assert "posepipe[tensorrt]" in capsys.readouterr().err
    assert machine.calls == []
    assert names(tmp_path) == ["drpose-martinez.onnx", "small.safetensors"]


def test_one_lifter_that_fails_does_not_hinder_the_others(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from posepipe.errors import CheckpointError
    from posepipe.trt_build.engine import graphs

    real = graphs.make_graphs

    def make_graphs(plan: Any, *rest: Any) -> Any:
        if plan.entry.name == "martinez":
            raise CheckpointError("'martinez' does not bear fp16.", "Use --precision fp32.")
        return real(plan, *rest)

    monkeypatch.setattr("posepipe.trt_build.export_onnx.export_program", exported)
    monkeypatch.setattr(graphs, "make_graphs", make_graphs)
    build = ["build-engines", "--backend", "onnx", "-o", str(tmp_path)]
    assert main([*build, "--lifter", "martinez", "--lifter", "mdn:means", "--persons", "1"]) == 1
    said = capsys.readouterr()
    assert said.err == "posepipe build-engines: 'martinez' does not bear fp16. Use --precision fp32.\n"
    assert "mdn-means.onnx" in names(tmp_path)
    assert said.out.endswith("Graphs only, no engines: --backend onnx.\n")
