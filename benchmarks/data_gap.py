"""The gap between seen and unseen people, against training steps and against the amount of training data.

    python benchmarks/data_gap.py [--threads 2] [--out docs]                 # 15 minutes on two quiet cores
    python benchmarks/data_gap.py --shipped                                  # a minute: the shipped lifters alone

Exact 2D, new virtual cameras; the shipped single-hypothesis lifters, and one small network as it learns. "Seen":
recorded poses of the very clips that were trained on; what is between them and subject 05 is what more steps and more
capacity cannot give. And what it is worth to have other clips of the very person: the same network with every second
clip of subject 05 in training, measured on those between. Writes data_gap.md, .json and .png. A run that is in the JSON
already is not done again (--again does).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from data_limit import first_clips, train

from posepipe.lifters.build import load
from posepipe.lifters.catalogue import WEIGHTS
from posepipe.training.data.batches import batches
from posepipe.training.data.motion import Clip, load_motion, write_motion
from posepipe.training.evaluation.chart import line_chart
from posepipe.training.person_batches import person_batch
from posepipe.training.recipes import read_config
from posepipe.training.validate import score

SMALL = {"width": 512, "batch": 512}
STEPS = (250, 500, 1000, 2000, 4000)  # with all data
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the data, with USUAL steps
USUAL = 1000
KNOWN = ("not", "known")  # keys of the two runs without and with the person's other clips
LIFTERS = ("martinez", "htnet", "dcgct")  # shipped, with one hypothesis


def errors(checkpoint: Path, clips: Sequence[Clip], frames: int) -> dict[str, float]:
    """MPJPE and P-MPJPE in mm on recorded poses of these clips, seen exactly by cameras of their own."""
    rng = np.random.default_rng(12345)
    views = next(iter(batches(clips, frames, rng, augmented=False)))
    people = person_batch(views.joints_camera, views.rays2d, None, rng)
    _, sampler = load(checkpoint)

    @torch.no_grad()
    def pose(keypoints: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = sampler.pose(torch.from_numpy(keypoints), torch.from_numpy(confidence)).numpy()
        return found[:, None], np.zeros((len(found), 1), np.float32)

    return score(pose, people)


def page(shipped: dict[str, Any], found: dict[str, Any], known: dict[str, Any], about: dict[str, Any]) -> str:
    """The tables in markdown."""
    columns = "seen: MPJPE | P-MPJPE | unseen: MPJPE | P-MPJPE | unseen less seen |"
    lines = [
        "# Seen and unseen people, by steps and data",
        "",
        "Written by `python benchmarks/data_gap.py`. Exact 2D, mm. Seen: recorded poses of the clips trained on, by",
        "new cameras. Unseen: subject 05.",
        "",
        "The shipped lifters:",
        "",
        f"| lifter | {columns}",
        "|---|---:|---:|---:|---:|---:|",
        *(f"| {name} | {_numbers(run)} |" for name, run in shipped.items()),
        "",
    ]
    if not found:
        return "\n".join(lines)
    lines += [
        "A small network as it learns:",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        f"| steps | frames | clips | {columns}",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(f"| {run['steps']} | {run['frames']} | {run['clips']} | {_numbers(run)} |" for run in found.values()),
    ]
    if len(known) == len(KNOWN):
        without, with_them = (known[key] for key in KNOWN)
        lines += [
            "",
            f"The same network after {USUAL:,} steps, on {len(with_them['measured'])} of subject 05's clips"
            f" ({', '.join(with_them['measured'])}):",
            "",
            "| trained on | MPJPE | P-MPJPE |",
            "|---|---:|---:|",
        ]
        for name, run in (("as above", without), (f"and on 05's others ({', '.join(with_them['added'])})", with_them)):
            lines.append(f"| {name} | {run['errors']['mpjpe']:.1f} | {run['errors']['p_mpjpe']:.1f} |")
    drawn = ["", "![the gap against steps and data](data_gap.png)"] if drawable(found) else []
    return "\n".join([*lines, *drawn, ""])


def drawable(found: dict[str, Any]) -> bool:
    """Whether there is something for both halves of the picture."""
    return any(run["steps"] == USUAL for run in found.values())


def _numbers(run: dict[str, Any]) -> str:
    seen, unseen = run["seen"], run["unseen"]
    numbers = [f"{v[m]:.1f}" for v in (seen, unseen) for m in ("mpjpe", "p_mpjpe")]
    return " | ".join([*numbers, f"{unseen['mpjpe'] - seen['mpjpe']:.1f}"])


def picture(found: dict[str, Any]) -> np.ndarray:
    """Against steps on the left, against frames on the right."""
    most = max(run["frames"] for run in found.values())
    halves = []
    for axis, chosen in (
        ("steps", [r for r in found.values() if r["frames"] == most]),
        ("frames", [r for r in found.values() if r["steps"] == USUAL]),
    ):
        runs = sorted(chosen, key=lambda r: r[axis])
        series = {
            f"{who}, {title}": ([float(r[axis]) for r in runs], [r[who][what] for r in runs])
            for who in ("unseen", "seen")
            for what, title in (("mpjpe", "MPJPE"), ("p_mpjpe", "P-MPJPE"))
        }
        title = f"all {most:,} frames" if axis == "steps" else f"{USUAL:,} steps"
        halves.append(line_chart(series, f"Seen and unseen people, {title}", axis, "mm", log_x=True))
    return np.concatenate(halves, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=4000, help="to measure on")
    parser.add_argument("--shipped", action="store_true", help="measure the shipped lifters only")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    module, base = read_config(Path("configs/train/martinez_first_cmu.toml"))
    base = replace(base, **SMALL, even=0.0, validation_frames=500, keep="last", threads=args.threads)
    about = {
        "network": f"martinez, {SMALL}",
        "augmentation": f"swing_deg {base.swing_deg:g}, limb {base.limb:g}, recombine {base.recombine:g}, mirrored",
        "measured on": f"{args.frames} frames",
    }
    target, found, known = args.out / "data_gap.json", dict[str, Any](), dict[str, Any]()
    if target.exists() and not args.again:
        before = json.loads(target.read_text())
        if before["about"] == about:
            found, known = before["runs"], before.get("known", {})
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    everything, held_out = load_motion(args.data, "train"), load_motion(args.data, "validation")
    shipped = {
        name: {who: errors(WEIGHTS / f"{name}.safetensors", clips, args.frames) for who, clips in
               (("seen", everything), ("unseen", held_out))}
        for name in LIFTERS
    }  # fmt: skip

    def write() -> None:
        held = {"shipped": shipped, "about": about, "runs": found, "known": known}
        target.write_text(json.dumps(held, indent=1) + "\n")
        (args.out / "data_gap.md").write_text(page(shipped, found, known, about))
        if drawable(found):
            cv2.imwrite(str(args.out / "data_gap.png"), picture(found))

    write()
    if args.shipped:
        return

    def trained(clips: Sequence[Clip], steps: int, folder: Path) -> tuple[Path, dict[str, Any]]:
        """A run on these clips, validated on people who are not among them."""
        write_motion([*clips, *held_out], folder / "part.h5", "part of another file, for a measurement")
        run = train(replace(base, steps=steps, validate_every=steps), module, folder / "part.h5", folder, {})
        return folder / "run.safetensors", run

    plan = [(steps, 1.0) for steps in STEPS] + [(USUAL, share) for share in SHARES]
    for steps, share in sorted(plan):
        if (key := f"{steps} steps, {share:g}") in found:
            continue
        clips = first_clips(everything, share, 0)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint, run = trained(clips, steps, Path(folder))
            seen, unseen = (errors(checkpoint, part, args.frames) for part in (clips, held_out))
        size = {"frames": sum(len(c.joints) for c in clips), "clips": len(clips)}
        found[key] = {"steps": steps, **size, "seen": seen, "unseen": unseen, "minutes": run["minutes"]}
        print(key, found[key], flush=True)
        write()
    added, measured = held_out[::2], held_out[1::2]
    # under another name, since a person may not stand on both sides
    own = [replace(clip, name=f"known-{clip.name}", subject="known", split="train") for clip in added]
    for key, clips in zip(KNOWN, (everything, [*everything, *own]), strict=True):
        if key in known:
            continue
        with tempfile.TemporaryDirectory() as folder:
            checkpoint, _ = trained(clips, USUAL, Path(folder))
            found_here = errors(checkpoint, measured, args.frames)
        known[key] = {"errors": found_here, "added": [c.name for c in added], "measured": [c.name for c in measured]}
        print(key, known[key], flush=True)
        write()


if __name__ == "__main__":
    main()
