"""`posepipe build-engines`: weights -> graph (-> its float16 variant) -> TensorRT engines, each compared with what it
was made from before it gets its name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posepipe.errors import CheckpointError, EngineError, MissingDependencyError, OutputError, PosepipeError, UsageError
from posepipe.lifters.catalogue import LIFTERS, Entry, entry, fits, names_of, variant_for
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.lifters.variants import asked_for, merged, vary
from posepipe.trt_build.engine.names import BUCKETS, PRECISIONS, graph_name

MAX_DIFFERENCE = 1e-5  # metres, graph against torch; see export_onnx.compare_with_torch
BACKENDS = ("auto", "onnx", "tensorrt")
SETTINGS = ("hypotheses", "steps", "scheduler", "faithful")


@dataclass(frozen=True)
class Plan:
    """What is made of one lifter. variant: header fields that its graph changes. settings: those that were asked for.
    contract: the header with them."""

    entry: Entry
    checkpoint: Path
    variant: dict[str, Any]
    settings: dict[str, Any]
    contract: Checkpoint


@dataclass(frozen=True)
class Graphs:
    """Files made of one plan. full: float32. used: in the precision that was asked for."""

    plan: Plan
    checkpoint: Path
    full: Path
    used: Path


def build_engines(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    _check(args)
    # Detectors (--detector) join here: a plan of their own beside those of the lifters, then the same three stages.
    plans = _plans(args)
    try:
        from posepipe.trt_build import export_onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"Exporting needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    graphs = [_graphs(plan, args.out, args.precision) for plan in plans]
    for made in graphs:
        _could_be_read(made, args.precision, args.persons)
    if args.backend == "onnx" or (args.backend == "auto" and args.out is None):
        print("Graphs only, no engines: " + ("--backend onnx." if args.backend == "onnx" else "no -o DIR was given."))
        return 0
    try:
        trt, gpu = _tensorrt()
    except PosepipeError as error:
        if args.backend == "tensorrt":
            raise type(error)(f"Graphs only, no engines: {error.message}", error.hint) from None
        print(f"Graphs only, no engines: {error.message}")
        return 0
    for made in graphs:
        _engines(made, args, trt, gpu)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "posepipe build-engines",
        description="Export the sampler graphs of lifters and, where there are a GPU and TensorRT, build engines.",
    )
    parser.add_argument("--lifter", action="append", default=[], metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every lifter with shipped weights")
    parser.add_argument("--checkpoint", type=Path, help="use these weights instead of the shipped ones")
    parser.add_argument("--hypotheses", type=int, metavar="H", help="how many a run draws by default, an engine always")
    parser.add_argument("--steps", type=int, metavar="K", help="drpose: diffusion steps (default: the checkpoint's)")
    parser.add_argument("--scheduler", choices=["ddim", "dpm-solver"], help="drpose (default: the checkpoint's)")
    parser.add_argument(
        "--faithful",
        action=argparse.BooleanOptionalAction,
        help="drpose, prpose: as published, or with our departure (default: the checkpoint's)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of matrix products (default: fp32)")
    parser.add_argument(
        "--persons",
        type=int,
        nargs="+",
        choices=BUCKETS,
        default=list(BUCKETS),
        help="engines for so many persons per launch (default: 1 2 4 8)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="onnx: graphs only; tensorrt: engines or an error; auto: engines where possible",
    )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="default: beside the shipped weights")
    return parser


def _check(args: argparse.Namespace) -> None:
    if bool(args.lifter) == args.all:
        raise UsageError("Say which lifter to build.", "Give --lifter NAME (repeatable) or --all.")
    if args.checkpoint and len(args.lifter) != 1:
        raise UsageError("--checkpoint goes with exactly one --lifter.")
    if args.out is None and (args.checkpoint or args.precision != "fp32"):
        raise UsageError("Say where the graph shall go.", "Give -o DIR; the shipped graphs stay as they are.")
    if args.out is None and args.backend == "tensorrt":
        raise UsageError("Say where the engines shall go.", "Give -o DIR.")


def _plans(args: argparse.Namespace) -> list[Plan]:
    settings = {name: getattr(args, name) for name in SETTINGS}
    entries = [e for e in LIFTERS if e.checkpoint] if args.all else [entry(name) for name in args.lifter]
    return [_plan(e, args.checkpoint, settings) for e in entries]


def _plan(e: Entry, given: Path | None, settings: dict[str, Any]) -> Plan:
    """Raises CheckpointError if the weights are of another lifter, UsageError for settings that it does not have."""
    checkpoint = given or e.checkpoint_path
    if not checkpoint.is_file():
        fix = f"Give --checkpoint FILE; `posepipe import-checkpoint --from {e.source or 'SYSTEM'}` makes one."
        fix = "Check the path." if given else fix
        raise CheckpointError(f"There are no weights for '{e.name}' at {checkpoint}.", fix)
    header = read_header(checkpoint)
    if not fits(e, header):
        names = names_of(header)
        raise CheckpointError(
            f"{checkpoint} holds weights of '{names[0] if names else header.lifter}', not of '{e.name}'.",
            f"Use --lifter {' or --lifter '.join(names)}." if names else "See `posepipe lifters`.",
        )
    variant = variant_for(e, header)
    variant = merged(variant, asked_for(vary(header, variant), **settings))
    beyond = {name: value for name, value in settings.items() if value is not None and name != "hypotheses"}
    return Plan(e, checkpoint, variant, beyond, vary(header, variant))


def _graphs(plan: Plan, out: Path | None, precision: str) -> Graphs:
    """Export, compare with torch; where asked for, the float16 variant, compared with the float32 one."""
    from posepipe.trt_build.export_onnx import compare_with_torch, export

    name, checkpoint, full = plan.entry.name, plan.checkpoint, plan.entry.graph_path
    if out is not None:
        checkpoint, full = _beside(checkpoint, out), out / graph_name(name)
    with _to_be_checked(full) as graph:
        export(checkpoint, graph, plan.variant)
        difference = compare_with_torch(checkpoint, graph, plan.variant)
        if not difference <= MAX_DIFFERENCE:
            raise CheckpointError(f"The graph of '{name}' differs from torch by {difference:.2e}.")
    print(f"{name}: {full} ({full.stat().st_size / 1e3:.0f} kB), {difference:.1e} from torch")
    if precision == "fp32":
        return Graphs(plan, checkpoint, full, full)
    used = full.with_name(graph_name(name, precision))
    _write_float16(name, full, used)
    return Graphs(plan, checkpoint, full, used)


def _write_float16(name: str, full: Path, used: Path) -> None:
    from posepipe.trt_build.engine.gate import compare, reference
    from posepipe.trt_build.engine.precision import write_float16
    from posepipe.trt_build.engine.rounded import write_rounded
    from posepipe.trt_build.runners.ort import OrtRunner

    with _to_be_checked(used) as graph:
        write_float16(full, graph)
        imitation = graph.with_name(f"{graph.name}.rounded")
        try:
            write_rounded(graph, imitation)
            with OrtRunner(full) as exact, OrtRunner(imitation) as half:
                expected = reference(exact.contract, exact.run)
                difference = compare(expected, half.run, 50, expected.count)
        finally:
            imitation.unlink(missing_ok=True)
        if not difference.passes("fp16"):
            raise CheckpointError(
                f"'{name}' does not bear fp16: {difference.line('fp16')}.", "Use --precision fp32 for these weights."
            )
    print(f"{name}: {used}, float16 against float32: {difference.line('fp16')}")


def _could_be_read(made: Graphs, precision: str, buckets: list[int]) -> None:
    from posepipe.trt_build.engine.make import Job, fixed_graph

    plan = made.plan
    for persons in buckets:
        fixed_graph(Job(plan.entry.name, made.used, made.checkpoint, plan.contract, precision, persons))


def _tensorrt() -> tuple[Any, Any]:
    """(the tensorrt module, the GPU). The driver is asked first. Raises MissingDependencyError or EngineError."""
    from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason
    from posepipe.trt_build.engine.versions import load_tensorrt

    gpu = gpu_or_reason()
    if not isinstance(gpu, GpuInfo):
        raise EngineError(f"{gpu[0].upper()}{gpu[1:]}.", "Build engines on the machine that will run them.")
    return load_tensorrt(), gpu


def _engines(made: Graphs, args: argparse.Namespace, trt: Any, gpu: Any) -> None:
    """Build the engines of one lifter, one per bucket; says what each gate measured."""
    from posepipe.trt_build.engine.build import BuildSettings
    from posepipe.trt_build.engine.gate import reference
    from posepipe.trt_build.engine.make import Job, make_engine
    from posepipe.trt_build.engine.progress import Phases
    from posepipe.trt_build.runners.ort import OrtRunner

    plan = made.plan
    with OrtRunner(made.full) as runner:
        expected = reference(runner.contract, runner.run)
    settings = BuildSettings(timing_cache=args.out / f"{gpu.sm}-{trt.__version__}.timing-cache")
    for persons in args.persons:
        job = Job(plan.entry.name, made.used, made.checkpoint, plan.contract, args.precision, persons, plan.settings)
        with _bar() as bar:
            engine = make_engine(
                job,
                args.out,
                trt=trt,
                gpu=gpu,
                expected=expected,
                open_engine=_open,
                phases=Phases(bar),
                build=settings,
            )
        size = engine.info.engine_bytes / 1e6
        print(f"{plan.entry.name}: {engine.path} ({size:.1f} MB), {engine.difference.line(args.precision)}")


def _open(engine: Path) -> AbstractContextManager[Any]:
    from posepipe.trt_build.runners.tensorrt import TensorRtRunner

    return TensorRtRunner(engine)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def _to_be_checked(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` to write to; it becomes `path` when the block ends without an error, and vanishes
    otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"Cannot write {path} ({error}).", "Give a folder that you may write to.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _beside(checkpoint: Path, folder: Path) -> Path:
    """Put the weights next to the graph that points into them: a hard link where possible, else a copy."""
    import shutil

    target = folder / checkpoint.name
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.samefile(checkpoint):
            return target
        temporary.unlink(missing_ok=True)
        try:
            os.link(checkpoint, temporary)
        except OSError:
            shutil.copyfile(checkpoint, temporary)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"Cannot write to {folder} ({error}).", "Give a folder that you may write to.") from None
    return target
