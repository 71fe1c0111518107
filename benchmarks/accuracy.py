"""Every shipped lifter on people it has not seen: subject 05 of CMU with exact and with noisy 2D, and filmed actors.

    python benchmarks/accuracy.py [--data data/cmu_h36m17.h5] [--lifters NAME ...] [--write-cards] [--out docs]

The graphs that users run, in ONNX Runtime, float16 weights and all. Writes accuracy.md, accuracy.json and two pictures.
With --lifters and --keep, accuracy.json keeps the numbers of the others, if they were measured on as many people.
--write-cards also puts the numbers of subject 05 into the checkpoints' headers and writes their cards anew (then export
the graphs again: their weights' hash has changed). --frames, --many-frames, --films make it shorter.

Times are CPU seconds of one thread, so that other work on the machine hardly changes them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from accuracy_people import CAMERAS, People, of_films, of_subject
from numpy.typing import NDArray

from posepipe.lifters.catalogue import LIFTERS, Entry
from posepipe.metrics import best_of, mpjpe, p_mpjpe
from posepipe.metrics_body import bone_asymmetry, bone_error, breaches
from posepipe.metrics_hypotheses import normalised
from posepipe.metrics_uncertainty import truth_level
from posepipe.noise import NoiseKey
from posepipe.point_estimate import geometric_median
from posepipe.training.evaluate_cli import sampler
from posepipe.training.evaluation.chart import line_chart
from posepipe.training.virtual_camera import CameraRanges
from posepipe.trt_build.runners.ort import OrtRunner

USUAL, MANY = 20, 200
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
LEVELS = (50, 80, 95)
KINDS = {
    "gt_2d": "subject 05, exact 2D",
    "gt_2d_reference_cameras": "subject 05, exact 2D, the reference point's cameras",
    "detector_noise_2d": "subject 05, 2D with the detector's errors replayed",
    "actor": "actors, filmed and detected",
}


def usual(runner: OrtRunner, people: People) -> dict[str, float]:
    """What a user gets with the usual number of hypotheses, coverage, and whether a body could do that."""
    count = runner.contract.fixed_hypotheses or USUAL
    hypotheses, log_weights = sampler(runner, count, 0)(people.keypoints, people.confidence, 0)
    pose = geometric_median(hypotheses, log_weights)
    result = {"mpjpe": mm(mpjpe(pose, people.joints)), "p_mpjpe": mm(p_mpjpe(pose, people.joints))}
    weights = normalised(log_weights)
    if count > 1:
        result |= best(hypotheses, people, tuple(n for n in (5, 20) if n <= count))
        result |= coverage(hypotheses, weights, people)
    result["bones_differ"] = mm(bone_error(pose, people.joints))
    result["left_right_differ"] = mm(bone_asymmetry(pose))
    result["breaches_aggregate"] = share(breaches(pose)[..., :2].any(-1))
    result["breaches"] = share((weights * breaches(hypotheses)[..., :2].any(-1)).sum(1))
    result["bones_differ_hypotheses"] = mm((weights * bone_error(hypotheses, people.joints[:, None])).sum(1))
    result["breaches_truth"] = share(breaches(people.joints)[..., :2].any(-1))
    return result


def many(runner: OrtRunner, people: People) -> tuple[dict[str, float], dict[str, list[float]]]:
    """With many hypotheses: oracles, coverage, and the curves {"best": by COUNTS, "aggregate": ..., "level": ...}."""
    hypotheses, log_weights = sampler(runner, MANY, 1)(people.keypoints, people.confidence, 0)
    result = best(hypotheses, people, (MANY,))
    weights = normalised(log_weights)
    result |= {f"{name}_of_{MANY}": value for name, value in coverage(hypotheses, weights, people).items()}
    firsts = [geometric_median(hypotheses[:, :n], log_weights[:, :n]) for n in COUNTS]
    level = truth_level(hypotheses[:, :, 1:], weights, people.joints[:, 1:])
    result |= {f"aggregate_of_{MANY}": mm(mpjpe(firsts[-1], people.joints))}
    curves = {
        "best": [mm(best_of(hypotheses[:, :n], people.joints)) for n in COUNTS],
        "aggregate": [mm(mpjpe(pose, people.joints)) for pose in firsts],
        "level": [share(level <= k / 20) for k in range(1, 20)],
    }
    return result, curves


def best(hypotheses: NDArray, people: People, counts: tuple[int, ...]) -> dict[str, float]:
    found = {f"best_of_{n}": mm(best_of(hypotheses[:, :n], people.joints)) for n in counts}
    return found | {f"p_best_of_{n}": mm(best_of(hypotheses[:, :n], people.joints, aligned=True)) for n in counts}


def coverage(hypotheses: NDArray, weights: NDArray, people: People) -> dict[str, float]:
    level = truth_level(hypotheses[:, :, 1:], weights, people.joints[:, 1:])
    return {f"coverage_{p}": share(level <= p / 100) for p in LEVELS}


def milliseconds(runner: OrtRunner, people: People, count: int, calls: int = 30) -> float:
    """Median CPU time of lifting one person, noise included."""
    one, spent = (people.keypoints[:1], people.confidence[:1]), []
    for i in range(calls):
        start = time.process_time()
        runner.sample(*one, [NoiseKey(0, "ms", i, 0)], count)
        spent.append(time.process_time() - start)
    return round(1000 * float(np.median(spent[3:])), 2)


def measure(entry: Entry, people: dict[str, People], many_frames: int) -> dict[str, Any]:
    """Everything about one lifter."""
    found: dict[str, Any] = {}
    with OrtRunner(entry.graph_path) as runner:
        fixed = runner.contract.fixed_hypotheses
        found["hypotheses"] = fixed or USUAL
        found["ms"] = milliseconds(runner, people["gt_2d"], fixed or USUAL)
        for kind, seen in people.items():
            found[kind] = usual(runner, seen)
            if not fixed:
                more, curves = many(runner, seen.some(many_frames))
                found[kind] |= more
                found.setdefault("curves", {})[kind] = curves
        # another use of the same weights (kernel means, the zero code) was not fitted
        fitted = {} if entry.variant else runner.contract.provenance.get("calibration", {})
        found["not_fitted"] = fitted.get("left_out", {})
        found["halves"] = fitted.get("halves", [])
        found["bytes"] = entry.checkpoint_path.stat().st_size
    return found


def page(found: dict[str, dict[str, Any]], about: dict[str, Any]) -> str:
    """The tables in markdown."""
    lines = [
        "# Accuracy of the shipped lifters",
        "",
        "Written by `python benchmarks/accuracy.py`; millimetres. `agg`: the geometric median of the hypotheses, which",
        "is what a user gets. `best of n`: an oracle, which knows the truth. `P-`: after Procrustes alignment.",
        "Coverage, %, of the 50 / 80 / 95 % regions. On subject 05, to whose clips the spread was fitted: each clip by",
        "a fit to the other clips (50 hypotheses); actors were never fitted. `impossible`: of the hypotheses (of the",
        "aggregate), %, with a knee bent backwards or a joint folded shut. `bones`: mean difference from true bones",
        "(of the hypotheses). `ms`: CPU time for one person with the usual number of hypotheses.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
    ]
    head = ("lifter", "H", "agg", "P-agg", "best of 5", "of 20", "of 200", "P-best of 20", "of 200", "coverage")
    for kind, title in KINDS.items():
        lines += ["", f"**{title}**", "", row((*head, "impossible", "bones", "ms")), row(("---",) * (len(head) + 3))]
        for name, all_of_it in found.items():
            m = all_of_it[kind]
            measured = [100 * m[f"coverage_{p}"] for p in LEVELS] if "coverage_50" in m else []
            covered = all_of_it["not_fitted"].get(kind, []) or measured
            numbers = [m.get(k, "") for k in ("mpjpe", "p_mpjpe", "best_of_5", "best_of_20", f"best_of_{MANY}")]
            numbers += [m.get(k, "") for k in ("p_best_of_20", f"p_best_of_{MANY}")]
            texts = [f"{v:.1f}" if v != "" else "" for v in numbers]
            possible = f"{100 * m['breaches']:.1f} ({100 * m['breaches_aggregate']:.1f})"
            bones = f"{m['bones_differ']:.0f} ({m['bones_differ_hypotheses']:.0f})"
            cells = (name, str(all_of_it["hypotheses"]), *texts, " / ".join(f"{c:.1f}" for c in covered))
            lines.append(row((*cells, possible, bones, f"{all_of_it['ms']:.1f}")))
        truth = 100 * next(iter(found.values()))[kind]["breaches_truth"]
        lines += ["", f"The truth itself is called impossible in {truth:.1f} % of the frames."]
    lines += ["", "![best of n](accuracy_hypotheses.png)", "", "![coverage](accuracy_coverage.png)", ""]
    return "\n".join(lines)


def kept(path: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What an earlier run found, if it was about the same people."""
    before = json.loads(path.read_text()) if path.exists() else {}
    return before["lifters"] if before.get("about") == about else {}


