"""The verbs of the engine room: lifters, build-engines."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from posepipe.errors import CheckpointError, MissingDependencyError, UsageError
from posepipe.lifters.catalogue import LIFTERS, entry
from posepipe.lifters.checkpoint import read_header

MAX_DIFFERENCE = 1e-5  # metres, graph against torch


def main(verb: str, argv: list[str]) -> int:
    return {"lifters": _lifters, "build-engines": _build_engines}[verb](argv)


def _lifters(argv: list[str]) -> int:
    argparse.ArgumentParser("posepipe lifters", description="List the lifters.").parse_args(argv)
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what it is", "paper", "parameters", "noise", "H", "weights", "numbers in")
    for e in LIFTERS:
        hypotheses, weights = "", "none: posepipe import-checkpoint"
        if e.checkpoint and e.checkpoint_path.is_file():
            header = read_header(e.checkpoint_path)
            fixed = e.variant.get("fixed_hypotheses", header.fixed_hypotheses)
            hypotheses = str(fixed) if fixed else f"any ({header.hypotheses})"
            weights = f"shipped, for {header.conversion}"
        table.add_row(e.name, e.title, e.paper, f"{e.parameters:,}", e.noise, hypotheses, weights, e.numbers)
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
    return 0


def _build_engines(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("posepipe build-engines", description="Export the sampler graphs of lifters.")
    parser.add_argument("--lifter", action="append", default=[], metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every lifter with shipped weights")
    parser.add_argument("--checkpoint", type=Path, help="use these weights instead of the shipped ones")
    parser.add_argument("--backend", choices=["onnx"], default="onnx")
    parser.add_argument("-o", "--out", type=Path, help="folder; default: beside the shipped weights")
    args = parser.parse_args(argv)
    if bool(args.lifter) == args.all:
        raise UsageError("Say which lifter to build.", "Give --lifter NAME (repeatable) or --all.")
    if args.checkpoint and len(args.lifter) != 1:
        raise UsageError("--checkpoint goes with exactly one --lifter.")
    try:
        from posepipe.trt_build.export_onnx import compare_with_torch, export
    except ImportError as error:
        raise MissingDependencyError(
            f"Exporting needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    entries = [e for e in LIFTERS if e.checkpoint] if args.all else [entry(n) for n in args.lifter]
    for e in entries:
        checkpoint = args.checkpoint or e.checkpoint_path
        if not checkpoint.is_file():
            raise CheckpointError(f"There are no weights for '{e.name}' at {checkpoint}.", "Train them first.")
        graph = e.graph_path
        if args.out:
            graph, checkpoint = args.out / e.graph_path.name, _beside(checkpoint, args.out)
        export(checkpoint, graph, e.variant)
        difference = compare_with_torch(checkpoint, graph, e.variant)
        if difference > MAX_DIFFERENCE:
            graph.unlink()
            raise CheckpointError(f"The graph of '{e.name}' differs from torch by {difference:.2e} m.")
        print(f"{e.name}: {graph} ({graph.stat().st_size / 1e3:.0f} kB), {difference:.1e} m from torch")
    return 0


def _beside(checkpoint: Path, folder: Path) -> Path:
    """Put the weights next to the graph that points into them: a hard link where possible, else a copy."""
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / checkpoint.name
    if target.exists() and target.samefile(checkpoint):
        return target
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(checkpoint, temporary)
    except OSError:
        shutil.copyfile(checkpoint, temporary)
    os.replace(temporary, target)
    return target
