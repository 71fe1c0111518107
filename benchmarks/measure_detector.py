"""Film the actor, detect it with BlazePose, compare with the exact pixels: what the conversion corrects and what the
training replays.

    python benchmarks/measure_detector.py observe -o data/blazepose_on_actor.npz     # ~4 minutes on one core
    python benchmarks/measure_detector.py bias data/blazepose_on_actor.npz           # the table of per-joint errors
    python benchmarks/measure_detector.py fit data/blazepose_on_actor.npz            # rules for posepipe/conversion.py
    python benchmarks/measure_detector.py noise data/blazepose_on_actor.npz          # writes the training's noise table

`observe` walks through short films that differ in motion, body, side, height, distance and field of view, some of them
with the person partly outside the picture, with the tracking mode of the detector that `posepipe run` uses.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.actor_body import varied_body
from posepipe.pipeline.source.actor_motion import MOTIONS
from posepipe.skeleton import BLAZEPOSE_33, H36M_17
from posepipe.training.detector_noise import TABLE, yaw_of

MIN_HIP_SHARE = 0.15  # of the torso length: seen more side-on than this, left and right cannot be told apart


def scenes(count: int, seconds: float) -> list[ActorScene]:
    """Seeded films; every third has the camera so near that parts of the person leave the picture."""
    rng = np.random.default_rng(7)
    films = []
    for i in range(count):
        pitch = float(rng.uniform(-8, 30))
        film = ActorScene(
            motion=MOTIONS[i % len(MOTIONS)],
            seconds=seconds,
            fps=15.0,
            width=480,
            height=480,
            fov_deg=float(rng.uniform(40, 80)),
            yaw_deg=float(rng.uniform(0, 360)),
            pitch_deg=max(pitch, 0.0),
            seed=i,
            body=varied_body(i),
        )
        if i % 3 == 2:
            distance = film._fitting_distance() * float(rng.uniform(0.5, 0.9))
            film = dataclasses.replace(film, distance=distance)
        films.append(film)
    return films


def observe(out: Path, count: int, seconds: float) -> None:
    from rich.progress import track

    rows = []
    for film in track(scenes(count, seconds), description="filming"):
        source = ActorSource(film)
        with BlazePose() as detector:
            for index in range(len(source)):
                frame, truth = source.render(index)
                found = detector.detect(frame)
                if not found or index < 2:
                    continue
                rows.append(
                    (truth.keypoints, truth.joints_camera, found[0].keypoints, found[0].confidence, found[0].world)
                )
    names = ("keypoints", "joints", "landmarks", "visibility", "world")
    out.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: np.stack(part).astype(np.float32) for name, part in zip(names, zip(*rows, strict=True), strict=True)
    }
    np.savez_compressed(out, filmed=count * round(seconds * 15), **arrays)
    print(f"{len(rows)} detections -> {out}")


def swapped(truth: NDArray, converted: NDArray) -> tuple[NDArray, NDArray]:
    """(N,) bool: the mirrored assignment is nearer to the truth; and (N,) bool: the view lets one tell."""
    plain = np.linalg.norm(converted - truth, axis=-1).mean(-1)
    crossed = np.linalg.norm(converted[:, list(H36M_17.mirror)] - truth, axis=-1).mean(-1)
    hips = np.abs(truth[:, 4, 0] - truth[:, 1, 0])
    return crossed < plain, hips > MIN_HIP_SHARE * torso(truth)


def torso(keypoints: NDArray) -> NDArray:
    """(N, 17, 2) -> (N) pixels from hip to thorax; nearly end-on torsos count as a third of the person."""
    length = np.linalg.norm(keypoints[:, 8] - keypoints[:, 0], axis=-1)
    size = np.sqrt(((keypoints - keypoints.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))
    return np.maximum(length, 0.5 * size)


def bias(table: Path) -> None:
    """Per-joint error of the conversion: median distance, and the mean offset along the torso and towards the front."""
    data = np.load(table)
    truth, converted = data["keypoints"], BLAZEPOSE33_H36M17.points(data["landmarks"])
    wrong, clear = swapped(truth, converted)
    keep = ~(wrong & clear)
    scale = torso(truth)
    print(f"frames {data['filmed']}, detected {len(truth)}, swapped {100 * (wrong & clear).sum() / clear.sum():.2f} %")
    up = truth[:, 8] - truth[:, 0]
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    offset = (converted - truth) / scale[:, None, None]
    print(f"{'joint':<12} {'median':>8} {'p90':>8} {'along torso':>12} {'sideways':>9}   (% of torso length)")
    for i, joint in enumerate(H36M_17.joints):
        distance = np.linalg.norm(offset[keep, i], axis=-1)
        along = (offset[keep, i] * up[keep]).sum(-1)
        side = offset[keep, i] @ np.array([1.0, 0.0])
        row = [np.median(distance), np.quantile(distance, 0.9), along.mean(), side.mean()]
        print(f"{joint:<12} {100 * row[0]:8.2f} {100 * row[1]:8.2f} {100 * row[2]:12.2f} {100 * row[3]:9.2f}")
    print(f"all joints: median {100 * np.median(np.linalg.norm(offset[keep], axis=-1)):.2f} %")


# Which landmarks may speak for a joint; "ears" and the like stand for the left and right one with the same weight.
SPEAKERS = {
    "hip": ("hips", "shoulders"),
    "spine": ("hips", "shoulders"),
    "thorax": ("shoulders", "hips"),
    "neck": ("mouths", "ears", "shoulders"),
    "head": ("ears", "mouths", "shoulders"),
    "l_hip": ("l_hip", "r_hip", "l_shoulder", "r_shoulder"),
    "l_knee": ("l_knee", "l_hip", "l_ankle"),
    "l_ankle": ("l_ankle", "l_knee", "l_heel", "l_foot_index"),
}
RIDGE = 0.02  # per sample, against the rule now in use: what the data do not ask for stays


def fit(table: Path) -> None:
    """Least squares for the weights of the rules, summing to 1, shared by left and right; printed, not written."""
    data = np.load(table)
    truth, landmarks = data["keypoints"], data["landmarks"]
    converted = BLAZEPOSE33_H36M17.points(landmarks)
    wrong, clear = swapped(truth, converted)
    scale = torso(truth)
    near = np.median(np.linalg.norm(converted - truth, axis=-1), axis=-1) < 0.3 * scale
    keep = near & ~(wrong & clear) & (data["visibility"].min(1) > 0.3)
    landmarks = (landmarks[keep] - truth[keep, :1]) / scale[keep, None, None]
    truth = (truth[keep] - truth[keep, :1]) / scale[keep, None, None]
    flip = np.array([-1.0, 1.0])
    both = np.concatenate([landmarks, landmarks[:, list(BLAZEPOSE_33.mirror)] * flip])
    target = np.concatenate([truth, truth[:, list(H36M_17.mirror)] * flip])
    print(f"{keep.sum()} frames")
    for joint, speakers in SPEAKERS.items():
        names = [["l_" + n[:-1], "r_" + n[:-1]] if n.endswith("s") else [n] for n in speakers]
        columns = np.stack([both[:, [BLAZEPOSE_33.index(n) for n in group]].mean(1).ravel() for group in names], 1)
        rule = BLAZEPOSE33_H36M17.rules[joint]
        prior = np.array([sum(rule.get(n, 0.0) for n in group) for group in names])
        goal = target[:, H36M_17.index(joint)].ravel() - columns @ prior
        steps = columns[:, 1:] - columns[:, :1]  # moving weight from the first speaker to another keeps the sum at 1
        normal = steps.T @ steps / len(steps) + RIDGE**2 * np.eye(steps.shape[1])
        change = np.linalg.solve(normal, steps.T @ goal / len(steps))
        weights = prior + np.concatenate([[-change.sum()], change])
        text = ", ".join(f'"{n}": {w / len(g):.3f}' for g, w in zip(names, weights, strict=True) for n in g)
        before, after = (np.sqrt(np.mean(g**2)) for g in (goal, goal - steps @ change))
        print(f"{joint}: {{{text}}}   rms {100 * before:.1f} -> {100 * after:.1f} %")


def noise(table: Path) -> None:
    """Write the training's noise table from the observations, in person sizes."""
    data = np.load(table)
    truth = data["keypoints"]
    size = np.sqrt(((truth - truth.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))
    error = (BLAZEPOSE33_H36M17.points(data["landmarks"]) - truth) / size[:, None, None]
    confidence = data["visibility"] @ BLAZEPOSE33_H36M17.shares.T
    keep = np.linalg.norm(error, axis=-1).mean(-1) < 0.6  # beyond that another thing was tracked, not the person
    np.savez_compressed(
        TABLE,
        error=error[keep].astype(np.float16),
        confidence=confidence[keep].astype(np.float16),
        yaw=yaw_of(data["joints"][keep]).astype(np.float32),
    )
    print(f"{keep.sum()} of {len(keep)} rows -> {TABLE} ({TABLE.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["observe", "bias", "fit", "noise"])
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("data/blazepose_on_actor.npz"))
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.4)
    args = parser.parse_args()
    if args.action == "observe":
        observe(args.out, args.films, args.seconds)
    else:
        {"bias": bias, "fit": fit, "noise": noise}[args.action](args.table or args.out)
