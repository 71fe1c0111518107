"""What single choices of the training are worth: one small network, few steps, one setting changed at a time.

    python benchmarks/training_choices.py [--steps 800] [--only NAME ...] [--out docs]     # a minute or two each

Error on subject 05, everything else alike: seeds, steps, validation. Few steps favour what is learned fast; compare
with the stages of the shipped martinez, whose own validation stands below (from runs/, where they are). Writes
training_choices.md and .json; a run that is in the JSON already is not done again (--again does).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_limit import FACTOR, train

from posepipe.lifters.checkpoint import read_header
from posepipe.training.recipes import read_config

# name -> settings that differ from the base; of martinez_first_cmu.toml (swing 12 degrees, even 0.5) where not said
SMALL = {"width": 512, "batch": 512}
CHOICES: dict[str, dict[str, Any]] = {
    "base": {},
    "joints swung by 18 degrees": {"swing_deg": 18.0},
    "joints swung by 25 degrees": {"swing_deg": 25.0},
    "the whole body tilted by 15 degrees": {"lean_deg": 15.0},
    "frames drawn evenly over the space of poses (even 1)": {"even": 1.0},
    "frames drawn as recorded (even 0)": {"even": 0.0},
    "even 0, swung by 18 degrees": {"even": 0.0, "swing_deg": 18.0},
    "even 0, no halves recombined": {"even": 0.0, "recombine": 0.0},
    "even 0, limbs of their recorded proportions": {"even": 0.0, "limb": 0.0},
    "even 0, three times the rate": {"even": 0.0, "rate": 3e-3},
    "even 0, dropout 0.1": {"even": 0.0, "dropout": 0.1},
}


STAGES = (
    *(f"runs/martinez_{stage}.safetensors" for stage in ("first", "second", "third")),
    "lifters/weights/martinez.safetensors",
)


def stages() -> list[dict[str, Any]]:
    """What the stages of the shipped martinez validated to, from their headers; empty where one is missing."""
    if not all(Path(path).exists() for path in STAGES):
        return []
    rows, done = [], 0
    for path in STAGES:
        provenance = read_header(Path(path)).provenance
        config = provenance["config"]
        done += config["steps"]
        changed = {"swing_deg": config.get("swing_deg", 12.0), "even": config.get("even", 0.5)}
        rows.append({"steps": done, **changed, "metrics": provenance["metrics"]})
    return rows


def page(found: dict[str, Any], about: dict[str, Any], staged: list[dict[str, Any]]) -> str:
    """The table in markdown."""
    lines = [
        "# Single choices of the training",
        "",
        "Written by `python benchmarks/training_choices.py`. Error on subject 05, mm, one setting changed at a time.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        f"| | {' | '.join(f'{what}, {name}' for name in FACTOR.values() for what in ('MPJPE', 'P-MPJPE'))} |",
        f"|---|{'---:|' * 2 * len(FACTOR)}",
    ]
    for name in (name for name in CHOICES if name in found):
        numbers = [f"{found[name]['metrics'][kind][what]:.1f}" for kind in FACTOR for what in ("mpjpe", "p_mpjpe")]
        lines.append(f"| {' | '.join([name, *numbers])} |")
    if staged:
        lines += [
            "",
            "The shipped martinez (width 1024, batch 1024), stage after stage, exact 2D and the detector's errors:",
            "",
        ]
        lines += ["| steps in all | swing_deg | even | MPJPE | P-MPJPE | MPJPE | P-MPJPE |", f"|{'---:|' * 7}"]
        for row in staged:
            numbers = [f"{row['metrics'][kind][what]:.1f}" for kind in FACTOR for what in ("mpjpe", "p_mpjpe")]
            lines.append(f"| {' | '.join([str(row['steps']), str(row['swing_deg']), str(row['even']), *numbers])} |")
    return "\n".join([*lines, ""])


def write(out: Path, found: dict[str, Any], about: dict[str, Any]) -> None:
    target = out / "training_choices.json"
    staged = stages() or (json.loads(target.read_text()).get("stages", []) if target.exists() else [])
    held = {"about": about, "runs": found, "stages": staged}
    target.write_text(json.dumps(held, indent=1) + "\n")
    (out / "training_choices.md").write_text(page(found, about, staged))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--validation-frames", type=int, default=4000)
    parser.add_argument("--only", nargs="+", default=[], help="names of runs")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    module, base = read_config(Path("configs/train/martinez_first_cmu.toml"))
    base = replace(
        base,
        **SMALL,
        steps=args.steps,
        validate_every=args.steps,
        validation_frames=args.validation_frames,
        keep="last",
        threads=args.threads,
    )
    about = {
        "network": f"martinez, {SMALL}, {args.steps} steps",
        "base": f"swing_deg {base.swing_deg:g}, limb {base.limb:g}, exchange {base.exchange:g}, recombine "
        f"{base.recombine:g}, even {base.even:g}, rate {base.rate:g}",
        "validation": f"{args.validation_frames} frames",
    }
    target, found = args.out / "training_choices.json", {}
    if target.exists() and not args.again:
        before = json.loads(target.read_text())
        found = before["runs"] if before["about"] == about else {}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, changes in CHOICES.items():
        if name in found or (args.only and name not in args.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found[name] = {**train(base, module, args.data, Path(folder), changes), "changes": changes}
        print(name, found[name], flush=True)
        write(args.out, found, about)
    write(args.out, found, about)


if __name__ == "__main__":
    main()
