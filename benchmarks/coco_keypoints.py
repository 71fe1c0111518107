"""What lifters trained on BlazePose's keypoints make of COCO's: the rendered actor's exact ones, by each conversion.

    python benchmarks/coco_keypoints.py fit                          # the weights of coco17-h36m17@2
    python benchmarks/coco_keypoints.py measure [--lifter mdn ...]   # the table in docs/detectors.md

The actor's nose, eyes, ears, shoulders, elbows, wrists, hips, knees and ankles are known exactly; nothing is rendered
or detected, so what differs between the columns is the conversion alone. Noise adds Gaussian noise of 2 % of the torso.
Fitted on films 0 to 99, measured on films 1000 to 1059 (other bodies, motions, sides, lenses); MPJPE, P-MPJPE in mm.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import from_fov
from posepipe.conversion import BLAZEPOSE33_H36M17, COCO17_H36M17, COCO17_MEASURED, H36M17_H36M17, Conversion
from posepipe.lifters.catalogue import entry
from posepipe.lifters.space import to_person
from posepipe.metrics import mpjpe, p_mpjpe
from posepipe.noise import NoiseKey
from posepipe.pipeline.aggregate import aggregate
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.actor_body import varied_body
from posepipe.pipeline.source.actor_motion import MOTIONS
from posepipe.skeleton import BLAZEPOSE_33, COCO_17, H36M_17
from posepipe.trt_build.runners.ort import OrtRunner
from posepipe.types import Hypotheses

LIFTERS = ("martinez", "mdn", "wsgan", "htnet", "dcgct", "drpose", "prpose")
COCO_OF_BLAZEPOSE = [BLAZEPOSE_33.index(name) for name in COCO_17.joints]
RIDGE = 0.02
# joint -> what may speak for it; a name ending in s stands for both sides
SPEAKERS = {
    "hip": ("hips", "shoulders"),
    "spine": ("hips", "shoulders"),
    "thorax": ("shoulders", "hips"),
    "neck": ("ears", "nose", "shoulders"),
    "head": ("ears", "nose", "shoulders"),
}


def seen(first: int, films: int, step: int = 6) -> tuple[NDArray, NDArray, NDArray]:
    """Exact landmarks (N, 33, 2), H36M pixels (N, 17, 2) and joints in the camera's frame (N, 17, 3)."""
    rng, rows = np.random.default_rng(first), []
    for i in range(first, first + films):
        scene = ActorScene(
            motion=MOTIONS[i % len(MOTIONS)],
            seconds=4.0,
            fps=15.0,
            width=1000,
            height=1000,
            fov_deg=60.0,
            yaw_deg=float(rng.uniform(0, 360)),
            pitch_deg=max(float(rng.uniform(-8, 30)), 0.0),
            seed=i,
            body=varied_body(i),
        )
        source = ActorSource(scene)
        for index in range(0, len(source), step):
            truth = source.truth(index)
            rows.append((truth.blazepose, truth.keypoints, truth.joints_camera))
    landmarks, keypoints, joints = (np.stack(part) for part in zip(*rows, strict=True))
    return landmarks, keypoints, joints


def fit() -> None:
    landmarks, truth, _ = seen(0, 100)
    coco = landmarks[:, COCO_OF_BLAZEPOSE]
    torso = np.linalg.norm(truth[:, 8] - truth[:, 0], axis=-1)
    keep = torso > 20
    coco, truth, torso = coco[keep], truth[keep], torso[keep, None, None]
    middle = truth[:, :1]
    coco, truth = (coco - middle) / torso, (truth - middle) / torso
    flip = np.array([-1.0, 1.0])
    coco = np.concatenate([coco, coco[:, list(COCO_17.mirror)] * flip])
    truth = np.concatenate([truth, truth[:, list(H36M_17.mirror)] * flip])
    for joint, speakers in SPEAKERS.items():
        groups = [["l_" + s[:-1], "r_" + s[:-1]] if s.endswith("s") else [s] for s in speakers]
        columns = np.stack([coco[:, [COCO_17.index(n) for n in group]].mean(1).ravel() for group in groups], 1)
        goal = truth[:, H36M_17.index(joint)].ravel()
        steps = columns[:, 1:] - columns[:, :1]  # weights keep their sum of 1
        normal = steps.T @ steps / len(goal) + RIDGE**2 * np.eye(steps.shape[1])
        change = np.linalg.solve(normal, steps.T @ (goal - columns[:, 0]) / len(goal))
        weights = [1 - change.sum(), *change]
        text = ", ".join(f'"{n}": {w / len(g):.3f}' for g, w in zip(groups, weights, strict=True) for n in g)
        left = np.sqrt(np.mean((goal - columns @ weights) ** 2) * 2)
        print(f'"{joint}": {{{text}}},   # {100 * left:.1f} % of a torso left')


def measure(lifters: Sequence[str], films: int) -> None:
    landmarks, truth, joints = seen(1000, films)
    coco = landmarks[:, COCO_OF_BLAZEPOSE]
    ways: tuple[tuple[str, NDArray, Conversion], ...] = (
        ("exact H36M joints", truth, H36M17_H36M17),
        ("exact landmarks, blazepose33-h36m17@1", landmarks, BLAZEPOSE33_H36M17),
        ("exact COCO, coco17-h36m17@1", coco, COCO17_H36M17),
        ("exact COCO, coco17-h36m17@2", coco, COCO17_MEASURED),
    )
    torso = np.linalg.norm(truth[:, 8] - truth[:, 0], axis=-1).mean()
    print(f"{len(truth)} poses\n| lifter | noise | " + " | ".join(name for name, _, _ in ways) + " |")
    print("|---|---|" + "---|" * len(ways))
    for lifter in lifters:
        with OrtRunner(entry(lifter).graph_path) as runner:
            for noisy in (False, True):
                cells = []
                for _, points, rule in ways:
                    noise = np.random.default_rng(0).normal(0, 0.02 * torso if noisy else 0, points.shape)
                    cells.append(_errors(runner, rule.points((points + noise).astype(np.float32)), joints))
                print(f"| `{lifter}` | {'2 %' if noisy else 'none'} | " + " | ".join(cells) + " |", flush=True)


def _errors(runner: OrtRunner, keypoints: NDArray, joints: NDArray) -> str:
    camera, wanted = from_fov(1000, 1000, 60.0, assumed=False), joints - joints[:, :1]
    count = runner.contract.fixed_hypotheses or runner.contract.hypotheses
    found = []
    for start in range(0, len(keypoints), 64):
        part = keypoints[start : start + 64]
        view = to_person(part, np.full(part.shape[:2], 0.9, np.float32), camera)
        keys = [NoiseKey(0, "coco", start + i, 0) for i in range(len(part))]
        drawn, weights = runner.sample(view.keypoints, view.confidence, keys, count)
        for i in range(len(part)):
            pose, _ = aggregate(Hypotheses(drawn[i], weights[i]), runner.contract.residual_std)
            found.append(pose @ view.rotation[i])
    poses = np.stack(found)
    return f"{1000 * mpjpe(poses, wanted).mean():.1f} / {1000 * p_mpjpe(poses, wanted).mean():.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "measure"))
    parser.add_argument("--lifter", nargs="+", default=list(LIFTERS))
    parser.add_argument("--films", type=int, default=60)
    args = parser.parse_args()
    if args.what == "fit":
        fit()
    else:
        measure(args.lifter, args.films)
