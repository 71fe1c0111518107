"""Errors of the shipped graphs on people they have not seen: subject 05 of CMU, 20,000 frames, a camera for each.

    python benchmarks/accuracy.py --data data/cmu_h36m17.h5 [--frames 20000] [--write-cards]

The graph that users run, in ONNX Runtime, float16 weights and all. --write-cards puts the numbers into the checkpoints'
headers and writes their cards anew (then export the graphs again: their weights' hash has changed).
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.lifters.catalogue import LIFTERS
from posepipe.training.recipes.supply import validation_batches
from posepipe.training.validate import score
from posepipe.trt_build.runners.ort import OrtRunner


def sampler(runner: OrtRunner, count: int):  # type: ignore[no-untyped-def]
    """keypoints, confidence -> hypotheses, log_weights; in blocks, with seeded noise."""

    def sample(keypoints: NDArray, confidence: NDArray) -> tuple[NDArray, NDArray]:
        rng, parts = np.random.default_rng(99), []
        for start in range(0, len(keypoints), 500):
            k, c = keypoints[start : start + 500], confidence[start : start + 500]
            noise = rng.standard_normal((len(k), count, *runner.contract.noise_shape), np.float32)
            parts.append(runner.run(k, c, noise))
        hypotheses, log_weights = (np.concatenate(p) for p in zip(*parts, strict=True))
        return hypotheses, log_weights

    return sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"))
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--write-cards", action="store_true")
    parser.add_argument("--minutes", type=float, nargs="*", default=[], help="wall time of each system's training")
    args = parser.parse_args()
    validation = validation_batches(args.data, args.frames)
    found = {}
    for entry in LIFTERS:
        if not entry.checkpoint:
            continue
        with OrtRunner(entry.graph_path, threads=2) as runner:
            fixed = runner.contract.fixed_hypotheses
            best = () if fixed == 1 else (5,) if fixed else (5, 20)
            sample = sampler(runner, fixed or 20)
            results = {"gt_2d": validation.exact, "detector_noise_2d": validation.noisy}
            found[entry.name] = {name: score(sample, batch, best) for name, batch in results.items()}
        for name, metrics in found[entry.name].items():
            print(f"{entry.name:<10} {name:<18} " + "  ".join(f"{k} {v}" for k, v in metrics.items()), flush=True)
    if args.write_cards:
        write_cards(found, args.minutes)


def write_cards(found: dict, minutes: list[float]) -> None:
    from posepipe.lifters.build import load, save
    from posepipe.training.model_card import model_card

    shipped = [e for e in LIFTERS if e.checkpoint and not e.variant]
    for i, entry in enumerate(shipped):
        header, module = load(entry.checkpoint_path)
        provenance = {**header.provenance, "metrics": found[entry.name]}
        save(entry.checkpoint_path, module, dataclasses.replace(header, provenance=provenance))
        wall = minutes[i] if i < len(minutes) else float("nan")
        text = model_card(entry.checkpoint_path, wall, "2 CPU cores (AVX-512, bfloat16), torch 2.13.0")
        entry.checkpoint_path.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
