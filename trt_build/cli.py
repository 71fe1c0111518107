"""The verbs of the engine room: lifters, build-engines, selftest, bench."""

from __future__ import annotations

import argparse

from posepipe.lifters.catalogue import LIFTERS, Entry, entry
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.lifters.variants import vary
from posepipe.trt_build.bench import bench
from posepipe.trt_build.cli_engines import build_engines
from posepipe.trt_build.selftest import selftest


def main(verb: str, argv: list[str]) -> int:
    verbs = {"lifters": _lifters, "build-engines": build_engines, "selftest": selftest, "bench": bench}
    return verbs[verb](argv)


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
