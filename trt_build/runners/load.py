"""Which backend a graph runs on, and why; and opening it. Light: libraries are imported when a backend is opened."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from posepipe.errors import EngineError, MissingDependencyError, PosepipeError, UsageError
from posepipe.lifters.catalogue import LIFTERS
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason
from posepipe.trt_build.engine.sidecar import EngineInfo, engines_in, read_sidecar
from posepipe.trt_build.runners.ort import OrtRunner, read_graph
from posepipe.trt_build.runners.protocol import Runner

BACKENDS = ("auto", "onnxruntime", "tensorrt", "torch")
ENGINES = Path("engines")  # where engines are looked for, then beside the graph
MANY = 8  # people that a GPU backend is made ready for; more are split


@dataclass(frozen=True)
class Choice:
    """backend: one of BACKENDS but auto. why: in a few words. engine: for tensorrt, an engine of the right H."""

    backend: str
    why: str
    engine: Path | None = None

    def __str__(self) -> str:
        return f"backend {self.backend}: {self.why}"


def choose(wanted: str, graph: Path, hypotheses: int | None = None) -> Choice:
    """The backend for a graph (or an engine, by its path). `auto` takes tensorrt before torch on the GPU before
    onnxruntime, the first that works here.

    hypotheses: the H that it has to give; None for the graph's default. Raises EngineError or MissingDependencyError
    when the one that was asked for does not work, with what to do; UsageError for names that do not exist."""
    if wanted not in BACKENDS:
        raise UsageError(f"No backend is called '{wanted}'.", f"Known: {', '.join(BACKENDS)}.")
    if graph.suffix == ".engine":
        if wanted not in ("auto", "tensorrt"):
            raise UsageError(f"{graph.name} is a TensorRT engine.", f"{wanted} runs graphs: give the .onnx file.")
        return Choice("tensorrt", "an engine was given", graph)
    if wanted in ("onnxruntime", "torch"):
        return Choice(wanted, "asked for")
    gpu = gpu_or_reason()
    if not isinstance(gpu, GpuInfo):
        if wanted == "tensorrt":
            raise EngineError(f"TensorRT cannot run here: {gpu}.", "Use --backend onnxruntime.")
        return Choice("onnxruntime", gpu)
    try:
        engine = find_engine(graph, hypotheses, gpu)
        return Choice("tensorrt", f"{engine} fits this {gpu.name}", engine)
    except PosepipeError as error:
        if wanted == "tensorrt":
            raise
        reason = error.message.rstrip(".")
    if _torch_has_cuda():
        return Choice("torch", f"{gpu.name}, but no engine to run ({reason})")
    return Choice("onnxruntime", f"{gpu.name}, but no engine to run ({reason}) and no torch with CUDA")


def load(choice: Choice, graph: Path) -> Runner:
    """Open the backend that was chosen. Raises MissingDependencyError, CheckpointError, EngineError."""
    if choice.backend == "onnxruntime":
        return OrtRunner(graph, device="auto")
    if choice.backend == "tensorrt":
        assert choice.engine is not None
        tensorrt = importlib.import_module("posepipe.trt_build.runners.tensorrt")
        runner: Runner = tensorrt.TensorRtRunner(choice.engine)
        return runner
    try:
        # By name, so that whoever runs ONNX Runtime needs no torch; tests/test_arrows.py holds the live path to that.
        module = importlib.import_module("posepipe.trt_build.runners.torch_runner")
    except ImportError as error:
        raise MissingDependencyError(
            f"The torch backend needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    opened: Runner = module.TorchRunner(graph)
    return opened


def contract_of(graph: Path) -> Checkpoint:
    """The header of a graph or an engine, without running it. Raises CheckpointError or EngineError."""
    return read_sidecar(graph).contract if graph.suffix == ".engine" else read_graph(graph).contract


def people_at_once(choice: Choice, runner: Runner, several: bool) -> int:
    """How many people to make a runner ready for. A processor takes any number without that."""
    return MANY if several and choice.backend != "onnxruntime" and runner.backend != "torch[cpu]" else 1


def find_engine(graph: Path, hypotheses: int | None, gpu: GpuInfo) -> Path:
    """An engine of the graph's weights, used as the graph uses them, for this GPU, this TensorRT and this H; float16
    before float32, since somebody has asked for it. Raises MissingDependencyError without TensorRT, EngineError when
    there is none, with the command that builds one."""
    for module, package in (("tensorrt", "TensorRT"), ("cuda", "cuda-python")):
        if find_spec(module) is None:
            raise MissingDependencyError(
                f"{package} is not installed.", "Install it with `pip install 'posepipe[tensorrt]'`."
            )
    graph_says = read_graph(graph)
    wanted = graph_says.contract.fixed_hypotheses or hypotheses or graph_says.contract.hypotheses
    version = importlib.import_module("posepipe.trt_build.engine.versions").load_tensorrt().__version__
    fitting: list[tuple[Path, EngineInfo]] = []
    others: list[tuple[Path, EngineInfo]] = []
    for path, info in _engines_beside(graph):
        if info.checkpoint_sha256 != graph_says.weights_sha256 or not _same_use(info.contract, graph_says.contract):
            continue
        here = (info.gpu, info.compute_capability, info.tensorrt) == (gpu.name, gpu.compute_capability, version)
        (fitting if here and info.hypotheses == wanted else others).append((path, info))
    if fitting:
        return min(fitting, key=lambda pair: (pair[1].precision != "fp16", pair[1].persons))[0]
    what = f"there is none for H = {wanted} in {ENGINES}/ or {graph.parent}/"
    if others:
        info = others[0][1]
        what = f"those that are there are for H = {info.hypotheses}, {info.gpu} and TensorRT {info.tensorrt}"
    raise EngineError(
        f"No engine of {graph.name} fits H = {wanted}, {gpu.name} and TensorRT {version}: {what}.",
        f"Build one: posepipe build-engines --lifter {_lifter(graph)} --hypotheses {wanted} --backend tensorrt "
        f"-o {ENGINES}",
    )


def _lifter(graph: Path) -> str:
    """The catalogue name that a graph's file name stands for."""
    return next((e.name for e in LIFTERS if e.graph_path.name == graph.name), graph.stem)


def _engines_beside(graph: Path) -> Iterator[tuple[Path, EngineInfo]]:
    for folder in (ENGINES, graph.parent):
        yield from engines_in(folder)


def _same_use(one: Checkpoint, other: Checkpoint) -> bool:
    return dataclasses.replace(one, hypotheses=0) == dataclasses.replace(other, hypotheses=0)


def _torch_has_cuda() -> bool:
    """Asked only where there is a GPU: importing torch takes seconds."""
    if find_spec("torch") is None:
        return False
    try:
        return bool(importlib.import_module("torch").cuda.is_available())
    except (ImportError, OSError, RuntimeError):  # an installation that does not load
        return False
