"""What a wrong field of view costs, and whether a clip could tell its own.

    python benchmarks/field_of_view.py [--lifter mdn] [--seconds 5] [--write]

Actors of different height who walk (on a circle of 1.7 m) and squat, filmed with 35 to 90 degrees, from 0 to 16 degrees
above, filling the picture or half as far away again, as BlazePose sees them. Root: distance from the exact hip in % of
its distance from the camera, with the true camera, with the angle as a phone would write it into the file (35 mm
equivalent, whole millimetres), and with 60 degrees assumed. MPJPE: mm, of poses lifted under the true and under the
assumed camera. The last two columns are ways to find the focal length from the clip that were tried and are not used;
they give the found focal length over the true one:

reprojection: the focal length at which the lifted poses, placed anew, fit the keypoints best, summed over the clip.
gait: a standing foot does not slide. The way that a walker's feet tell (the lower foot stands, the hip moves past it)
against the way that sizes in the picture tell, which along the line of sight is in proportion to the focal length;
steps of 1.33 s, geometric mean of both regressions; "-" where nobody goes 0.4 m (RMS) nearer or farther in them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from doc_table import put
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, from_fov, project
from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.lifters.space import from_person, to_person
from posepipe.pipeline.backend import open_runner
from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.people import Lifting, PeopleState, people_in
from posepipe.pipeline.refine.root import fit_root
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.actor_body import varied_body
from posepipe.pipeline.source.lens import lens_of
from posepipe.trt_build.runners.protocol import Runner
from posepipe.types import Frame, Pose2D, Track

FIELDS = (35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 90)
MOTIONS = {"walk": 20.0, "squat": 40.0}  # yaw
PITCHES, AWAY = (8.0, 16.0, 0.0), (1.0, 1.5)
FPS, SIDE, LIMIT = 20.0, 480, 15.0
ANKLES, THORAX = [3, 6], 8
_STEP, _FAR, _SAME = 1.33, 0.4, 0.7  # seconds; metres; correlation

Seen = list[tuple[Frame, tuple[Pose2D, ...]]]


def filmed(scene: ActorScene) -> tuple[Seen, NDArray]:
    seen, joints = [], []
    with BlazePose() as detector:
        for frame, truth in ActorSource(scene):
            poses = detector.detect(frame)
            if poses:
                seen.append((frame, poses))
                joints.append(truth.joints_camera)
    return seen, np.stack(joints)


def follow(seen: Seen, runner: Runner, hypotheses: int, camera: Intrinsics) -> list[Track]:
    how = Lifting(runner, BLAZEPOSE33_H36M17, camera, "field of view", 0, hypotheses)
    state, tracks = PeopleState(), []
    for frame, poses in seen:
        state, people = people_in(state, frame, poses, how)
        tracks.append(people[0])
    return tracks


def roots(tracks: list[Track]) -> NDArray:
    return np.stack([t.pose3d.root for t in tracks if t.pose3d])


def off(tracks: list[Track], truth: NDArray) -> float:
    hip = truth[:, 0]
    return 100 * float((np.linalg.norm(roots(tracks) - hip, axis=-1) / np.linalg.norm(hip, axis=-1)).mean())


def mpjpe(tracks: list[Track], truth: NDArray) -> float:
    poses = np.stack([t.pose3d.joints for t in tracks if t.pose3d])
    return 1000 * float(np.linalg.norm(poses - (truth - truth[:, :1]), axis=-1).mean())


def written_by_a_phone(camera: Intrinsics) -> Intrinsics:
    """The camera of a file that says the 35 mm equivalent in whole millimetres."""
    millimetres = round(camera.fx * np.hypot(36, 24) / np.hypot(camera.width, camera.height))
    lens = lens_of({"FocalLengthIn35mmFilm": str(millimetres)}, camera.width, camera.height)
    assert lens is not None
    return lens.camera(camera.width, camera.height)


def placed(tracks: list[Track], lifted: Intrinsics, camera: Intrinsics) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Poses lifted under one camera, turned and placed under another: joints, roots, keypoints, confidence."""
    keypoints = np.stack([t.pose2d.keypoints for t in tracks])
    confidence = np.stack([t.pose2d.confidence for t in tracks])
    poses = np.stack([t.pose3d.joints for t in tracks if t.pose3d])
    before, now = to_person(keypoints, confidence, lifted).rotation, to_person(keypoints, confidence, camera).rotation
    turned = from_person(poses[:, None] @ np.swapaxes(before, -1, -2)[:, None], now)[:, 0]
    return turned, fit_root(turned, keypoints, confidence, camera), keypoints, confidence


