"""A batch for those who watch it: a table that is kept up to date, or lines where there is no terminal; the summary."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from posepipe.pipeline.batch_state import BatchState, Running
from posepipe.pipeline.manifest import FAILED, NAME, STATUSES

_LINE_SECONDS = 5.0
_ROWS = 16  # of workers; a cluster has more than a terminal has lines
_RECENT = 3


def shown(text: object) -> str:
    """A path as it can be printed: file names need not be valid UTF-8, nor without line breaks."""
    clean = str(text).encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in clean)


def say(console: Console, text: str) -> None:
    """One line, as it is."""
    console.print(shown(text), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def watched(console: Console) -> Iterator[Callable[[BatchState], None]]:
    """What to call with the state some four times a second: a live table; without a terminal, a line every five
    seconds."""
    if console.is_terminal:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield lambda state: live.update(table(state), refresh=True)
        return
    last = time.perf_counter()

    def observe(state: BatchState) -> None:
        nonlocal last
        if time.perf_counter() - last >= _LINE_SECONDS:
            last = time.perf_counter()
            say(console, f"  {totals(state)}")

    yield observe


def totals(state: BatchState) -> str:
    """One line: videos, failures, frames, rate, time left."""
    rate = state.frames / max(state.seconds, 1e-9)
    left = state.eta_seconds()
    ahead = f", about {_clock(left)} left" if left is not None else ""
    videos = f"{state.done}/{state.items} videos, {state.failed} failed"
    return f"{videos}; {state.frames} frames, {rate:.1f} frames/s; {_clock(state.seconds)}{ahead}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def table(state: BatchState) -> RenderableType:
    """A row per worker, the last videos that failed, and the totals."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    rows.add_column("worker", no_wrap=True)
    rows.add_column("video", no_wrap=True, overflow="ellipsis", ratio=3)
    rows.add_column("", ratio=2, min_width=8)
    rows.add_column("frames", justify="right", no_wrap=True)
    rows.add_column("frames/s", justify="right", no_wrap=True)
    for running in state.running[:_ROWS]:
        rows.add_row(*_row(running))
    more = len(state.running) - _ROWS
    if more > 0:
        rows.add_row("", Text(f"and {more} more"))
    failed = [e for e in state.entries if e.status == FAILED][-_RECENT:]
    told = [Text(shown(f"failed: {e.input}: {e.reason}"), "yellow", no_wrap=True, overflow="ellipsis") for e in failed]
    whole = Table.grid(expand=True)  # a bar of its own would leave no line for what follows
    whole.add_row(ProgressBar(total=max(state.bytes, 1), completed=state.bytes_done))
    return Group(rows, *told, whole, Text(totals(state)))


def _row(running: Running) -> tuple[RenderableType, ...]:
    done = running.progress
    bar = ProgressBar(total=done.expected or None, completed=done.frames, pulse=not done.expected)
    return (
        Text(shown(running.worker)),
        Text(shown(running.item.name)),
        bar,
        f"{done.frames}/{done.expected or '?'}",
        f"{done.frames / done.seconds:.1f}" if done.seconds and done.frames else "starts",
    )


def summarise(console: Console, state: BatchState, out: Path, as_json: bool) -> None:
    """What became of the batch: every failed or damaged video, counts, and how to go on."""
    counts = Counter(e.status for e in state.entries)
    if as_json:
        left = [i.name for i in state.left]
        entries = [dataclasses.asdict(e) for e in state.entries]
        print(json.dumps({"counts": counts, "skipped": state.skipped, "left": left, "videos": entries}, indent=1))
    for entry in state.entries:
        if entry.status == FAILED:
            say(console, f"failed: {entry.input}: {entry.reason}")
        elif entry.bad_frames or entry.cut_short:
            cut = ", cut short" * entry.cut_short
            say(console, f"{entry.status}: {entry.input}: {entry.bad_frames} bad frames{cut}")
    frames, seconds = sum(e.frames for e in state.entries), state.seconds
    parts = [f"{counts[s]} {s}" for s in STATUSES if counts[s]] + [f"{state.skipped} skipped"] * bool(state.skipped)
    rate = frames / max(seconds, 1e-9)
    say(console, f"{', '.join(parts)}; {frames} frames in {seconds:.1f} s ({rate:.1f} frames/s)")
    if state.left:
        names = ", ".join(i.name for i in state.left[:5]) + (", ..." if len(state.left) > 5 else "")
        say(console, f"stopped at the first failure; {len(state.left)} left ({names}); go on with --resume")
    say(console, f"wrote {out / NAME}")
