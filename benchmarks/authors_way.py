"""The authors' test loops with our readable networks in eager torch: what `cpu_latency.py` holds the graphs against.

Reproduced: the mirrored branch is a call of its own; DRPose's denoiser sees one row per hypothesis, so that everything
about the person (condition, time embedding, modulation) is calculated for every hypothesis, branch and step; PRPose's
lifter sees all samples, once per branch.

Not reproduced: DRPose's modulations are one matrix here and ten there, and its T_2 is built in every call there. So
this is, if anything, faster than their code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from posepipe.lifters.codec import MIRROR, mirror_joints, mirror_keypoints, pick
from posepipe.lifters.joint_codec import hip_at_origin


def joint_lifter_way(sampler: Any, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> Tensor:
    plain, mirrored = (sampler.net(sampler.input(*b)) for b in branches(keypoints, confidence))
    return hip_at_origin(0.5 * (plain + mirror_joints(mirrored)))[:, None]


def drpose_way(sampler: Any, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> Tensor:
    people, count = noise.shape[:2]
    both = branches(keypoints, confidence)
    tokens = [sampler.input(*b).repeat_interleave(count, 0) for b in both]
    firsts = [sampler.first.pose(*b).repeat_interleave(count, 0) for b in both]
    sample = noise[:, :, 0]
    for step, at in enumerate(sampler.scheduler.timesteps):
        seen, times = sampler.clamp(sample), torch.full((people * count,), at)
        plain, mirrored = (
            sampler.net(t, x.flatten(0, 1)[:, None], f, times).unflatten(0, (people, count))[:, :, 0]
            for t, x, f in zip(tokens, (seen, mirror_joints(seen)), firsts, strict=True)
        )
        clean = sampler.clamp(0.5 * (plain + mirror_joints(mirrored)))
        draw = noise[:, :, step + 1] if step + 1 < sampler.scheduler.draws else None
        sample = sampler.scheduler.step(step, clean, sample, draw, None)
    return hip_at_origin(sample)


def prpose_way(sampler: Any, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> Tensor:
    people, count = noise.shape[:2]
    poses = []
    for copy, (seen, trust) in enumerate(branches(keypoints, confidence)):
        sigma = sampler.net.variance(sampler.input(seen, trust)).clamp(min=1.0) * sampler.alpha
        noisy = (seen[:, None] + sigma[:, None] * noise[:, :, copy]).flatten(0, 1)
        poses.append(sampler.net.lifter(sampler.input(noisy, trust.repeat_interleave(count, 0))))
    return hip_at_origin(0.5 * (poses[0] + mirror_joints(poses[1]))).unflatten(0, (people, count))


def whole_sampler(sampler: Any, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> Tensor:
    return sampler(keypoints, confidence, noise)[0]


def branches(keypoints: Tensor, confidence: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(keypoints, confidence), (mirror_keypoints(keypoints), pick(confidence, 1, MIRROR))]
