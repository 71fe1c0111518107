"""What single choices of the training are worth: one small network, few steps, one setting changed at a time.

    python benchmarks/training_choices.py [--steps 800] [--only NAME ...] [--out docs]     # a minute or two each

Error on subject 05, everything else alike: seeds, steps, validation. Few steps favour what is learned fast; so the
shipped martinez is trained further as well, by a choice each, and its own stages stand below (from runs/, where they
are). Writes training_choices.md and .json; a run that is in the JSON already is not done again (--again does).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_limit import COLUMNS, numbers, train

from posepipe.hashing import file_sha256
from posepipe.lifters.catalogue import WEIGHTS
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
    "even 0, elbows and knees moved (0.3, 0.15)": {"even": 0.0, "elbow": 0.3, "knee": 0.15},
    "even 0, elbows and knees moved, arms and legs exchanged (0.4)": {
        "even": 0.0, "elbow": 0.3, "knee": 0.15, "exchange": 0.4,
    },
    "the same, arms held out (0.4)": {"even": 0.0, "elbow": 0.3, "knee": 0.15, "exchange": 0.4, "raised": 0.4},
}  # fmt: skip

CONTINUED_STEPS = 600
CONTINUED: dict[str, dict[str, Any]] = {
    "as it was": {},
    "joints swung by 11 degrees": {"swing_deg": 11.0},
    "joints swung by 24 degrees": {"swing_deg": 24.0},
    "arms and legs not exchanged": {"exchange": 0.0},
    "no halves recombined": {"recombine": 0.0},
    "elbows and knees where they are": {"elbow": 0.0, "knee": 0.0},
    "arms where they are": {"raised": 0.0},
}
SHIPPED = WEIGHTS / "martinez.safetensors"

_HEAD = (f"| | {' | '.join(COLUMNS)} |", f"|---|{'---:|' * len(COLUMNS)}")

STAGES = (
    *(f"runs/martinez_{stage}.safetensors" for stage in ("first", "second", "third", "fourth")),
    str(SHIPPED),
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
        changed["elbow"] = config.get("elbow", 0.0)
        rows.append({"steps": done, **changed, "metrics": provenance["metrics"]})
    return rows


def page(found: dict[str, Any], about: dict[str, Any], further: dict[str, Any], staged: list[dict[str, Any]]) -> str:
    """The tables in markdown."""
    lines = [
        "# Single choices of the training",
        "",
        "Written by `python benchmarks/training_choices.py`. Error on subject 05, mm, one setting changed at a time.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        *_HEAD,
        *(f"| {name} | {numbers(found[name])} |" for name in CHOICES if name in found),
    ]
    if further:
        first = next(iter(further.values()))
        lines += [
            "",
            f"The shipped martinez ({first['checkpoint']}), trained for {CONTINUED_STEPS} steps more (batch",
            f"{first['batch']}, rate {first['rate']:g} falling to 0), otherwise as in its last stage:",
            "",
            *_HEAD,
            *(f"| {name} | {numbers(further[name])} |" for name in CONTINUED if name in further),
        ]
    if staged:
        lines += [
            "",
            "The shipped martinez (width 1024, batch 1024), stage after stage, exact 2D and the detector's errors:",
            "",
        ]
        lines += ["| steps in all | swing_deg | even | elbow | MPJPE | P-MPJPE | MPJPE | P-MPJPE |", f"|{'---:|' * 8}"]
        for row in staged:
            setting = f"{row['steps']} | {row['swing_deg']} | {row['even']} | {row.get('elbow', 0.0)}"
            lines.append(f"| {setting} | {numbers(row)} |")
    return "\n".join([*lines, ""])


def write(out: Path, found: dict[str, Any], about: dict[str, Any], further: dict[str, Any]) -> None:
    target = out / "training_choices.json"
    staged = stages() or (json.loads(target.read_text()).get("stages", []) if target.exists() else [])
    held = {"about": about, "runs": found, "continued": further, "stages": staged}
    target.write_text(json.dumps(held, indent=1) + "\n")
    (out / "training_choices.md").write_text(page(found, about, further, staged))


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
    checkpoint = file_sha256(SHIPPED)[:8]
    target, found, further = args.out / "training_choices.json", dict[str, Any](), dict[str, Any]()
    if target.exists() and not args.again:
        before = json.loads(target.read_text())
        found, further = (before["runs"], before.get("continued", {})) if before["about"] == about else ({}, {})
    further = {name: run for name, run in further.items() if run["checkpoint"] == checkpoint}
    args.out.mkdir(parents=True, exist_ok=True)
    last = replace(
        read_config(Path("configs/train/martinez_cmu.toml"))[1],
        weights=str(SHIPPED),
        steps=CONTINUED_STEPS,
        rate=5e-4,
        validate_every=CONTINUED_STEPS,
        validation_frames=args.validation_frames,
        keep="last",
        threads=args.threads,
    )
    of_it = {"checkpoint": checkpoint, "batch": last.batch, "rate": last.rate}
    jobs = [(name, base, changes, found, {}) for name, changes in CHOICES.items()]
    jobs += [(name, last, changes, further, of_it) for name, changes in CONTINUED.items()]
    for name, config, changes, results, more in jobs:
        if name in results or (args.only and name not in args.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, module, args.data, Path(folder), changes)
        results[name] = {**run, "changes": changes, **more}
        print(name, results[name], flush=True)
        write(args.out, found, about, further)
    write(args.out, found, about, further)


if __name__ == "__main__":
    main()
