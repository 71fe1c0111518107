"""`posepipe build-engines`: weights -> graph (-> its float16 variant) -> TensorRT engines, each compared with what it
was made from before it gets its name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from posepipe.errors import CheckpointError, MissingDependencyError, PosepipeError, UsageError
from posepipe.lifters.catalogue import LIFTERS, entry
from posepipe.trt_build.engine.names import BUCKETS, PRECISIONS

BACKENDS = ("auto", "onnx", "tensorrt")
SETTINGS = ("hypotheses", "steps", "scheduler", "faithful")


def build_engines(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    _check(args)
    if args.detector:
        from posepipe.trt_build.cli_detectors import build_detectors

        return build_detectors(args)
    from posepipe.trt_build.engine.graphs import check_folder, check_readable, make_graphs, plan_for

    settings = {name: getattr(args, name) for name in SETTINGS}
    entries = [e for e in LIFTERS if e.checkpoint] if args.all else [entry(name) for name in args.lifter]
    plans = [plan_for(e, args.checkpoint, settings) for e in entries]
    if args.out is not None:
        check_folder(args.out)
    try:
        from posepipe.trt_build import export_onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"Exporting needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    graphs, failed = [], 0
    for plan in plans:
        try:
            made = make_graphs(plan, args.out, args.precision, print)
        except CheckpointError as error:
            if len(plans) == 1:
                raise
            print(f"posepipe build-engines: {error}", file=sys.stderr)  # the others can be built all the same
            failed = 1
            continue
        check_readable(made, args.persons)
        graphs.append(made)
    if args.backend == "onnx" or (args.backend == "auto" and args.out is None):
        print("Graphs only, no engines: " + ("--backend onnx." if args.backend == "onnx" else "no -o DIR was given."))
        return failed
    from posepipe.trt_build.engine.engines import find_tensorrt, make_engines

    try:
        trt, gpu = find_tensorrt()
    except PosepipeError as error:
        if args.backend == "tensorrt":
            raise type(error)(f"Graphs only, no engines: {error.message}", error.hint) from None
        print(f"Graphs only, no engines: {error.message}")
        return failed
    with progress_bar() as bar:
        for graph in graphs:
            for engine in make_engines(graph, args.out, args.persons, trt=trt, gpu=gpu, bar=bar):
                text = engine.difference.line(args.precision)
                print(f"{graph.plan.entry.name}: {engine.path} ({engine.info.engine_bytes / 1e6:.1f} MB), {text}")
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "posepipe build-engines",
        description="Export the sampler graphs of lifters and, where there are a GPU and TensorRT, build engines.",
    )
    parser.add_argument("--lifter", action="append", default=[], metavar="NAME")
    parser.add_argument(
        "--detector", action="append", default=[], metavar="NAME", help="hrnet-w32, hrnet-w48, ... (docs/detectors.md)"
    )
    parser.add_argument(
        "--detector-weights", metavar="FILE", help="MMPose's or the authors' .pth; `random` to measure speed"
    )
    parser.add_argument("--no-flip", dest="flip", action="store_false", help="detector: not also on the mirrored crop")
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
    if args.detector:
        if args.lifter or args.all or args.checkpoint:
            raise UsageError("Detectors and lifters are built one after the other.", "Give --detector or --lifter.")
        if not args.detector_weights:
            raise UsageError("Weights of detectors are not shipped.", "Give --detector-weights FILE.")
        if len(args.detector) != 1:
            raise UsageError("--detector-weights goes with exactly one --detector.")
        return
    if args.detector_weights or not args.flip:
        raise UsageError("--detector-weights and --no-flip go with --detector NAME.")
    if bool(args.lifter) == args.all:
        raise UsageError("Say which lifter to build.", "Give --lifter NAME (repeatable), --all, or --detector NAME.")
    if args.checkpoint and len(args.lifter) != 1:
        raise UsageError("--checkpoint goes with exactly one --lifter.")
    if args.out is None and (args.checkpoint or args.precision != "fp32"):
        raise UsageError("Say where the graph shall go.", "Give -o DIR; the shipped graphs stay as they are.")
    if args.out is None and args.backend == "tensorrt":
        raise UsageError("Say where the engines shall go.", "Give -o DIR.")


def progress_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
