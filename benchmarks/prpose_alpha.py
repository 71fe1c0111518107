"""How much noise PRPose needs when its spread is calibrated: the shipped prpose:martinez with other alphas.

    python benchmarks/prpose_alpha.py [--alphas 0.02 0.012 0.008 0.006] [--frames 2000] [--out docs]     # 4 minutes

Noise on the 2D pose comes back through the lifter, which is curved: much of it moves the middle of the hypotheses away
from the lifter's own pose. The calibration (`posepipe calibrate`) spreads them afterwards, so little will do. Each
alpha is calibrated anew on subject 05, on which it is then measured: the aggregate and the oracles, mm, and how far
the hypotheses' bones are from the true ones. Writes prpose_alpha.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from accuracy_people import of_subject

from posepipe.lifters.build import load
from posepipe.lifters.catalogue import WEIGHTS
from posepipe.metrics import best_of, mpjpe, p_mpjpe
from posepipe.metrics_body import bone_error
from posepipe.point_estimate import geometric_median
from posepipe.training.calibrate import with_calibration
from posepipe.training.hypotheses import draw

KINDS = {"none": "exact 2D", "detector": "the detector's errors"}
MANY = 200
HEAD = "| 2D | alpha | scale | aggregate | P-aggregate | best of 20 | of 200 | bones |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"))
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.02, 0.012, 0.008, 0.006])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--many-frames", type=int, default=200, help=f"of these, with {MANY} hypotheses")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    people = {noise: of_subject(args.data, args.frames, noise) for noise in KINDS}
    rows = []
    for alpha in args.alphas:
        header, sampler = load(WEIGHTS / "prpose-martinez.safetensors", {"network": {"alpha": alpha}})
        header = with_calibration(sampler.eval(), header, args.data, frames=1500)
        scale = header.provenance["calibration"]["scale"]
        for noise, seen in people.items():
            few, weights = draw(sampler, header.noise_shape, seen.keypoints, seen.confidence, 20)
            part = seen.some(args.many_frames)
            many, _ = draw(sampler, header.noise_shape, part.keypoints, part.confidence, MANY)
            pose = geometric_median(few, weights)
            errors = (mpjpe(pose, seen.joints), p_mpjpe(pose, seen.joints), best_of(few, seen.joints))
            numbers = (*errors, best_of(many, part.joints), bone_error(few, seen.joints[:, None]))
            cells = " | ".join(f"{1000 * float(v.mean()):.1f}" for v in numbers)
            rows.append(f"| {KINDS[noise]} | {alpha:g} | {min(scale):.1f} to {max(scale):.1f} | {cells} |")
            print(rows[-1], flush=True)
    lines = [
        "# Little noise, spread by the calibration",
        "",
        f"Written by `python benchmarks/prpose_alpha.py`; subject 05, {args.frames:,} frames ({args.many_frames} with",
        f"{MANY} hypotheses), mm. Scale: what the calibration multiplies the hypotheses' distances from their mean by,",
        "per joint, with exact 2D. Bones: mean difference of the hypotheses' bones from the true ones.",
        "",
        HEAD,
        f"|---|{'---:|' * (HEAD.count('|') - 2)}",
        *rows,
        "",
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "prpose_alpha.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
