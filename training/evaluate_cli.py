"""The verb `evaluate`: the graph that users run, on people and cameras it has not seen.

The only module of this room that knows the engines: it must judge what is shipped, float16 weights and all.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import CheckpointError, OutputError
from posepipe.lifters.catalogue import DEFAULT, entry
from posepipe.noise import NoiseKey
from posepipe.training.evaluation.measure import Report, Sample, evaluate
from posepipe.training.evaluation.tables import markdown, tables
from posepipe.training.evaluation.views import NOISES, choose_clips, draw_views, film_clips
from posepipe.trt_build.runners.ort import OrtRunner, check_hypotheses
from posepipe.trt_build.runners.protocol import Runner

FRAMES_AT_ONCE = 500  # given to the graph; its own memory grows with them


def main(verb: str, argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with OrtRunner(_graph(args.lifter), threads=args.threads) as runner:
        contract = runner.contract
        hypotheses = args.hypotheses if args.hypotheses is not None else contract.hypotheses
        check_hypotheses(contract, hypotheses)
        clips = choose_clips(args.data, args.subjects)
        views = draw_views(clips, args.frames, args.noise, contract.space, args.seed)
        films = film_clips(clips, space=contract.space, seed=args.seed) if args.noise == "none" else []
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task("evaluating", total=len(views))
            report = evaluate(
                sampler(runner, hypotheses, args.seed),
                views,
                hypotheses,
                films,
                ordered=contract.fixed_hypotheses is not None,
                progress=lambda done: progress.update(task, completed=done),
            )
        facts = {
            "lifter": args.lifter,
            "checkpoint": f"sha256 {runner.checkpoint_sha256}",
            "backend": runner.backend,
            "data": f"{args.data.name}, subjects {', '.join(sorted({c.subject for c in clips}))}",
            "frames": f"{len(views)}, each seen by a virtual camera of its own (seed {args.seed})",
            "2D": "exact" if args.noise == "none" else "with the noise of the detector, replayed",
            "hypotheses": hypotheses,
        }
    _show(report, facts)
    if args.json:
        _write(args.json, json.dumps({"about": facts, **report.to_dict()}, indent=1, ensure_ascii=False) + "\n")
    if args.markdown:
        _write(args.markdown, markdown(report, facts))
    if args.plots:
        from posepipe.training.evaluation.plots import write_plots

        title = f"{Path(args.lifter).name}, {'exact' if args.noise == 'none' else 'detector'} 2D, {args.data.name}"
        write_plots(report, title, args.plots)
    for path in filter(None, (args.json, args.markdown, args.plots)):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("posepipe evaluate", description="Measure a lifter on mocap it has not seen.")
    parser.add_argument("--lifter", default=DEFAULT, metavar="NAME|FILE.onnx")
    parser.add_argument("--data", type=Path, required=True, help="a motion file (posepipe data build)")
    parser.add_argument("--subjects", nargs="+", default=[], help="default: the validation split")
    parser.add_argument("--hypotheses", type=int, help="default: the lifter's own")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--noise", choices=NOISES, default="none", help="of the 2D keypoints")
    parser.add_argument("--seed", type=int, default=12345, help="of frames, cameras and noise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    parser.add_argument("--markdown", type=Path, metavar="OUT.md")
    parser.add_argument("--plots", type=Path, metavar="DIR")
    return parser


def _graph(lifter: str) -> Path:
    """The graph of a catalogue name, or a path to one that `posepipe build-engines` made."""
    if lifter.endswith(".onnx"):
        return Path(lifter)
    chosen = entry(lifter)
    if not chosen.checkpoint:
        raise CheckpointError(
            f"No weights are shipped for the lifter '{chosen.name}'.",
            "Export your own with `posepipe build-engines` and give --lifter the .onnx file.",
        )
    return chosen.graph_path


def sampler(runner: Runner, hypotheses: int, seed: int) -> Sample:
    """The runner as a callable for `evaluate`; its noise depends on the frame's number only, not on the blocks."""

    def sample(keypoints: NDArray, confidence: NDArray, first: int) -> tuple[NDArray, NDArray]:
        parts = []
        for start in range(0, len(keypoints), FRAMES_AT_ONCE):
            rows = slice(start, start + FRAMES_AT_ONCE)
            keys = [NoiseKey(seed, "evaluate", first + start + i, 0) for i in range(len(keypoints[rows]))]
            parts.append(runner.sample(keypoints[rows], confidence[rows], keys, hypotheses))
        joints, log_weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        return joints, log_weights

    return sample


def _show(report: Report, facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=120)
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False, soft_wrap=True)
    for table in tables(report):
        console.print(f"\n[bold]{table.title}[/bold]", highlight=False, soft_wrap=True)
        shown = Table(show_header=any(table.header))
        for i, head in enumerate(table.header):
            shown.add_column(head, justify="right" if i else "left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        if table.note:
            console.print(table.note, highlight=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    """Under its final name only when complete."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write {path} ({error.strerror}).", "Choose a folder that exists, with space."
        ) from None
