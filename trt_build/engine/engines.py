"""From graph files to engines: what `build-engines` and `selftest` do where there are a GPU and TensorRT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posepipe.errors import EngineError
from posepipe.trt_build.engine.build import BuildSettings
from posepipe.trt_build.engine.gate import PEOPLE, Run, reference
from posepipe.trt_build.engine.graphs import Graphs
from posepipe.trt_build.engine.make import Job, Made, OpenEngine, make_engine
from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason
from posepipe.trt_build.engine.progress import Phases
from posepipe.trt_build.engine.versions import load_tensorrt
from posepipe.trt_build.runners.ort import OrtRunner


def find_tensorrt() -> tuple[Any, GpuInfo]:
    """(the tensorrt module, the GPU). The driver is asked first. Raises EngineError without a GPU and
    MissingDependencyError without TensorRT."""
    gpu = gpu_or_reason()
    if not isinstance(gpu, GpuInfo):
        raise EngineError(f"{gpu}.", "Build engines on the machine that will run them.")
    return load_tensorrt(), gpu


@contextmanager
def open_engine(engine: Path) -> Iterator[Run]:
    """An engine with its side-car beside it, opened to be run on given noise."""
    from posepipe.trt_build.runners.tensorrt import TensorRtRunner

    with TensorRtRunner(engine, captured=False) as runner:
        yield runner.run


def make_engines(
    graphs: Graphs,
    out: Path,
    buckets: Sequence[int],
    *,
    trt: Any,
    gpu: GpuInfo,
    bar: Any = None,
    poses: int = PEOPLE,
    opened: OpenEngine = open_engine,
) -> Iterator[Made]:
    """Build the engines of one lifter, one per bucket, into `out`; each is yielded when it has passed its gate.

    bar: a rich.progress.Progress that shows TensorRT's phases. poses: how many the gate compares; fewer only where the
    engines are thrown away. Raises EngineError, OutputError."""
    plan = graphs.plan
    with OrtRunner(graphs.full) as runner:
        expected = reference(runner.contract, runner.run, poses, hypotheses=plan.contract.hypotheses)
    settings = BuildSettings(timing_cache=out / f"{gpu.sm}-{trt.__version__}.timing-cache")
    for persons in buckets:
        job = Job(
            plan.entry.name,
            graphs.used,
            graphs.checkpoint,
            plan.contract,
            graphs.precision,
            persons,
            plan.settings,
        )
        yield make_engine(
            job, out, trt=trt, gpu=gpu, expected=expected, open_engine=opened, phases=Phases(bar), build=settings
        )
