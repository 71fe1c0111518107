"""Is the data the limit? Error on subject 05 against the amount of training data, and against its augmentation.

    python benchmarks/data_limit.py [--recipe martinez] [--steps 1500] [--out docs]      # ~20 minutes on two cores

The same network, the same number of steps, seeds and validation; what changes is which clips are trained on (nested
sets, whole clips, in an order drawn once, for --orders orders) or what the augmentation does. Writes data_limit.md,
data_limit.json and data_limit.png. A run that is in the JSON already is not done again (--again does).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from posepipe.training.data.motion import Clip, load_motion, write_motion
from posepipe.training.evaluation.chart import line_chart
from posepipe.training.recipes import read_config
from posepipe.training.session import open_session

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
# the augmentation and the draw of frames with which this was measured; what is used now stands in the recipes' defaults
FULL = {"swing_deg": 12.0, "limb": 0.1, "exchange": 0.4, "recombine": 0.3, "mirror": 0.5}
EVEN = 0.5
OFF = {"swing_deg": 0.0, "limb": 0.0, "exchange": 0.0, "recombine": 0.0, "mirror": 0.0}
# The cameras always stand anywhere around the person: that is not augmentation, but the data.
AUGMENTATIONS: dict[str, tuple[str, ...] | None] = {
    "none": (),
    "mirrored": ("mirror",),
    "mirrored, swung": ("mirror", "swing_deg"),
    "mirrored, halves and limbs recombined": ("mirror", "recombine", "exchange"),
    "mirrored, recombined, swung": ("mirror", "recombine", "exchange", "swing_deg"),
    "all: and limbs lengthened": None,
}
SMALL = {
    "martinez": {"width": 512, "batch": 512},
    "htnet": {"channels": 48, "hidden": 144, "gcn_hidden": 48, "heads": 4, "batch": 256},
}
FACTOR = {"gt_2d": "exact 2D", "detector_noise_2d": "the detector's errors"}
COLUMNS = tuple(f"{what}, {name}" for name in FACTOR.values() for what in ("MPJPE", "P-MPJPE"))


def first_clips(clips: list[Clip], share: float, order: int) -> list[Clip]:
    """Whole clips, in the order drawn, until there is this share of the frames."""
    if share >= 1:
        return clips
    wanted, chosen, held = share * sum(len(c.joints) for c in clips), [], 0
    for index in np.random.default_rng(order).permutation(len(clips)):
        left = round(wanted - held)
        if left <= 0:
            break
        clip = clips[index]
        chosen.append(replace(clip, joints=clip.joints[:left]))
        held += len(chosen[-1].joints)
    return chosen


def train(base: Any, module: Any, data: Path, folder: Path, changes: dict[str, float]) -> dict[str, Any]:
    """One run -> its validation, and the mean over both kinds of 2D."""
    config = replace(base, data=str(data), out=str(folder / "run.safetensors"), **changes)
    session = open_session(config, state=folder / "run.state.safetensors", accelerator="auto")
    start = time.monotonic()
    metrics = module.train(config, session)
    return {"metrics": metrics, "minutes": round((time.monotonic() - start) / 60, 2)}


def numbers(run: dict[str, Any]) -> str:
    """A run's cells under COLUMNS."""
    return " | ".join(f"{run['metrics'][kind][what]:.1f}" for kind in FACTOR for what in ("mpjpe", "p_mpjpe"))


def page(found: dict[str, Any], about: dict[str, Any]) -> str:
    lines = [
        "# Is the data the limit?",
        "",
        "Written by `python benchmarks/data_limit.py`. Error on subject 05, mm, of one network after the same number",
        "of steps, whatever it was trained on.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
    ]
    for group, first in (("data", "share of the training clips"), ("augmentation", "augmentation")):
        head = [
            first,
            "frames",
            "clips",
            *COLUMNS,
        ]
        lines += ["", f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
        for run in (r for r in found.values() if r["group"] == group):
            lines.append(f"| {run['name']} | {run['frames']} | {run['clips']} | {numbers(run)} |")
    return "\n".join([*lines, "", "![error against data](data_limit.png)", ""])


def picture(found: dict[str, Any], out: Path) -> None:
    runs = [r for r in found.values() if r["group"] == "data"]
    frames = sorted({r["frames"] for r in runs})
    series = {}
    for kind, name in FACTOR.items():
        for what, title in (("mpjpe", "MPJPE"), ("p_mpjpe", "P-MPJPE")):
            means = [np.mean([r["metrics"][kind][what] for r in runs if r["frames"] == n]) for n in frames]
            series[f"{title}, {name}"] = ([float(n) for n in frames], means)
    chart = line_chart(series, "Error on subject 05 against training data", "frames", "mm", log_x=True)
    cv2.imwrite(str(out / "data_limit.png"), chart)


def plan(clips: list[Clip], orders: int) -> list[tuple[str, str, list[Clip], dict[str, float]]]:
    """(group, name, clips, changed settings) of every run."""
    runs: list[tuple[str, str, list[Clip], dict[str, float]]] = []
    for share in SHARES:
        for order in range(orders if share < 1 else 1):
            name = f"1/{round(1 / share)}" + (f", order {order + 1}" if orders > 1 and share < 1 else "")
            runs.append(("data", name if share < 1 else "all", first_clips(clips, share, order), {}))
    for name, kept in AUGMENTATIONS.items():
        changes = {} if kept is None else {key: value for key, value in OFF.items() if key not in kept}
        runs.append(("augmentation", name, clips, changes))
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=list(SMALL), default="martinez")
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--orders", type=int, default=1, help="in which clips are left out; more take longer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--validation-frames", type=int, default=5000)
    parser.add_argument("--only", nargs="+", default=[], help="names of runs")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    stage = {"martinez": "martinez_first"}.get(args.recipe, args.recipe)
    module, base = read_config(Path(f"configs/train/{stage}_cmu.toml"))
    base = replace(
        base,
        **FULL,
        even=EVEN,
        **SMALL[args.recipe],
        steps=args.steps,
        validate_every=args.steps,
        validation_frames=args.validation_frames,
        keep="last",
        threads=args.threads,
    )
    about = {
        "network": f"{args.recipe}, {SMALL[args.recipe]}, {args.steps} steps",
        "augmentation, where nothing else is said": ", ".join(f"{k} {v:g}" for k, v in FULL.items()),
    }
    held_out = load_motion(args.data, "validation")
    runs = plan(load_motion(args.data, "train"), args.orders)
    target, found = args.out / "data_limit.json", {}
    if target.exists() and not args.again:
        before = json.loads(target.read_text())
        found = before["runs"] if before["about"] == about else {}
    args.out.mkdir(parents=True, exist_ok=True)
    for group, name, clips, changes in runs:
        key = f"{group}: {name}"
        if key in found or (args.only and name not in args.only):
            continue
        same = found.get("data: all") if not changes and group == "augmentation" else None
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "part.h5"
            if same is None:
                write_motion([*clips, *held_out], data, "part of another file, for a measurement")
            result = same or train(base, module, data, Path(folder), changes)
        frames = sum(len(c.joints) for c in clips)
        found[key] = {**result, "group": group, "name": name, "frames": frames, "clips": len(clips)}
        print(key, found[key], flush=True)
        target.write_text(json.dumps({"about": about, "runs": found}, indent=1) + "\n")
        (args.out / "data_limit.md").write_text(page(found, about))
        if any(r["group"] == "data" for r in found.values()):
            picture(found, args.out)


if __name__ == "__main__":
    main()
