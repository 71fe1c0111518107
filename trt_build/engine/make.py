"""One engine, from the graph to a file that may be trusted: build, side-car, gate, final name, in this order.

Everything happens in a hidden folder beside the final place. An engine that is interrupted, cannot be built or fails
the gate leaves nothing; one that has its final name is complete, and its side-car was there before it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posepipe import __version__
from posepipe.errors import EngineError, OutputError
from posepipe.hashing import file_sha256
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.trt_build.engine.build import BuildSettings, build_plan
from posepipe.trt_build.engine.gate import Difference, Reference, Run, compare
from posepipe.trt_build.engine.names import engine_name, sidecar_path
from posepipe.trt_build.engine.precision import layer_precisions
from posepipe.trt_build.engine.probe import GpuInfo
from posepipe.trt_build.engine.progress import Phases
from posepipe.trt_build.engine.sidecar import EngineInfo, write_sidecar
from posepipe.trt_build.engine.static import MAX_BYTES, fix_shapes, load_with_weights, shapes
from posepipe.trt_build.tensorrt_check import problems

OpenEngine = Callable[[Path], AbstractContextManager[Run]]


@dataclass(frozen=True)
class Job:
    """One engine to build.

    lifter: its name in the catalogue. graph: the graph with open shapes in the engine's precision, the weights beside
    it. contract: the header as the graph uses it, whose `hypotheses` is the engine's H. settings: what the person asked
    for beyond that (steps, scheduler, faithful), for the command that rebuilds the engine."""

    lifter: str
    graph: Path
    checkpoint: Path
    contract: Checkpoint
    precision: str
    persons: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hypotheses(self) -> int:
        return self.contract.hypotheses


@dataclass(frozen=True)
class Made:
    """A finished engine and what its gate measured."""

    path: Path
    info: EngineInfo
    difference: Difference


def fixed_graph(graph: Path, lifter: str, persons: int, hypotheses: int) -> Any:
    """A graph with its shapes fixed, as an onnx.ModelProto with weights. Raises EngineError if TensorRT could not read
    it, as far as that can be known without TensorRT."""
    model = fix_shapes(load_with_weights(graph), persons, hypotheses)
    if found := problems(model):
        raise EngineError(f"TensorRT could not read the graph of '{lifter}': {found[0]}.")
    if (size := model.ByteSize()) > MAX_BYTES:
        raise EngineError(f"The graph of '{lifter}' with its weights has {size / 1e9:.1f} GB; 2 are possible.")
    return model


def make_engine(
    job: Job,
    out: Path,
    *,
    trt: Any,
    gpu: GpuInfo,
    expected: Reference,
    open_engine: OpenEngine,
    phases: Phases,
    build: BuildSettings | None = None,
) -> Made:
    """Build the engine of a job, compare it with `expected` (gate.reference of the float32 graph), and put it into the
    folder `out` with its side-car.

    open_engine: opens an engine file, so that it can be run on given noise. Raises EngineError if the engine cannot be
    built or differs too much, OutputError if the folder cannot be written to."""
    model = fixed_graph(job.graph, job.lifter, job.persons, job.hypotheses)
    name = engine_name(
        job.lifter,
        file_sha256(job.checkpoint),
        gpu.sm,
        trt.__version__,
        job.persons,
        job.hypotheses,
        job.contract.steps,
        job.precision,
    )
    folder = hidden_folder(out)
    try:
        plan = build_plan(trt, model.SerializeToString(), build or BuildSettings(), phases)
        engine = folder / name
        write_plan(engine, plan)
        info = _describe(job, model, plan, trt, gpu)
        write_sidecar(engine, info)
        with open_engine(engine) as run:
            difference = compare(expected, run, job.persons, job.hypotheses)
        if not difference.passes(job.precision):
            raise EngineError(
                f"The {job.precision} engine of '{job.lifter}' differs too much from ONNX Runtime: "
                f"{difference.line(job.precision)}.",
                "Use --precision fp32." if job.precision == "fp16" else "Please report it with `posepipe selftest`.",
            )
        info = dataclasses.replace(info, gate=difference.as_dict())
        sidecar = write_sidecar(engine, info)
        move(sidecar, sidecar_path(out / name))
        move(engine, out / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Made(out / name, info, difference)


def _describe(job: Job, model: Any, plan: bytes, trt: Any, gpu: GpuInfo) -> EngineInfo:
    known = shapes(model)
    ends = [value.name for value in (*model.graph.input, *model.graph.output)]
    return EngineInfo(
        lifter=job.lifter,
        contract=job.contract,
        checkpoint=job.checkpoint.name,
        checkpoint_sha256=file_sha256(job.checkpoint),
        onnx_sha256=file_sha256(job.graph),
        persons=job.persons,
        hypotheses=job.hypotheses,
        precision=job.precision,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        tensorrt=trt.__version__,
        driver=gpu.driver,
        cuda=gpu.cuda,
        shapes={name: tuple(int(size or 0) for size in known[name]) for name in ends},
        layer_precisions=layer_precisions(model),
        gate={},
        engine_sha256=hashlib.sha256(plan).hexdigest(),
        engine_bytes=len(plan),
        posepipe=__version__,
        settings=dict(job.settings),
    )


def hidden_folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".building-", dir=out))
    except OSError as error:
        raise OutputError(f"Cannot write to {out} ({error}).", "Give a folder that you may write to.") from None


def write_plan(path: Path, plan: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(plan)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"Cannot write {path.name} ({error}).", "Make room, or give another folder.") from None


def move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        raise OutputError(f"Cannot write {target} ({error}).", "Give a folder that you may write to.") from None