def row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def pictures(found: dict[str, dict[str, Any]], out: Path) -> None:
    drawn = {name: f["curves"]["detector_noise_2d"] for name, f in found.items() if "curves" in f}
    if not drawn:
        return
    counts, levels = [float(n) for n in COUNTS], [k / 20 for k in range(1, 20)]
    best_ones = {name: (counts, curves["best"]) for name, curves in drawn.items()}
    calibration = {name: (levels, curves["level"]) for name, curves in drawn.items()}
    title = "subject 05, detector's errors"
    charts = {
        "accuracy_hypotheses.png": line_chart(best_ones, f"Best of H, {title}", "H", "MPJPE, mm", log_x=True),
        "accuracy_coverage.png": line_chart(
            calibration, f"Coverage, H = {MANY}, {title}", "p", "share of the truth in the p region", unit_square=True
        ),
    }
    for name, chart in charts.items():
        cv2.imwrite(str(out / name), chart)


def write_cards(
    entries: Sequence[Entry], found: dict[str, dict[str, Any]], minutes: dict[str, float], hardware: str
) -> None:
    from posepipe.lifters.build import load, save
    from posepipe.training.model_card import model_card

    for entry in (e for e in entries if not e.variant):
        header, module = load(entry.checkpoint_path)
        metrics = {kind: found[entry.name][kind] for kind in KINDS}
        save(
            entry.checkpoint_path,
            module,
            dataclasses.replace(header, provenance={**header.provenance, "metrics": metrics}),
        )
        text = model_card(entry.checkpoint_path, minutes.get(entry.name, float("nan")), hardware)
        entry.checkpoint_path.with_suffix(".md").write_text(text)


