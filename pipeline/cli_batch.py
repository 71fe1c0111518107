"""The verb `batch`: every video of a folder, in several processes, resumable."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from posepipe.errors import UsageError
from posepipe.pipeline.cli import add_settings, console_for, settings_of

if TYPE_CHECKING:
    from rich.console import Console, Group

    from posepipe.pipeline.batch import BatchState
    from posepipe.pipeline.settings import RunSettings

_LINE_SECONDS = 5.0


def main(verb: str, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        f"posepipe {verb}", description="Every video below a folder; a manifest says what became of each."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="searched with its subfolders")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--resume", action="store_true", help="skip what DIR holds complete, made with these settings")
    parser.add_argument("--on-error", default="continue", choices=("continue", "stop"))
    parser.add_argument("--jobs", type=int, metavar="N", help="videos at a time (default: half of the processor cores)")
    parser.add_argument("--engine", default="local", choices=("local", "ray"), help="local: processes of this machine")
    add_settings(parser)
    parser.add_argument("--fov", dest="fov_deg", type=float, metavar="DEG", help="field of view of the longer side")
    parser.add_argument("--intrinsics", type=Path, metavar="FILE", help="JSON with fx, fy, cx, cy (width, height)")
    args = parser.parse_args(argv)
    if args.engine == "ray":
        raise UsageError("The engine 'ray' is not built yet.", "Use --engine local.")
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} leaves nobody to work.", "Give 1 or more.")
    settings = settings_of(args, fov_deg=args.fov_deg, intrinsics=args.intrinsics)
    return _batch(args, settings)


def _batch(args: argparse.Namespace, settings: RunSettings) -> int:
    from posepipe.pipeline.backend import backend_of
    from posepipe.pipeline.batch import run_batch, settings_hash
    from posepipe.pipeline.batch_list import work_list

    items = work_list(args.folder, args.out)
    digest = settings_hash(settings)
    jobs = min(args.jobs or max(1, len(os.sched_getaffinity(0)) // 2), len(items))
    console = console_for(args.json)
    console.print(
        f"{len(items)} video{'s' * (len(items) > 1)}, {jobs} at a time -> {shown(args.out)}\n{backend_of(settings)}",
        highlight=False,
        markup=False,
    )
    began = time.perf_counter()
    with _live(console) as observe:
        state = run_batch(
            items,
            args.out,
            settings,
            digest,
            jobs=jobs,
            resume=args.resume,
            stop_on_error=args.on_error == "stop",
            observe=observe,
        )
    _summary(console, state, args.out, time.perf_counter() - began, args.json)
    return 1 if state.failed else 0


def shown(text: object) -> str:
    """A path as it can be printed: file names need not be valid UTF-8, nor without line breaks."""
    clean = str(text).encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in clean)


@contextmanager
def _live(console: Console) -> Iterator[Callable[[BatchState], None]]:
    """A table that is kept up to date; without a terminal, a line every five seconds."""
    if console.is_terminal:
        from rich.live import Live

        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield lambda state: live.update(_table(state), refresh=True)
        return
    last = time.perf_counter()

    def observe(state: BatchState) -> None:
        nonlocal last
        if time.perf_counter() - last >= _LINE_SECONDS:
            last = time.perf_counter()
            frames = sum(p.frames for p in state.running.values())
            console.print(f"  {_where(state)}, {frames} frames into {len(state.running)} more", highlight=False)

    yield observe


def _where(state: BatchState) -> str:
    eta = state.eta_seconds()
    left = "" if eta is None else f", about {int(eta) // 3600}:{int(eta) // 60 % 60:02}:{int(eta) % 60:02} left"
    done = state.skipped + len(state.entries)
    return f"{done}/{state.items} videos, {state.failed} failed{left}"


def _table(state: BatchState) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("video", "frames", "of", box=None, pad_edge=False)
    for item, progress in state.running.items():
        table.add_row(Text(shown(item.name)), str(progress.frames), str(progress.expected or "?"))
    return Group(table, Text(_where(state)))  # not a caption, which would be as narrow as the table


def _summary(console: Console, state: BatchState, out: Path, seconds: float, as_json: bool) -> None:
    from collections import Counter

    from posepipe.pipeline.manifest import FAILED, NAME, STATUSES

    counts = Counter(e.status for e in state.entries)
    if as_json:
        left = [i.name for i in state.left]
        entries = [dataclasses.asdict(e) for e in state.entries]
        print(json.dumps({"counts": counts, "skipped": state.skipped, "left": left, "videos": entries}, indent=1))

    def say(text: str) -> None:
        console.print(shown(text), highlight=False, soft_wrap=True, markup=False)

    for entry in state.entries:
        if entry.status == FAILED:
            say(f"failed: {entry.input}: {entry.reason}")
        elif entry.bad_frames or entry.cut_short:
            say(f"{entry.status}: {entry.input}: {entry.bad_frames} bad frames{', cut short' * entry.cut_short}")
    frames = sum(e.frames for e in state.entries)
    parts = [f"{counts[s]} {s}" for s in STATUSES if counts[s]] + [f"{state.skipped} skipped"] * bool(state.skipped)
    say(f"{', '.join(parts)}; {frames} frames in {seconds:.1f} s ({frames / max(seconds, 1e-9):.1f} frames/s)")
    if state.left:
        names = ", ".join(i.name for i in state.left[:5]) + (", ..." if len(state.left) > 5 else "")
        say(f"stopped at the first failure; {len(state.left)} left ({names}); go on with --resume")
    say(f"wrote {out / NAME}")
