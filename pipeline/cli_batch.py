"""The verb `batch`: every video of a folder, in several processes, resumable."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from posepipe.errors import InputError, UsageError
from posepipe.pipeline.cli import add_settings, console_for, settings_of

if TYPE_CHECKING:
    from posepipe.pipeline.settings import RunSettings


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
    parser.add_argument("--fps", dest="image_fps", type=float, metavar="N", help="of folders of images (default 25)")
    args = parser.parse_args(argv)
    if args.engine == "ray":
        raise UsageError("The engine 'ray' is not built yet.", "Use --engine local.")
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} leaves nobody to work.", "Give 1 or more.")
    settings = settings_of(args, fov_deg=args.fov_deg, intrinsics=args.intrinsics)
    return _batch(args, settings)


def _batch(args: argparse.Namespace, settings: RunSettings) -> int:
    from posepipe.pipeline.backend import backend_of
    from posepipe.pipeline.batch import run_batch
    from posepipe.pipeline.batch_crew import LocalCrew, usable_cores
    from posepipe.pipeline.batch_list import work_list
    from posepipe.pipeline.batch_settings import settings_hash
    from posepipe.pipeline.batch_view import say, summarise, watched

    items = work_list(args.folder, args.out)
    digest = settings_hash(settings)
    jobs = min(args.jobs or max(1, usable_cores() // 2), len(items))
    console = console_for(args.json)
    say(console, f"{len(items)} video{'s' * (len(items) > 1)}, {jobs} at a time -> {args.out}")
    say(console, str(backend_of(settings)))
    with watched(console) as observe:
        state = run_batch(
            items,
            args.out,
            settings,
            digest,
            crew=LocalCrew(args.out, settings, digest, jobs),
            resume=args.resume,
            stop_on_error=args.on_error == "stop",
            observe=observe,
        )
    summarise(console, state, args.out, args.json)
    if state.failed:
        return 1
    if not state.people and not state.left:
        # The rule of `posepipe run` too: a command that comes back without one skeleton says so.
        raise InputError(
            f"No person was found in any of the {len(items)} videos of {args.folder}.",
            f"Look at the results in {args.out}: are people large enough, lit and upright?",
        )
    return 0
