"""The verbs of the training room: train, data, import-checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from posepipe.errors import MissingDependencyError, OutputError, UsageError


def main(verb: str, argv: list[str]) -> int:
    return {"train": _train, "data": _data, "import-checkpoint": _import}[verb](argv)


def _train(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("posepipe train", description="Train a lifter by a recipe.")
    parser.add_argument("recipe", type=Path, help="a TOML file, e.g. configs/train/martinez_cmu.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments")
    parser.add_argument("--resume", action="store_true", help="go on from the state of the run that was stopped")
    parser.add_argument("--state", type=Path, metavar="FILE", help="default: runs/<name of out>.state.safetensors")
    parser.add_argument("--max-minutes", type=float, metavar="M", help="stop in time, with the best weights so far")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="of several, each computes a batch (DDP)")
    args = parser.parse_args(argv)
    if args.max_minutes is not None and not 0 < args.max_minutes < 1e6:
        raise UsageError(f"--max-minutes {args.max_minutes:g} is not possible.", "Give a number above 0.")
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from safetensors import SafetensorError

    from posepipe.training.recipes import read_config

    module, config = read_config(args.recipe, args.assignments)
    from posepipe.training.session import open_session

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(config.recipe, total=None)

        def report(done: int, steps: int, text: str) -> None:
            text = f"{config.recipe} {done}/{steps} {text}"
            progress.update(task, completed=done, total=steps, description=text)
            if "validation" in text or (not console.is_terminal and (done % 500 == 1 or done == steps)):
                progress.console.print(text, highlight=False, soft_wrap=True)

        session = open_session(
            config,
            state=args.state,
            resume=args.resume,
            max_minutes=args.max_minutes,
            accelerator=args.accelerator,
            devices=args.devices,
            report=report,
        )
        try:
            Path(config.out).parent.mkdir(parents=True, exist_ok=True)  # now, and not after hours
            metrics = module.train(config, session)
        except (OSError, SafetensorError) as error:
            raise OutputError(
                f"Cannot write {config.out} ({error}).",
                f"Free some space; if {session.state} is there, --resume goes on from it.",
            ) from None
    if session.rank == 0:
        console.print(f"wrote {config.out}: {metrics}", highlight=False, soft_wrap=True)
    return 0


def _data(argv: list[str]) -> int:
    from posepipe.training.data.sources import KINDS, build

    parser = argparse.ArgumentParser("posepipe data", description="Build a motion file.")
    actions = parser.add_subparsers(dest="action", required=True)
    verb = actions.add_parser("build", help="mocap -> one HDF5 of H36M-17 motion")
    verb.add_argument("--from", dest="kind", choices=list(KINDS), required=True)
    verb.add_argument("source", type=Path, help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()))
    verb.add_argument("--positions", type=Path, help="cmu-asfamc: also read this npz of joint positions")
    verb.add_argument("--map", type=Path, help="bvh: TOML of H36M-17 joint = joint of the file")
    verb.add_argument("--validation", nargs="+", default=[], metavar="SUBJECT", help="bvh: file names up to the _")
    verb.add_argument("-o", "--out", type=Path, required=True)
    verb.add_argument("--fps", type=float, help="default: 30; h36m-*, 3dhp-test: as recorded")
    args = parser.parse_args(argv)
    clips, notes = build(
        args.kind,
        args.source,
        args.out,
        fps=args.fps,
        positions=args.positions,
        names=args.map,
        validation=tuple(args.validation),
    )
    for note in notes:
        print(f"note: {note}")
    for split in ("train", "validation"):
        chosen = [c for c in clips if c.split == split]
        print(f"{split}: {len(chosen)} clips, {sum(len(c.joints) for c in chosen):,} frames")
    print(f"wrote {args.out}")
    return 0


def _import(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "posepipe import-checkpoint", description="Turn a file that a paper's authors published into a checkpoint."
    )
    systems = ("martinez-tf", "mdn-tf", "wsgan-tf", "htnet", "dcgct", "drpose", "prpose")
    parser.add_argument("--from", dest="system", required=True, choices=systems)
    parser.add_argument("file", type=Path, help=".pth, or a TensorFlow checkpoint (prefix, .index or its folder)")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.safetensors")
    parser.add_argument(
        "--statistics", type=Path, help="martinez-tf, mdn-tf: npz of the training's means and deviations"
    )
    parser.add_argument("--lifter-file", type=Path, help="prpose: the lifter's .pth, if not beside the file")
    parser.add_argument(
        "--conversion", default="h36m17@1", help="keypoints that it shall be used with (default: H36M-17 as published)"
    )
    args = parser.parse_args(argv)
    from posepipe.conversion import conversion
    from posepipe.lifters.catalogue import names_of

    conversion(args.conversion)
    try:
        from posepipe.training.import_checkpoint.convert import import_checkpoint
    except ImportError as error:
        raise MissingDependencyError(
            f"Importing needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    done = import_checkpoint(
        args.system,
        args.file,
        args.out,
        statistics=args.statistics,
        lifter_file=args.lifter_file,
        conversion=args.conversion,
    )
    for warning in done.warnings:
        print(f"note: {warning}")
    print(f"wrote {done.path}: {done.header.lifter}, {done.header.space} space, {done.header.conversion}")
    print(f"next: posepipe build-engines --lifter {names_of(done.header)[0]} --checkpoint {done.path} -o DIR")
    return 0
