"""How well BlazePose reads the rendered actor: detection, left-right swaps, joint error. One row per motion.

    python benchmarks/actor_swaps.py [--yaws 12] [--frames 24] [--step 3]

Every motion is filmed from `yaws` sides at pitches -10..20 degrees; BlazePose runs in video mode on consecutive frames.
Swapped: over shoulders, elbows, wrists, hips, knees and ankles, the detection with left and right exchanged lies closer
(sum of distances) to the exact pixels. Views so much from the side that the exact hips and the exact shoulders are both
narrower than 15 % of the torso (middle of hips to middle of shoulders, px) do not count: there left and right coincide.
Error: median joint distance, swaps as they come, in % of the torso.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.actor_body import varied_body
from posepipe.pipeline.source.actor_motion import MOTIONS
from posepipe.skeleton import BLAZEPOSE_33, H36M_17

LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PITCHES = (-10, -5, 0, 5, 10, 15, 20)


def estimator() -> Any:
    """BlazePose as the pipeline uses it, quiet."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import mediapipe as mp

    return mp.solutions.pose.Pose(static_image_mode=False, model_complexity=1)


def sides(points: NDArray, names: tuple[str, ...]) -> NDArray:
    """(2, 6, 2) left and right limb joints."""
    return np.array([[points[names.index(f"{side}_{limb}")] for limb in LIMBS] for side in "lr"])


def torso_length(exact: NDArray) -> float:
    """Middle of the shoulders to middle of the hips, px; exact: (2, 6, 2)."""
    return float(np.linalg.norm(exact[:, 0].mean(0) - exact[:, 3].mean(0)))


def side_on(exact: NDArray) -> bool:
    """Hips and shoulders both narrower than 15 % of the torso."""
    widths = np.linalg.norm(exact[0, [0, 3]] - exact[1, [0, 3]], axis=1)
    return bool((widths < 0.15 * torso_length(exact)).all())


def measure(scene: ActorScene, frames: int, step: int) -> list[tuple[bool, bool, bool, float]]:
    """(detected, counted, swapped, error in % of the torso) per frame."""
    rows = []
    source = ActorSource(scene)
    with estimator() as pose:
        for i in range(frames):
            frame, truth = source.render((i * step) % len(source))
            found = pose.process(frame.image).pose_landmarks
            if found is None:
                rows.append((False, False, False, np.nan))
                continue
            size = np.array([scene.width, scene.height])
            seen = sides(np.array([(p.x, p.y) for p in found.landmark]) * size, BLAZEPOSE_33.joints)
            exact = sides(truth.keypoints, H36M_17.joints)
            straight = np.linalg.norm(seen - exact, axis=2)
            crossed = np.linalg.norm(seen[::-1] - exact, axis=2)
            counted = not side_on(exact)
            error = 100.0 * float(np.median(straight)) / torso_length(exact)
            rows.append((True, counted, counted and bool(crossed.sum() < straight.sum()), error))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--yaws", type=int, default=12)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--step", type=int, default=3)
    parser.add_argument("--fov", type=float, default=60.0)
    parser.add_argument("--bodies", type=int, default=1, help="1: the default body; N: N varied bodies in turn")
    parser.add_argument("--verbose", action="store_true", help="one line per clip with swaps")
    args = parser.parse_args()
    print(f"{'motion':9} {'frames':>6} {'detected %':>10} {'swapped %':>9} {'side-on %':>9} {'error %torso':>12}")
    everything = []
    for motion in (*MOTIONS, "all"):
        rows = []
        for n in range(args.yaws if motion in MOTIONS else 0):
            scene = ActorScene(
                motion=motion,
                seconds=(args.frames * args.step + 1) / 30.0,
                fov_deg=args.fov,
                yaw_deg=360.0 * n / args.yaws,
                pitch_deg=float(PITCHES[n % len(PITCHES)]),
                body=varied_body(n % args.bodies),
            )
            clip = measure(scene, args.frames, args.step)
            swapped = [i * args.step for i, row in enumerate(clip) if row[2]]
            if args.verbose and swapped:
                print(f"  {motion} yaw {scene.yaw_deg:.0f} pitch {scene.pitch_deg:.0f}: swapped at {swapped}")
            rows += clip
        everything += rows
        table = np.array(rows if motion in MOTIONS else everything, float)
        detected, counted = table[:, 0].sum(), max(table[:, 1].sum(), 1)
        print(
            f"{motion:9} {len(table):6d} {100 * detected / len(table):10.1f} {100 * table[:, 2].sum() / counted:9.1f}"
            f" {100 * (1 - counted / max(detected, 1)):9.1f} {np.nanmedian(table[:, 3]):12.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
