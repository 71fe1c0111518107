"""How long one overlay picture takes: python benchmarks/render_speed.py [--hypotheses 20] [--people 1] [--png FILE]

Draws a made-up person over a made-up 720x1280 frame with OpenCV on one thread, and prints milliseconds per part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from posepipe.camera import from_fov, project
from posepipe.pipeline.render.fan3d import draw_view3d
from posepipe.pipeline.render.layout import compose, panel_widths
from posepipe.pipeline.render.legend import Caption
from posepipe.pipeline.render.overlay2d import draw_pose2d
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.types import Hypotheses, Pose2D, Pose3D, Track

# A person facing the camera, hip-relative metres, x right, y down, z away: arms half raised, one knee bent.
STANDING = np.array(
    [
        (0, 0, 0), (-0.13, 0.01, 0), (-0.17, 0.43, -0.03), (-0.18, 0.84, 0.06),
        (0.13, 0.01, 0), (0.19, 0.40, -0.16), (0.20, 0.80, 0.05),
        (0.01, -0.24, 0.02), (0.02, -0.49, 0), (0.02, -0.59, -0.04), (0.02, -0.70, 0),
        (0.18, -0.45, 0), (0.33, -0.21, -0.06), (0.40, -0.42, -0.19),
        (-0.15, -0.45, 0.01), (-0.34, -0.29, 0.08), (-0.52, -0.45, -0.02),
    ]
)  # fmt: skip
# Metres of depth doubt per joint: grows along the limbs.
DOUBT = np.array([0, 2, 6, 11, 2, 7, 12, 2, 3, 4, 6, 4, 8, 14, 4, 8, 15]) / 100


def make_track(number: int, root: tuple[float, float, float], hypotheses: int, size: tuple[int, int]) -> Track:
    """A made-up person at `root` (metres, camera frame) seen by a 60 degree camera of `size` (width, height)."""
    rng = np.random.default_rng(number)
    parents = np.array([0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15])
    step = rng.standard_normal((hypotheses, 17)) * DOUBT * 0.7
    drift = np.zeros((hypotheses, 17))
    for joint in range(1, 17):
        drift[:, joint] = drift[:, parents[joint]] * 0.8 + step[:, joint]
    joints = np.repeat(STANDING[None], hypotheses, 0)
    joints[..., 2] += drift
    joints[..., :2] *= (root[2] + joints[..., 2:]) / (root[2] + STANDING[:, 2:])
    weights = rng.dirichlet(np.full(hypotheses, 2.0))
    mean = np.einsum("h,hjc->jc", weights, joints)
    std = np.sqrt(np.einsum("h,hjc->j", weights, (joints - mean) ** 2))
    camera = from_fov(*size)
    pixels = project(STANDING + np.array(root), camera).astype(np.float32)
    confidence = rng.uniform(0.7, 1, 17).astype(np.float32)
    pose2d = Pose2D(pixels, confidence, "h36m17")
    return Track(
        number,
        pose2d,
        pose2d,
        Hypotheses(joints.astype(np.float32), np.log(weights).astype(np.float32)),
        Pose3D(mean.astype(np.float32), std.astype(np.float32), np.array(root, np.float32)),
    )


def make_group(people: int, hypotheses: int, size: tuple[int, int]) -> tuple[Track, ...]:
    """People side by side, every second one further back."""
    places = [(1.1 * (i - (people - 1) / 2), 0.1, 3.4 + 0.6 * (i % 2)) for i in range(people)]
    return tuple(make_track(i + 1, place, hypotheses, size) for i, place in enumerate(places))


def median_ms(call: Callable[[], object], repeats: int = 80) -> tuple[float, float]:
    """Median milliseconds of wall clock and of processor time; they part when the machine does something else too."""
    call()
    wall, busy = [], []
    for _ in range(repeats):
        start, start_busy = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_busy)
    return 1e3 * float(np.median(wall)), 1e3 * float(np.median(busy))


def measure(hypotheses: int, people: int, size: tuple[int, int] = (720, 1280)) -> dict[str, tuple[float, float]]:
    """Median (wall, processor) milliseconds of the whole picture, its 3D half, one person in 2D and the floor state."""
    frame = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    tracks = make_group(people, hypotheses, size)
    view = ViewSettings()
    caption = Caption(28.4, "mdn", hypotheses, "blazepose", "onnxruntime")
    ground = update_ground(GroundState(), tracks, view)
    right = panel_widths(*size, view.height)[1]
    return {
        "whole picture": median_ms(lambda: compose(frame, tracks, caption, view, ground)),
        "3D view": median_ms(lambda: draw_view3d(tracks, ground, view, right, view.height)),
        "2D person": median_ms(lambda: draw_pose2d(frame.copy(), tracks[0].pose2d, "#1")),
        "floor state": median_ms(lambda: update_ground(ground, tracks, view)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hypotheses", type=int, default=20)
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--landscape", action="store_true")
    parser.add_argument("--png", type=Path, help="also save the picture")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    size = (1280, 720) if args.landscape else (720, 1280)
    for part, (wall, busy) in measure(args.hypotheses, args.people, size).items():
        print(f"{part:>14}  {wall:6.2f} ms wall  {busy:6.2f} ms processor")
    if args.png:
        frame = np.full((size[1], size[0], 3), (120, 126, 130), np.uint8)
        tracks = make_group(args.people, args.hypotheses, size)
        view = ViewSettings()
        caption = Caption(28.4, "mdn", args.hypotheses, "blazepose", "onnxruntime", 2.13)
        picture = compose(frame, tracks, caption, view, update_ground(GroundState(), tracks, view))
        cv2.imwrite(str(args.png), picture[..., ::-1])


if __name__ == "__main__":
    main()
