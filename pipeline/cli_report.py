"""The verb `report`: a folder of results as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from posepipe.errors import UsageError
from posepipe.pipeline.cli import console_for
from posepipe.pipeline.sink.atomic import atomic_path, output_error


def main(verb: str, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        f"posepipe {verb}",
        description="One HTML page about a folder of results: what became of each video, a picture of it with the fan "
        "of hypotheses, its uncertainty over time, warnings, times, settings. It can be opened and sent on its own.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="what posepipe batch or posepipe run has written to")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE.html", help="default: DIR/report.html")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from rich.progress import Progress

    from posepipe.pipeline.report.gather import plan
    from posepipe.pipeline.report.page import build

    items = plan(args.folder)
    out = _target(args.folder, args.out)
    console = console_for(False)
    with (
        atomic_path(out) as temporary,  # first, so that a folder that cannot be written to is noticed at once
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(f"{len(items)} videos", total=len(items))
        page = build(args.folder, items, out, lambda: bar.advance(task))
        temporary.write_text(page, encoding="utf-8")
    print(f"wrote {out}")
    return 0


def _target(folder: Path, out: Path | None) -> Path:
    try:
        target = folder / "report.html" if out is None else out / "report.html" if out.is_dir() else out
    except OSError as error:
        raise output_error(out or folder, error) from None
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{target} is not the name of an HTML page.", "Let it end in .html.")
    return target