def by_reprojection(tracks: list[Track], lifted: Intrinsics) -> float:
    """Pixels of focal length."""
    fields, misfits = np.arange(30.0, 101.0, 2.5), []
    for field in fields:
        camera = from_fov(lifted.width, lifted.height, field)
        joints, root, keypoints, confidence = placed(tracks, lifted, camera)
        size = np.sqrt(((keypoints - keypoints.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))
        miss = np.linalg.norm(project(joints + root[:, None], camera) - keypoints, axis=-1) / size[:, None]
        misfits.append(np.nanmean(confidence * miss**2 / (1 + (miss / 0.15) ** 2)))
    return from_fov(lifted.width, lifted.height, fields[int(np.argmin(misfits))]).fx


def by_gait(tracks: list[Track], lifted: Intrinsics) -> float:
    """Pixels of focal length; NaN where the clip does not tell."""
    joints, root, *_ = placed(tracks, lifted, lifted)
    joints, root = smooth(joints, 1.4), smooth(root, 2.7)
    feet, bodies = joints[:, ANKLES], joints[:, THORAX] - joints[:, ANKLES].mean(1)
    up = np.median(bodies / np.linalg.norm(bodies, axis=-1, keepdims=True), axis=0)
    standing = (feet @ up).argmin(1)[:-1]
    steps = -np.diff(feet, axis=0)[np.arange(len(feet) - 1), standing]
    steps -= (steps @ up)[:, None] * up
    walked, lag = np.concatenate([[0.0], np.cumsum(steps[:, 2])]), round(_STEP * FPS)
    told, sized = walked[lag:] - walked[:-lag], (root[lag:, 2] - root[:-lag, 2]) / lifted.fx
    if np.sqrt((told**2).mean()) < _FAR or np.corrcoef(told, sized)[0, 1] < _SAME:
        return float("nan")
    both = (told * sized).sum()
    return float(np.sqrt(both / (sized**2).sum() * (told**2).sum() / both))


def smooth(x: NDArray, frames: float) -> NDArray:
    reach = int(np.ceil(2 * frames))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    padded = np.pad(x, ((reach, reach), *[(0, 0)] * (x.ndim - 1)), "edge")
    return np.stack([np.tensordot(kernel / kernel.sum(), padded[i : i + len(kernel)], 1) for i in range(len(x))])


def reach_of(fields: NDArray, errors: NDArray, limit: float) -> str:
    """Between which fields of view the error stays below the limit, on straight lines between the measured ones."""
    inside = np.flatnonzero(errors <= limit)
    if not len(inside):
        return "nowhere"
    low, high = int(inside[0]), int(inside[-1])
    ends = []
    for at, other in ((low, low - 1), (high, high + 1)):
        if not 0 <= other < len(fields):
            ends.append(f"{fields[at]:.0f}° or beyond")
            continue
        share = (limit - errors[at]) / (errors[other] - errors[at])
        ends.append(f"{fields[at] + share * (fields[other] - fields[at]):.0f}°")
    return " to ".join(ends)


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
    tell(f"{args.lifter}, {args.seconds:g} s of {' and '.join(MOTIONS)} for each angle, bodies of 1.58 to 1.88 m\n")
    tell("| true ° | root known % | from the file % | assumed 60° % | MPJPE known | assumed | reprojection | gait |")
    tell("|---:|---:|---:|---:|---:|---:|---:|---:|")
    table, found = [], []
    for number, field in enumerate(FIELDS):
        rows = []
        for place, (motion, yaw) in enumerate(MOTIONS.items()):
            body, pitch = varied_body(2 * number + place), PITCHES[(number + place) % len(PITCHES)]
            scene = ActorScene(motion, args.seconds, FPS, SIDE, SIDE, float(field), yaw, pitch, body=body)
            fitting = float(np.linalg.norm(scene.view.position - [0.0, 0.51 * body.height, 0.0]))
            scene = replace(scene, distance=AWAY[(number + place) % len(AWAY)] * fitting)
            seen, truth = filmed(scene)
            truth_size = truth * (1.72 / body.height)  # how tall they are is another question: see --height
            true, guess = scene.intrinsics, from_fov(SIDE, SIDE)
            by = [follow(seen, runner, hypotheses, c) for c in (true, written_by_a_phone(true), guess)]
            ratio = [by_reprojection(by[2], guess) / true.fx, by_gait(by[2], guess) / true.fx]
            rows.append([*(off(t, truth_size) for t in by), mpjpe(by[0], truth_size), mpjpe(by[2], truth_size), *ratio])
            found.append([ratio[0], ratio[1], guess.fx / true.fx])
        means = np.array([np.nanmean(c) if np.isfinite(c).any() else np.nan for c in np.array(rows).T])
        table.append(means)
        shown = [*(f"{v:.1f}" for v in means[:5]), *("-" if np.isnan(v) else f"{v:.2f}" for v in means[5:])]
        tell(f"| {field} | " + " | ".join(shown) + " |")
    values, logs = np.array(table), np.log(np.array(found))
    spread = [f"{np.exp(np.nanstd(v)):.2f}" if np.isfinite(v).sum() > 1 else "-" for v in logs.T]
    fields, telling = np.array(FIELDS, float), int(np.isfinite(logs[:, 1]).sum())
    tell(
        f"\nAt most {LIMIT:g} % with 60° assumed: {reach_of(fields, values[:, 2], LIMIT)}; from the file: "
        f"{reach_of(fields, values[:, 1], LIMIT)}. Found over true spreads by a factor (one standard "
        f"deviation) of {spread[0]} by reprojection, {spread[1]} by gait ({telling} of {len(logs)} clips "
        f"tell), {spread[2]} when 60° are assumed."
    )
    runner.close()
    if args.write:
        put("metric_world.md", "field_of_view.py", "\n".join(lines))


if __name__ == "__main__":
    main()