def ranges(cameras: CameraRanges) -> str:
    """What cameras are drawn from, in words."""
    (low, high), (near, far), (narrow, wide) = cameras.pitch_deg, cameras.distance, cameras.fov_deg
    text = f"any side, pitch {low:g} to {high:g} degrees, roll {cameras.roll_deg:g} (standard deviation), {near:g} to"
    return f"{text} {far:g} m, {narrow:g} to {wide:g} degrees, {100 * cameras.cut_share:g} % may be cut off"


def mm(values: NDArray) -> float:
    return round(1000 * float(np.mean(values)), 2)


def share(values: NDArray) -> float:
    return round(float(np.mean(values)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"))
    parser.add_argument("--lifters", nargs="+", default=[], help="default: all that have weights and a graph")
    parser.add_argument("--frames", type=int, default=4000, help="of subject 05, with the usual number of hypotheses")
    parser.add_argument("--many-frames", type=int, default=400, help=f"of these, with {MANY} hypotheses")
    parser.add_argument("--films", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a film, at 15 frames a second")
    parser.add_argument("--actor-cache", type=Path, default=Path("data/accuracy_actors.npz"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--keep", action="store_true", help="what accuracy.json has of lifters that are not measured")
    parser.add_argument("--write-cards", action="store_true")
    parser.add_argument("--minutes", nargs="*", default=[], metavar="NAME=M", help="wall time of a lifter's training")
    parser.add_argument("--hardware", default="2 CPU cores (AVX-512, bfloat16), torch 2.13.0")
    args = parser.parse_args()
    people = {"gt_2d": of_subject(args.data, args.frames, "none")}
    people["gt_2d_reference_cameras"] = of_subject(args.data, args.frames, "none", CAMERAS["reference"])
    people["detector_noise_2d"] = of_subject(args.data, args.frames, "detector")
    people["actor"] = of_films(args.actor_cache, args.films, args.seconds)
    about = {
        "frames": ", ".join(f"{KINDS[k]} {len(p.joints):,}" for k, p in people.items()),
        f"frames with {MANY} hypotheses": f"{args.many_frames}, evenly spread (best of {MANY})",
        "actors": f"{args.films} films; {people['actor'].remark} (another thing tracked, or left for right)",
        "cameras": ranges(CAMERAS["trained"]),
        "the reference point's cameras": ranges(CAMERAS["reference"]),
        "machine": f"{platform.machine()}, one thread",
    }
    found: dict[str, dict[str, Any]] = kept(args.out / "accuracy.json", about) if args.keep else {}
    usable = [e for e in LIFTERS if e.checkpoint and e.graph_path.is_file()]
    chosen = [e for e in LIFTERS if e.name in args.lifters] if args.lifters else usable
    for entry in chosen:
        start = time.process_time()
        found[entry.name] = measure(entry, people, args.many_frames)
        print(f"{entry.name}: {time.process_time() - start:.0f} s of CPU", flush=True)
        for kind in KINDS:
            print(f"  {kind:<18} " + "  ".join(f"{k} {v}" for k, v in found[entry.name][kind].items()), flush=True)
    found = {entry.name: found[entry.name] for entry in LIFTERS if entry.name in found}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "accuracy.json").write_text(json.dumps({"about": about, "lifters": found}, indent=1) + "\n")
    (args.out / "accuracy.md").write_text(page(found, about))
    pictures(found, args.out)
    if args.write_cards:
        minutes = {k: float(v) for k, _, v in (m.partition("=") for m in args.minutes)}
        write_cards(chosen, found, minutes, args.hardware)


if __name__ == "__main__":
    main()
