"""How much the answer still depends on resolution, place in the picture and focal length (issue: person space).

    python benchmarks/input_space.py --data data/cmu_h36m17.h5

Subject 05 with exact 2D, 4 m away, seen by one camera after the other; everything but the named thing is the same.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from posepipe.camera import from_fov, project
from posepipe.lifters.catalogue import entry
from posepipe.lifters.space import from_person, to_person
from posepipe.metrics import mpjpe, p_mpjpe
from posepipe.training.data.motion import load_motion
from posepipe.training.virtual_camera import world_to_camera
from posepipe.trt_build.runners.ort import OrtRunner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"))
    parser.add_argument("--lifter", default="martinez")
    args = parser.parse_args()
    frames = np.concatenate([c.joints for c in load_motion(args.data, "validation")]).astype(np.float64)
    rng = np.random.default_rng(0)
    angles = (rng.uniform(-math.pi, math.pi, len(frames)), rng.uniform(-0.2, 0.1, len(frames)), np.zeros(len(frames)))
    relative = (frames - frames[:, :1]) @ np.swapaxes(world_to_camera(*angles), -1, -2)

    def error(true_fov: float, assumed: float, width: int, right_deg: float) -> str:
        true, used = from_fov(width, width, true_fov), from_fov(width, width, assumed)
        place = 4.0 * np.array([math.tan(math.radians(right_deg)), 0, 1]) * math.tan(math.radians(30))
        place = place / math.tan(math.radians(true_fov / 2))  # the same size in the picture at every field of view
        pixels = np.round(project(relative + place, true) * 2) / 2
        view = to_person(pixels, np.ones(pixels.shape[:2]), used)
        noise = np.zeros((len(pixels), runner.contract.hypotheses, *runner.contract.noise_shape), np.float32)
        hypotheses, log_weights = runner.run(view.keypoints, view.confidence, noise)
        pose = (np.exp(log_weights)[..., None, None] * from_person(hypotheses, view.rotation)).sum(1)
        return f"MPJPE {1e3 * mpjpe(pose, relative).mean():6.1f}   P-MPJPE {1e3 * p_mpjpe(pose, relative).mean():6.1f}"

    with OrtRunner(entry(args.lifter).graph_path) as runner:
        print(f"{args.lifter}, {len(frames)} frames; reference: 60°, known, 1000 px, in the middle, 4 m")
        for width in (250, 500, 1000, 4000):
            print(f"resolution {width:>5} px                  {error(60, 60, width, 0)}")
        for right in (0.0, 10.0, 20.0):
            print(f"{right:4.0f}° beside the middle, known camera {error(60, 60, 1000, right)}")
        for fov in (35.0, 45.0, 60.0, 75.0, 90.0):
            print(f"true field of view {fov:3.0f}°, known           {error(fov, fov, 1000, 0)}")
            print(f"true field of view {fov:3.0f}°, assumed 60°     {error(fov, 60, 1000, 0)}")
        for fov in (35.0, 90.0):
            print(f"true {fov:3.0f}°, assumed 60°, 15° beside       {error(fov, 60, 1000, 15)}")


if __name__ == "__main__":
    main()
