"""The verbs of the live path: run, demo."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from posepipe.errors import InputError, UsageError
from posepipe.lifters.catalogue import DEFAULT, LIFTERS
from posepipe.pipeline.aggregate import AGGREGATES
from posepipe.pipeline.cli_detector import add_detector, add_keypoints, check_detector, source_or_keypoints
from posepipe.pipeline.live.wanted import VIEWS, wants_live
from posepipe.pipeline.settings import BACKENDS, RunSettings
from posepipe.pipeline.stats import StageTimes

if TYPE_CHECKING:
    from rich.console import Console

    from posepipe.pipeline.run import RunSummary
    from posepipe.pipeline.runner import FrameResult


def main(verb: str, argv: list[str]) -> int:
    return {"run": _run, "demo": _demo}[verb](argv)


def add_settings(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(e.name for e in LIFTERS)
    parser.add_argument("--lifter", default=DEFAULT, metavar="NAME", help=f"{names} (default {DEFAULT})")
    parser.add_argument("--hypotheses", type=int, metavar="H", help="how many poses to draw (default: the lifter's)")
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    add_detector(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--max-frames", type=int, metavar="N")
    parser.add_argument("--no-smooth", dest="smooth", action="store_false", help="no smoothing over time; raw alone")
    parser.add_argument("--aggregate", default="median", choices=AGGREGATES, help="the one pose (default median)")
    parser.add_argument("--noise-refresh", type=float, default=4.0, metavar="SECONDS", help="0: new for every frame")
    parser.add_argument("--height", type=float, metavar="M", help="how tall people are, in metres: sets the scale")
    parser.add_argument("--no-overlay", action="store_true", help="write no overlay video")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def settings_of(args: argparse.Namespace, **more: object) -> RunSettings:
    names = {f.name for f in dataclasses.fields(RunSettings)} - {"overlay"}
    given = {k: v for k, v in vars(args).items() if k in names}
    settings = RunSettings(overlay=not args.no_overlay, **{**given, **more})
    check_detector(settings)
    return settings


def _run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("posepipe run", description="A video in; 3D skeletons and a picture of them out.")
    parser.add_argument(
        "source",
        nargs="?",
        help="a video file; a folder of numbered images; a camera's number (0); or rtsp://..., http://...",
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out"), metavar="DIR")
    add_settings(parser)
    parser.add_argument("--fov", dest="fov_deg", type=float, metavar="DEG", help="field of view of the longer side")
    parser.add_argument("--intrinsics", type=Path, metavar="FILE", help="calibration (OpenCV, ROS, Kalibr, JSON)")
    parser.add_argument("--fps", dest="image_fps", type=float, metavar="N", help="of a folder of images (default 25)")
    add_keypoints(parser)
    parser.add_argument("--live", action="store_true", help="play a file as if it were a camera")
    parser.add_argument("--view", choices=VIEWS, help="watch (default: auto for cameras and streams, none for files)")
    parser.add_argument("--save", type=Path, metavar="FILE.rrd", help="what would be shown, as a file for Rerun")
    parser.add_argument("--record", action="store_true", help="live: write files from the first frame on (key r later)")
    args = parser.parse_args(argv)
    source_or_keypoints(args)
    settings = settings_of(args, fov_deg=args.fov_deg, intrinsics=args.intrinsics)
    if settings.image_fps is not None and not Path(args.source).is_dir():
        raise UsageError(f"{args.source} has its own times.", "--fps is for folders of images.")
    if wants_live(args):
        from posepipe.pipeline.cli_live import run_source

        return run_source(args, settings)
    console = console_for(args.json)
    summary = _with_progress(console, Path(args.source), args.out, settings)
    _print_summary(console, summary, args.json)
    if summary.frames_with_person == 0:
        where = summary.overlay or summary.recording
        raise InputError(
            f"No person was found in any of the {summary.frames} frames of {args.source}.",
            f"Look at {where}: is the person large enough, lit and upright?",
        )
    return 0


def _demo(argv: list[str]) -> int:
    from posepipe.pipeline.source.actor_motion import MOTIONS

    parser = argparse.ArgumentParser("posepipe demo", description="The main job on a rendered actor with exact truth.")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/demo"), metavar="DIR")
    parser.add_argument("--motion", default="all", choices=[*MOTIONS, "all"])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--fov", type=float, default=55.0, metavar="DEG")
    add_settings(parser)
    args = parser.parse_args(argv)
    if not (0.1 <= args.seconds <= 3600 and 1 <= args.fps <= 240):
        raise UsageError("The film cannot be made.", "Give --seconds between 0.1 and 3600 and --fps between 1 and 240.")
    from rich.progress import Progress

    from posepipe.pipeline.demo import Observations, demo_scenes, outputs, print_report
    from posepipe.pipeline.film import film

    console = console_for(args.json)
    scenes = tuple(demo_scenes(args.motion, args.seconds, args.fps, args.fov, (720, 720)))
    path = outputs(args.out, args.motion)
    console.print(f"1/2 Filming a rendered actor ({args.motion}) -> {path}", highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("  filming", total=sum(s.frames for s in scenes))
        truth = film(scenes, path, lambda: bar.advance(task))
    console.print(f"2/2 posepipe run {path} -o {args.out} --fov {args.fov:g}", highlight=False)
    seen = Observations()
    summary = _with_progress(console, path, args.out, settings_of(args, fov_deg=args.fov), seen.add)
    report = seen.report(truth)
    _print_summary(console, summary, args.json, dataclasses.asdict(report) if report else None)
    if report is None:
        raise InputError("The detector never found the actor.", "Run `posepipe doctor` and report what it prints.")
    print_report(report, summary.lifter, summary.hypotheses, console.print)
    return 0


def console_for(json_only: bool) -> Console:
    """Where people read: the terminal, or standard error when standard output carries JSON."""
    from rich.console import Console

    console = Console(stderr=json_only)
    return console if console.is_terminal else Console(stderr=json_only, width=120)


def _with_progress(
    console: Console, source: Path, out: Path, settings: RunSettings, observe: object = None
) -> RunSummary:
    from posepipe.pipeline.backend import backend_of
    from posepipe.pipeline.run import run_file

    times = StageTimes()
    console.print(f"  {backend_of(settings)}", highlight=False, soft_wrap=True, markup=False)
    with _progress(console, times) as (start, advance):

        def on_frame(result: FrameResult) -> None:
            advance()
            if observe is not None:
                observe(result)  # type: ignore[operator]

        return run_file(source, out, settings, times, start, on_frame)


@contextmanager
def _progress(console: Console, times: StageTimes) -> Iterator[tuple]:
    """A bar with frames per second and the median of every stage; without a terminal, a line every five seconds."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    began = last = time.perf_counter()
    done, total = 0, 0

    def line() -> str:
        stages = "  ".join(f"{s.name} {s.p50:.1f}" for s in times.summary())
        return f"{done / max(time.perf_counter() - began, 1e-9):5.1f} frames/s  ms p50: {stages}"

    columns = (
        TextColumn("  "),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def start(expected: int | None) -> None:
            nonlocal began, last, total
            began = last = time.perf_counter()
            total = expected or 0
            bar.update(task, total=expected)

        def advance() -> None:
            nonlocal done, last
            done += 1
            now = time.perf_counter()
            if now - last >= (0.25 if console.is_terminal else 5.0):
                last = now
                if console.is_terminal:
                    bar.update(task, completed=done, description=line())
                else:
                    console.print(f"  {done}/{total or '?'} {line()}", highlight=False, soft_wrap=True)

        yield start, advance


def _print_summary(console: Console, summary: RunSummary, as_json: bool, extra: dict | None = None) -> None:
    from rich.table import Table

    if as_json:
        data = dataclasses.asdict(summary) | {"fps": summary.fps} | ({"demo": extra} if extra else {})
        print(json.dumps(data, default=str, indent=1))
    table = Table("stage", "calls", "p50 ms", "p95 ms", "p99 ms", box=None, pad_edge=False)
    for s in summary.stages:
        table.add_row(s.name, str(s.calls), f"{s.p50:.1f}", f"{s.p95:.1f}", f"{s.p99:.1f}")
    console.print(table)
    corrupt = f", {summary.frames_corrupt} damaged" if summary.frames_corrupt else ""
    console.print(
        f"{summary.frames} frames in {summary.seconds:.1f} s ({summary.fps:.1f} frames/s), "
        f"{summary.frames_with_person} with a person{corrupt}; {summary.lifter}, "
        f"{summary.hypotheses} hypotheses, {summary.backend}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(summary.camera.described, highlight=False, soft_wrap=True)
    if summary.note:
        console.print(summary.note, highlight=False, soft_wrap=True)
    for path in (summary.recording, summary.overlay):
        if path:
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
