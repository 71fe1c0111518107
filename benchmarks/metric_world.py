"""How right the metric world is: place, size, ground and aggregate of the rendered actor, whose truth is exact.

    python benchmarks/metric_world.py [--lifter mdn] [--seconds 5] [--write]

Five motions before each of five cameras, as BlazePose sees them. --write puts the tables into docs/metric_world.md.
Root: distance from the exact hip, in % of its distance from the camera, with the camera known and with the default
field of view in its place. Height: the factor by which `--height 1.72` would scale the actor (who is 1.72 m tall).
Ground: angle between its up and the exact one, degrees, and the median height of the exact lower sole above it, cm.
Aggregates: MPJPE in mm; j-agg and p-agg choose by reprojection with the estimated root and the known camera, "true
root" with the exact one, as the papers do.
"""

from __future__ import annotations

import argparse

import numpy as np
from doc_table import put
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, from_fov, project
from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.pipeline.aggregate import AGGREGATES, BY_REPROJECTION, aggregate, reprojection_misses
from posepipe.pipeline.backend import open_runner
from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.people import Lifting, PeopleState, people_in
from posepipe.pipeline.refine.ground import fit_ground
from posepipe.pipeline.refine.stature import factor_to, seen_whole, stature
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.actor_motion import MOTIONS
from posepipe.trt_build.runners.protocol import Runner
from posepipe.types import Frame, Pose2D, Track

CAMERAS = {
    "55°, pitch 5°": {"fov_deg": 55.0, "pitch_deg": 5.0, "width": 720, "height": 720},
    "70°, pitch 15°": {"fov_deg": 70.0, "pitch_deg": 15.0, "width": 960, "height": 540},
    "40°, pitch 2°": {"fov_deg": 40.0, "pitch_deg": 2.0, "width": 640, "height": 640},
    "60°, pitch 35°": {"fov_deg": 60.0, "pitch_deg": 35.0, "width": 640, "height": 640},
    "60°, from below, -8°": {"fov_deg": 60.0, "pitch_deg": -8.0, "width": 640, "height": 640},
}
SIDES = {"walk": 20.0, "wave": -25.0, "squat": 40.0, "turn": 0.0, "crossed": 15.0}
ANKLES, SOLE = [3, 6], 0.08


def detections(source: ActorSource) -> tuple[list[tuple[Frame, tuple[Pose2D, ...]]], NDArray]:
    seen, joints = [], []
    with BlazePose() as detector:
        for frame, truth in source:
            seen.append((frame, detector.detect(frame)))
            joints.append(truth.joints_camera)
    return seen, np.stack(joints)


def follow(seen: list, runner: Runner, hypotheses: int, camera: Intrinsics, name: str) -> list[Track]:
    how = Lifting(runner, BLAZEPOSE33_H36M17, camera, name, 0, hypotheses)
    state, tracks = PeopleState(), []
    for frame, poses in seen:
        state, people = people_in(state, frame, poses, how)
        tracks.append(people[0])
    return tracks


def places(tracks: list[Track], smoothed: bool) -> tuple[NDArray, NDArray]:
    poses = [t.smoothed3d if smoothed else t.pose3d for t in tracks]
    return np.stack([p.joints for p in poses if p]), np.stack([p.root for p in poses if p])


def off(root: NDArray, truth: NDArray) -> float:
    return 100 * float((np.linalg.norm(root - truth[:, 0], axis=-1) / np.linalg.norm(truth[:, 0], axis=-1)).mean())


def aggregates(tracks: list[Track], truth: NDArray, camera: Intrinsics) -> dict[str, float]:
    errors: dict[str, list[float]] = {}
    for track, joints in zip(tracks, truth, strict=True):
        assert track.hypotheses is not None
        hypotheses, exact = track.hypotheses, joints - joints[:1]
        estimated = reprojection_misses(hypotheses, track.pose2d, camera)
        pixels = project(hypotheses.joints + joints[:1], camera)
        true = np.linalg.norm(pixels - track.pose2d.keypoints, axis=-1)
        tries = [(how, how, estimated) for how in AGGREGATES]
        tries += [(f"{how}, true root", how, true) for how in BY_REPROJECTION]
        for label, how, misses in tries:
            pose, _ = aggregate(hypotheses, how=how, misses=misses)
            errors.setdefault(label, []).append(1000 * float(np.linalg.norm(pose - exact, axis=-1).mean()))
    return {label: float(np.mean(values)) for label, values in errors.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifter", default="mdn")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    lines: list[str] = []

    def tell(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    runner, hypotheses = open_runner(RunSettings(lifter=args.lifter))
    tell(f"{args.lifter}, {hypotheses} hypotheses, {args.seconds:g} s of {', '.join(MOTIONS)} for each camera\n")
    tell("| camera | root known % | smoothed | root assumed 60° % | height factor | ground ° | sole cm |")
    tell("|---|---:|---:|---:|---:|---:|---:|")
    compared: dict[str, list[float]] = {}
    for label, camera in CAMERAS.items():
        rows = []
        for motion in MOTIONS:
            scene = ActorScene(motion, args.seconds, 30.0, yaw_deg=SIDES[motion], **camera)  # type: ignore[arg-type]
            source = ActorSource(scene)
            seen, truth = detections(source)
            tracks = follow(seen, runner, hypotheses, scene.intrinsics, motion)
            guessed = follow(seen, runner, hypotheses, from_fov(scene.width, scene.height), motion)
            (pose, root), (smooth, place) = places(tracks, False), places(tracks, True)
            confidence = np.stack([t.pose2d.confidence for t in tracks])
            factor = factor_to(1.72, stature(pose), seen_whole(confidence))
            ground = fit_ground(smooth, place)
            assert ground is not None
            up = source.view.rotation @ np.array([0.0, 1.0, 0.0])
            tilt = float(np.degrees(np.arccos(np.clip(np.dot(ground.up, up), -1, 1))))
            sole = 100 * abs(float(np.median(ground.heights(truth[:, ANKLES]).min(1))) - SOLE)
            rows.append(
                [off(root, truth), off(place, truth), off(places(guessed, False)[1], truth), factor, tilt, sole]
            )
            for name, error in aggregates(tracks, truth, scene.intrinsics).items():
                compared.setdefault(name, []).append(error)
        values = np.mean(rows, 0)
        tell(f"| {label} | " + " | ".join(f"{v:.2f}" if i == 3 else f"{v:.1f}" for i, v in enumerate(values)) + " |")
    tell("\n| aggregate | MPJPE mm |\n|---|---:|")
    for name, errors in compared.items():
        tell(f"| {name} | {np.mean(errors):.1f} |")
    runner.close()
    if args.write:
        put("metric_world.md", "metric_world.py", "\n".join(lines))


if __name__ == "__main__":
    main()
