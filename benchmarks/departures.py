"""What our two switchable departures from the papers do, in numbers.

    python benchmarks/departures.py --data data/cmu_h36m17.h5

PRPose: the authors draw independent noise for the mirrored copy (`faithful`), by default we mirror the noisy pose.
Around a trained lifter (the shipped martinez, its own mirror averaging off) on people that it has not seen, exact 2D in
person space, with the variance network silenced, so that sigma is alpha everywhere: what is measured is the sampling.

DRPose: the authors clamp every coordinate to +-1.1 m around the hip (`faithful`). Trained weights of it are not to be
had, so the clamp is applied to true poses: what it costs a denoiser that makes no error of its own.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from posepipe.camera import from_fov, project
from posepipe.lifters.build import load
from posepipe.lifters.catalogue import entry
from posepipe.lifters.drpose.sampler import CLAMP
from posepipe.lifters.prpose.sampler import PrposeSampler
from posepipe.lifters.space import from_person, to_person
from posepipe.skeleton import H36M_17
from posepipe.training.data.motion import load_motion
from posepipe.training.virtual_camera import world_to_camera

HYPOTHESES = 20


class Trained(nn.Module):
    """(N,17,3) tokens (x, y, confidence) -> (N,17,3) metres by a lifter of ours."""

    def __init__(self, lifter: nn.Module) -> None:
        super().__init__()
        self.lifter = lifter

    def forward(self, tokens: Tensor) -> Tensor:
        pose: Tensor = self.lifter.pose(tokens[..., :2], tokens[..., 2])
        return pose


def seen_people(data: Path, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,17,3) hip-relative truth of validation people in the frame of person space, (N,17,2), (N,17)."""
    joints = np.concatenate([c.joints for c in load_motion(data, "validation")]).astype(np.float64)
    rng = np.random.default_rng(0)
    joints = joints[rng.choice(len(joints), min(frames, len(joints)), replace=False)]
    angles = (rng.uniform(-math.pi, math.pi, len(joints)), rng.uniform(-0.2, 0.1, len(joints)), np.zeros(len(joints)))
    relative = (joints - joints[:, :1]) @ np.swapaxes(world_to_camera(*angles), -1, -2)
    camera = from_fov(1000, 1000, 60)
    view = to_person(project(relative + [0, 0, 4.0], camera), np.ones(relative.shape[:2]), camera)
    truth = np.einsum("nij,nkj->nki", view.rotation, relative)
    assert np.allclose(from_person(truth[:, None], view.rotation)[:, 0], relative, atol=1e-4)
    return truth, view.keypoints, view.confidence


def prpose(data: Path, frames: int) -> None:
    truth, keypoints, confidence = seen_people(data, frames)
    _, lifter = load(entry("martinez").checkpoint_path, {"network": {"flip": False}})
    given = torch.from_numpy(keypoints), torch.from_numpy(confidence)
    print(f"PRPose around martinez, {len(truth)} frames, H = {HYPOTHESES}, mm")
    print("alpha  mode       spread   MPJPE of the mean   best of 20 (oracle)")
    for alpha in (0.02, 0.05, 0.1):
        spreads = []
        for faithful in (True, False):
            sampler = PrposeSampler(Trained(lifter), "mlp", alpha, faithful, use_confidence=True).eval()
            with torch.no_grad():
                sampler.net.variance.head.weight.zero_()
                sampler.net.variance.head.bias.zero_()
                shape = (len(truth), HYPOTHESES, 2 if faithful else 1, 17, 2)
                noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
                poses = sampler(*given, noise)[0].numpy()
            errors = np.linalg.norm(poses - truth[:, None], axis=-1).mean(-1)
            mean = np.linalg.norm(poses.mean(1) - truth, axis=-1).mean()
            spreads.append(np.sqrt(poses.var(1).sum(-1)).mean())
            mode, best = "faithful" if faithful else "default", errors.min(1).mean()
            print(f"{alpha:<5}  {mode:<9} {1e3 * spreads[-1]:7.1f} {1e3 * mean:12.1f} {1e3 * best:18.1f}")
        print(f"       faithful / default spread {spreads[0] / spreads[1]:.2f}")


def drpose(data: Path) -> None:
    joints = np.concatenate([c.joints for split in ("train", "validation") for c in load_motion(data, split)])
    relative = (joints - joints[:, :1]).astype(np.float64)
    wrists, head = [H36M_17.index(name) for name in ("l_wrist", "r_wrist")], [H36M_17.index("head")]
    raised = relative[(relative[:, wrists, 1] > relative[:, head, 1]).any(1)]
    print(f"\nDRPose's clamp to +-{CLAMP} m on true poses (world axes)")
    print(f"largest coordinate of {len(relative)} frames: {np.abs(relative).max():.2f} m")
    print(f"{len(raised)} frames with a wrist above the head; frames hit, error of the joints hit, mean / max, mm")
    for taller in (1.0, 1.05, 1.1, 1.2):
        poses = taller * raised
        lost = np.linalg.norm(poses - poses.clip(-CLAMP, CLAMP), axis=-1)
        hit = lost > 0
        mean, most = (1e3 * lost[hit].mean() if hit.any() else 0.0), 1e3 * lost.max()
        print(f"people {taller:.2f} times as tall  {100 * hit.any(1).mean():6.2f} %  {mean:6.0f} / {most:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/cmu_h36m17.h5"), help="see `posepipe data build`")
    parser.add_argument("--frames", type=int, default=1000)
    args = parser.parse_args()
    prpose(args.data, args.frames)
    drpose(args.data)


if __name__ == "__main__":
    main()
