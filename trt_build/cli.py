"""The verbs of the engine room: lifters, build-engines."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from posepipe.errors import CheckpointError, MissingDependencyError, OutputError, UsageError
from posepipe.lifters.catalogue import LIFTERS, Entry, entry, fits, names_of, variant_for
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.lifters.variants import asked_for, merged, vary

MAX_DIFFERENCE = 1e-5  # metres, graph against torch; see export_onnx.compare_with_torch


def main(verb: str, argv: list[str]) -> int:
    return {"lifters": _lifters, "build-engines": _build_engines}[verb](argv)


def _lifters(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("posepipe lifters", description="List the lifters, or describe one.")
    parser.add_argument("name", nargs="?", help="say more about this one")
    args = parser.parse_args(argv)
    from rich.console import Console
    from rich.table import Table

    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=240)
    if args.name:
        for title, text in _description(entry(args.name)):
            console.print(f"{title:>14}  {text}", highlight=False, soft_wrap=True)
        return 0
    table = Table("name", "what it is", "paper", "parameters", "noise", "H", "weights", "numbers in")
    for e in LIFTERS:
        header = _shipped(e)
        table.add_row(
            e.name, e.title, e.paper, f"{e.parameters:,}", e.noise, _possible(header), _weights(e, header), e.numbers
        )
    console.print(table)
    console.print("H: hypotheses (default). Noise: its shape per hypothesis. K: diffusion steps.", highlight=False)
    return 0


def _shipped(e: Entry) -> Checkpoint | None:
    """The header of the shipped weights as this name uses them, or None."""
    if not e.checkpoint or not e.checkpoint_path.is_file():
        return None
    return vary(read_header(e.checkpoint_path), e.variant)


def _possible(header: Checkpoint | None) -> str:
    if header is None:
        return ""
    return str(header.fixed_hypotheses) if header.fixed_hypotheses else f"any ({header.hypotheses})"


def _weights(e: Entry, header: Checkpoint | None) -> str:
    if header is not None:
        return f"shipped, for {header.conversion}"
    return f"none: import-checkpoint --from {e.source}" if e.source else "none"


def _description(e: Entry) -> list[tuple[str, str]]:
    header = _shipped(e)
    rows = [
        (e.name, e.title),
        ("paper", e.paper),
        ("authors' code", e.code),
        ("parameters", f"{e.parameters:,} at the published widths"),
        ("noise", f"{e.noise} per hypothesis"),
        ("weights", _weights(e, header)),
        ("numbers", f"{e.numbers}: the authors' own, our parity with their code, what is kept and changed"),
    ]
    if header is not None:
        rows += [("file", str(e.checkpoint_path)), ("H", _possible(header)), ("input space", header.space)]
        rows += [(key, str(value)) for key, value in header.provenance.items()]
    return rows


def _build_engines(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("posepipe build-engines", description="Export the sampler graphs of lifters.")
    parser.add_argument("--lifter", action="append", default=[], metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every lifter with shipped weights")
    parser.add_argument("--checkpoint", type=Path, help="use these weights instead of the shipped ones")
    parser.add_argument("--hypotheses", type=int, metavar="H", help="how many a run draws by default")
    parser.add_argument("--steps", type=int, metavar="K", help="drpose: diffusion steps (default: the checkpoint's)")
    parser.add_argument("--scheduler", choices=["ddim", "dpm-solver"], help="drpose (default: the checkpoint's)")
    parser.add_argument(
        "--faithful",
        action=argparse.BooleanOptionalAction,
        help="drpose, prpose: as published, or with our departure (default: the checkpoint's)",
    )
    parser.add_argument("--backend", choices=["onnx"], default="onnx")
    parser.add_argument("-o", "--out", type=Path, help="folder; default: beside the shipped weights")
    args = parser.parse_args(argv)
    if bool(args.lifter) == args.all:
        raise UsageError("Say which lifter to build.", "Give --lifter NAME (repeatable) or --all.")
    if args.checkpoint and len(args.lifter) != 1:
        raise UsageError("--checkpoint goes with exactly one --lifter.")
    if args.checkpoint and not args.out:
        raise UsageError("Say where the graph shall go.", "Give -o DIR; the shipped graphs stay as they are.")
    settings = {name: getattr(args, name) for name in ("hypotheses", "steps", "scheduler", "faithful")}
    entries = [e for e in LIFTERS if e.checkpoint] if args.all else [entry(n) for n in args.lifter]
    plans = [_plan(e, args.checkpoint, settings) for e in entries]
    try:
        from posepipe.trt_build.export_onnx import compare_with_torch, export
    except ImportError as error:
        raise MissingDependencyError(
            f"Exporting needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    for e, checkpoint, variant in plans:
        graph = e.graph_path
        if args.out:
            graph, checkpoint = args.out / e.graph_path.name, _beside(checkpoint, args.out)
        export(checkpoint, graph, variant)
        difference = compare_with_torch(checkpoint, graph, variant)
        if not difference <= MAX_DIFFERENCE:
            graph.unlink()
            raise CheckpointError(f"The graph of '{e.name}' differs from torch by {difference:.2e}.")
        print(f"{e.name}: {graph} ({graph.stat().st_size / 1e3:.0f} kB), {difference:.1e} from torch")
    return 0


def _plan(e: Entry, given: Path | None, settings: dict[str, Any]) -> tuple[Entry, Path, dict[str, Any]]:
    """(entry, its weights, how to use them). Raises CheckpointError if the weights are of another lifter."""
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
    return e, checkpoint, merged(variant, asked_for(vary(header, variant), **settings))


def _beside(checkpoint: Path, folder: Path) -> Path:
    """Put the weights next to the graph that points into them: a hard link where possible, else a copy."""
    import shutil

    target = folder / checkpoint.name
    temporary = target.with_name(f".{target.name}.tmp")
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
        raise OutputError(f"Cannot write to {folder} ({error}).", "Give a folder that you may write to.") from None
    return target
