"""`posepipe doctor`: what is installed, which backends work, and why the others do not."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec

from posepipe import __version__
from posepipe.doctor_checks import BAD, OFF, OK, Finding, everything

MARKS = {OK: "✓", OFF: "–", BAD: "✗"}
COLOURS = {OK: "green", OFF: "dim", BAD: "bold red"}


def main(verb: str, argv: Sequence[str]) -> int:
    """The verb `doctor`, as `posepipe.__main__` calls it."""
    return run(argv)


def run(argv: Sequence[str]) -> int:
    """Print the report. 0: `posepipe run` can do its job here; 1: something that it needs is missing."""
    parser = argparse.ArgumentParser(prog="posepipe doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for a bug report or a script")
    wants_json = parser.parse_args(argv).json
    findings = everything()
    broken = [finding for finding in findings if finding.state == BAD]
    if wants_json:
        report = {"posepipe": __version__, "works": not broken, "findings": [asdict(f) for f in findings]}
        print(json.dumps(report, indent=2))
        return 1 if broken else 0
    if find_spec("rich") is None:
        print(as_text(findings))
    else:
        _print_table(findings)
    print(verdict(broken))
    return 1 if broken else 0


def verdict(broken: Sequence[Finding]) -> str:
    """One sentence to end with."""
    if not broken:
        return "posepipe can run here."
    return f"posepipe cannot run here yet: fix {', '.join(f.name for f in broken)}."


def as_text(findings: Sequence[Finding]) -> str:
    """The report without rich, which may be what is missing."""
    return "\n".join(
        f"{MARKS[f.state]} {f.group:<10} {f.name:<22} {f.detail}{f'  → {f.fix}' if f.fix else ''}" for f in findings
    )


def _print_table(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"posepipe {__version__}", title_justify="left", box=None, padding=(0, 1))
    for column in ("", "", ""):
        table.add_column(column, overflow="fold")
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            table.add_row("", Text(group, style="bold"), "")
        detail = Text(finding.detail)
        if finding.fix:
            detail.append(f"\n→ {finding.fix}", style="yellow" if finding.state == BAD else "dim")
        table.add_row(Text(MARKS[finding.state], style=COLOURS[finding.state]), finding.name, detail)
    # A pipe has no width: do not fold what a person will search or paste.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
