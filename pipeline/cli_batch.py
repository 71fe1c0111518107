"""The verb `batch`: every video of a folder, in several processes, resumable."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from posepipe.errors import InputError, UsageError
from posepipe.pipeline.cli import add_settings, console_for, settings_of

if TYPE_CHECKING:
    from posepipe.pipeline.batch_crew import Crew
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
    parser.add_argument("--address", metavar="HOST:PORT", help="ray: of a cluster that runs (default: one made here)")
    parser.add_argument(
        "--cores-per-worker",
        dest="cores",
        type=int,
        metavar="N",
        help="ray: of each worker (default 2)",
    )
    add_settings(parser)
    parser.add_argument("--fov", dest="fov_deg", type=float, metavar="DEG", help="field of view of the longer side")
    parser.add_argument("--intrinsics", type=Path, metavar="FILE", help="calibration (OpenCV, ROS, Kalibr, JSON)")
    parser.add_argument("--fps", dest="image_fps", type=float, metavar="N", help="of folders of images (default 25)")
    args = parser.parse_args(argv)
    if args.engine == "local" and (args.address or args.cores is not None):
        raise UsageError("--address and --cores-per-worker are for a cluster.", "Add --engine ray.")
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs} leaves nobody to work.", "Give 1 or more.")
    settings = settings_of(args, fov_deg=args.fov_deg, intrinsics=args.intrinsics)
    return _batch(args, settings)


def _batch(args: argparse.Namespace, settings: RunSettings) -> int:
    from posepipe.pipeline.backend import backend_of
    from posepipe.pipeline.batch import run_batch
    from posepipe.pipeline.batch_list import work_list
    from posepipe.pipeline.batch_settings import settings_hash
    from posepipe.pipeline.batch_view import say, summarise, watched

    items = work_list(args.folder, args.out)
    digest = settings_hash(settings)
    console = console_for(args.json)
    crew, how = _crew(args, settings, digest, len(items))
    say(console, f"{len(items)} video{'s' * (len(items) > 1)}, {how} -> {args.out}")
    say(console, str(backend_of(settings)))
    with watched(console) as observe:
        state = run_batch(
            items,
            args.out,
            settings,
            digest,
            crew=crew,
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


def _crew(args: argparse.Namespace, settings: RunSettings, digest: str, items: int) -> tuple[Crew, str]:
    """Who does the work, and how to say so."""
    from posepipe.pipeline.batch_crew import LocalCrew, usable_cores

    if args.engine == "local":
        jobs = min(args.jobs or max(1, usable_cores() // 2), items)
        return LocalCrew(args.out, settings, digest, jobs), f"{jobs} at a time"
    from posepipe.pipeline.backend import backend_of
    from posepipe.pipeline.batch_ray import RayCrew, check_options
    from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason

    cores = 2 if args.cores is None else args.cores
    check_options(cores)
    gpu = backend_of(settings).backend != "onnxruntime" and isinstance(gpu_or_reason(), GpuInfo)
    crew = RayCrew(args.out, settings, digest, cores=cores, gpu=gpu, address=args.address, jobs=args.jobs)
    each = f"one for {cores} cores{' and a GPU' * gpu}"
    return crew, f"by workers on the Ray cluster {args.address or 'of this machine'}, {each}"
