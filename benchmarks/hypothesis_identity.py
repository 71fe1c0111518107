"""Does hypothesis k at t + 1 go on where k was at t? Mean joint jump between frames, of the fan and of the aggregate.

    python benchmarks/hypothesis_identity.py [--lifter mdn] [--frames 120] [--fps 30] [--write]

The rendered actor, standing still before a camera with sensor noise (3 grey levels) and walking, as BlazePose sees it.
Noise is drawn anew for every frame, held and refreshed slowly, or held for ever. Jitter: mean length of the second
difference of the error against the exact joints. Spread: mean distance of the hypotheses from their mean, of which
held noise has had fewer looks by the end. All in millimetres, per frame. --write puts the tables into
docs/metric_world.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from doc_table import put
from numpy.typing import NDArray

from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.pipeline.backend import open_runner
from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.people import Lifting, PeopleState, people_in
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.types import Frame, Pose2D, Track

WAYS = (("new for every frame", 0.0), ("held, 1 s", 1.0), ("held, 4 s (default)", 4.0), ("held for ever", 1e9))
Seen = list[tuple[Frame, tuple[Pose2D, ...]]]


def detections(source: ActorSource, frames: int, still: bool) -> tuple[Seen, NDArray]:
    """What BlazePose sees, and the exact joints (N, 17, 3), hip at the origin."""
    rng, seen, joints = np.random.default_rng(0), [], []
    with BlazePose() as detector:
        for i in range(frames):
            frame, truth = source.render(0 if still else i)
            noisy = frame.image + rng.normal(0, 3, frame.image.shape)
            picture = Frame(i, i / source.scene.fps, np.clip(noisy, 0, 255).astype(np.uint8))
            seen.append((picture, detector.detect(picture)))
            joints.append(truth.joints_camera - truth.joints_camera[:1])
    return seen, np.stack(joints)


def follow(seen: Seen, how: Lifting) -> list[Track]:
    """The person of every frame; BlazePose finds the actor in all of them."""
    state, tracks = PeopleState(), []
    for frame, poses in seen:
        state, people = people_in(state, frame, poses, how)
        tracks.append(people[0])
    return tracks


def length(x: NDArray) -> float:
    return 1000 * float(np.linalg.norm(x, axis=-1).mean())


def row(tracks: Sequence[Track], truth: NDArray) -> list[float]:
    fan = np.stack([t.hypotheses.joints for t in tracks if t.hypotheses])
    raw = np.stack([t.pose3d.joints for t in tracks if t.pose3d])
    smooth = np.stack([t.smoothed3d.joints for t in tracks if t.smoothed3d])
    return [
        length(np.diff(fan, axis=0)),
        length(np.diff(raw, axis=0)),
        length(np.diff(smooth, axis=0)),
        length(np.diff(raw - truth, 2, axis=0)),
        length(np.diff(smooth - truth, 2, axis=0)),
        length(raw - truth),
        length(smooth - truth),
        length(fan - fan.mean(1, keepdims=True)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifter", default="mdn")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    lines: list[str] = []

    def tell(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    runner, hypotheses = open_runner(RunSettings(lifter=args.lifter))
    tell(f"{args.lifter}, {hypotheses} hypotheses, {args.frames} frames at {args.fps:g} fps, mm")
    columns = "fan jump | aggregate jump | smoothed | jitter raw | smoothed | MPJPE raw | smoothed | spread"
    for still in (True, False):
        source = ActorSource(ActorScene("walk", args.frames / args.fps, args.fps, fov_deg=55, yaw_deg=20))
        seen, truth = detections(source, args.frames, still)
        name = "still" if still else f"walking (the truth moves {length(np.diff(truth, axis=0)):.1f} mm a frame)"
        tell(f"\n| {name} | {columns} |\n|---|{'---:|' * 8}")
        for way, refresh in WAYS:
            how = Lifting(
                runner,
                BLAZEPOSE33_H36M17,
                source.intrinsics,
                "benchmark",
                0,
                hypotheses,
                noise_refresh=refresh,
            )
            tell(f"| {way} | " + " | ".join(f"{v:.1f}" for v in row(follow(seen, how), truth)) + " |")
    runner.close()
    if args.write:
        put("metric_world.md", "hypothesis_identity.py", "\n".join(lines))


if __name__ == "__main__":
    main()
