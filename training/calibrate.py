"""The verb `calibrate`: fit the spread of a sampler's hypotheses on people it was not trained on, and write it into the
checkpoint. The recipes end with the same."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from posepipe.errors import OutputError, UsageError
from posepipe.lifters.build import load, save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.training.calibration import (
    HYPOTHESES,
    LEVELS,
    Seen,
    attach,
    check_on_other_clips,
    draw,
    fit_calibration,
    summarise,
)
from posepipe.training.data.recorded import recorded_rows
from posepipe.training.evaluation.views import choose_clips, draw_views
from posepipe.training.person_batches import PersonBatch

FRAMES = 4000  # of the validation split, each once with exact and once with noisy 2D
KINDS = {"gt_2d": "none", "detector_noise_2d": "detector"}


def with_calibration(
    sampler: nn.Module,
    header: Checkpoint,
    data: Path,
    *,
    keypoints: str = "virtual",
    subjects: Sequence[str] = (),
    frames: int = FRAMES,
    seed: int = 4321,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Checkpoint:
    """Fit the calibration of a sampler in eval mode, give it to it, and return its header, which then says so; what was
    found on clips that were not fitted is in the header's provenance ("calibration").

    data: motion file; keypoints: as in RunConfig, "virtual" or what its own cameras recorded (which are not told apart
    by clip, so that nothing is left to check on). subjects: the validation split by default. Raises UsageError for a
    lifter that does not draw hypotheses, InputError for a file that does not fit."""
    if header.fixed_hypotheses is not None or not header.noise_shape:
        raise UsageError(f"'{header.lifter}' as in this checkpoint draws no hypotheses.", "There is nothing to fit.")
    attach(sampler, None)
    batches = _batches(data, header, keypoints, subjects, frames, seed)
    people: list[Seen] = []
    for number, (clip, kind, batch) in enumerate(batches):
        drawn = draw(sampler, header.noise_shape, batch, seed=number)
        people.append(summarise(clip, kind, drawn, batch.joints, batch.confidence))
        progress(number + 1, len(batches))
    fit = fit_calibration(people)
    attach(sampler, fit)
    found = {
        "data": data.name,
        "people": sum(len(seen.miss) for seen in people),
        "clips": sorted({seen.clip for seen in people}),
        "hypotheses": HYPOTHESES,
        "scale": np.round(fit.scale, 3).tolist(),
        "shape": fit.shape,
        "doubt": fit.doubt,
        "more": np.round(fit.more, 3).tolist(),
        "further": fit.further,
        **check_on_other_clips(people),
    }
    return dataclasses.replace(
        header,
        network={**header.network, "calibrated": True},
        provenance={**header.provenance, "calibration": found},
    )


def _batches(
    data: Path, header: Checkpoint, keypoints: str, subjects: Sequence[str], frames: int, seed: int
) -> list[tuple[str, str, PersonBatch]]:
    """(clip, kind of 2D, people); every clip as long as it is."""
    if keypoints != "virtual":
        kinds = {"gt_2d": "gt", "detector_noise_2d": keypoints}
        return [("all", k, PersonBatch(*recorded_rows(data, "validation", v, frames))) for k, v in kinds.items()]
    clips = choose_clips(data, subjects)
    total = sum(len(clip.joints) for clip in clips)
    result = []
    for number, clip in enumerate(clips):
        count = max(20, round(frames * len(clip.joints) / total))
        for kind, noise in KINDS.items():
            views = draw_views([clip], count, noise, header.space, seed + 10 * number)
            result.append((clip.name, kind, PersonBatch(views.keypoints, views.confidence, views.joints)))
    return result


def report(header: Checkpoint) -> list[str]:
    """What there is to say about a calibrated checkpoint, in lines."""
    found: dict[str, Any] = header.provenance["calibration"]
    levels = " / ".join(f"{100 * p:.0f}" for p in LEVELS)
    lines = [f"fitted to {found['people']} people in {len(found['clips'])} clips; shape {found['shape']:+.2f}, scale"]
    lines[0] += f" {min(found['scale']):.2f} to {max(found['scale']):.2f}"
    if found["doubt"] != 1.0:
        more = found["more"][1:]
        lines.append(
            f"with a mean confidence of {1 - found['doubt']:.2f} or less: shape {found['further']:+.2f}, scale times"
            f" {min(more):.2f} to {max(more):.2f}"
        )
    if "left_out" not in found:
        return [*lines, "one clip only: nothing is left to check the fit on"]

    def text(shares: Sequence[float]) -> str:
        return " / ".join(f"{share:.1f}" for share in shares)

    lines.append(f"coverage of the {levels} % regions on clips that were not fitted, in %:")
    for kind, shares in found["left_out"].items():
        least, most = (text(found[f"clips_{kind}"][which]) for which in ("least", "most"))
        lines.append(f"  {kind:<18} every clip by the others: {text(shares)}   (clips: {least} to {most})")
        for half in found["halves"]:
            lines.append(f"  {'':<18} {len(half['measured'])} clips by {len(half['fitted'])}: {text(half[kind])}")
    return lines


def main(verb: str, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "posepipe calibrate", description="Fit the spread of a lifter's hypotheses, so that p % regions cover p %."
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="a motion file (posepipe data build)")
    parser.add_argument("--subjects", nargs="+", default=[], help="default: the validation split")
    parser.add_argument("--keypoints", default="virtual", help="virtual, or the detector that it was trained on")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seed", type=int, default=4321)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.safetensors")
    args = parser.parse_args(argv)
    if args.frames < 1:
        raise UsageError(f"{args.frames} frames are too few to fit to.", "Give --frames 1000 or more.")
    from rich.console import Console
    from rich.progress import Progress
    from safetensors import SafetensorError

    header, sampler = load(args.checkpoint)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("drawing", total=None)
        header = with_calibration(
            sampler,
            header,
            args.data,
            keypoints=args.keypoints,
            subjects=args.subjects,
            frames=args.frames,
            seed=args.seed,
            progress=lambda done, of: progress.update(task, completed=done, total=of),
        )
    try:
        save(args.out, sampler, header)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"Cannot write {args.out} ({error}).", "Choose a folder that exists, with space.") from None
    for line in report(header):
        print(line)
    print(f"wrote {args.out}; next: posepipe build-engines --lifter {header.lifter} --checkpoint {args.out} -o DIR")
    return 0
