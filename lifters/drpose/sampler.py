"""DRPose (Kang et al. 2024) behind the lifter contract: diffusion that refines a first stage's single estimate into
many hypotheses. The whole loop is unrolled for a fixed number of steps, mirror averaging included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from posepipe.errors import UsageError
from posepipe.lifters.calibration import Calibration, calibrated
from posepipe.lifters.codec import mirror_joints
from posepipe.lifters.drpose.net import Denoiser, Person, time_features
from posepipe.lifters.joint_codec import JointCodec, equal_log_weights, hip_at_origin, mean_of_branches, with_mirror
from posepipe.lifters.schedulers import Scheduler, make_scheduler

CLAMP = 1.1  # metres around the hip, as published


class DRPoseSampler(nn.Module):
    """keypoints (B,17,2), confidence (B,17), noise (B,H,N,17,3) -> hypotheses (B,H,17,3) metres, log_weights (B,H).

    Noise draw 0 is the initial sample, draw i the i-th that the loop adds (after step i - 1); N = `noise_shape[0]` is K
    for ddim with eta > 0 (nothing is added after the last step) and 1 for deterministic solvers. Both mirror branches
    use the same noise, since the mirror image is taken of the sample itself.

    first: a lifter with `pose(keypoints, confidence) -> (B,17,3)`, or the description of one: {"lifter": "dcgct" |
    "htnet" | "martinez", **its arguments}; without its own flip, which happens here. faithful: clamp what the denoiser
    sees and gives to +-1.1 m as published; without it, raised arms of tall people stay whole. scheduler: `ddim`
    (published, eta = 1) or `dpm-solver`. noise_scale: metres that one unit of noise is; 1 as published, where the last
    step still sees noise of several decimetres and its estimate has averaged most of the uncertainty away (by
    K = 5: 0.34 m against some 0.1 m). calibrated: the spread of the hypotheses was fitted after training
    (calibration.py).
    """

    features: Tensor

    def __init__(
        self,
        first: nn.Module | Mapping[str, Any],
        steps: int = 5,
        scheduler: str = "ddim",
        eta: float = 1.0,
        flip: bool = True,
        faithful: bool = True,
        use_confidence: bool = False,
        noise_scale: float = 1.0,
        calibrated: bool = False,
        **network: Any,
    ) -> None:
        super().__init__()
        self.flip = flip
        self.noise_scale = noise_scale
        self.faithful = faithful
        self.scheduler: Scheduler = make_scheduler(scheduler, steps, eta)
        self.noise_shape = (self.scheduler.draws, 17, 3)
        self.first: Any = first if isinstance(first, nn.Module) else first_stage(first)
        self.input = JointCodec(use_confidence)
        self.net = Denoiser(self.input.channels, **network)
        self.calibration = Calibration() if calibrated else None
        times = torch.tensor(self.scheduler.timesteps)
        self.register_buffer("features", time_features(times, self.net.channels), persistent=False)

    def forward(self, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        refined = self.trajectory(keypoints, confidence, noise)[-1]
        return calibrated(self.calibration, hip_at_origin(refined), equal_log_weights(noise[:, :, 0, 0, 0]), confidence)

    def trajectory(self, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> list[Tensor]:
        """The clean estimate (B,H,17,3) of every step, the hip as the network gives it; the last one is the result."""
        if self.flip:
            keypoints, confidence = with_mirror(keypoints, confidence)
        person = self.net.prepare(self.input(keypoints, confidence), self.first.pose(keypoints, confidence))
        embedded = self.net.embed_time(self.features)
        if self.noise_scale != 1.0:  # every update is linear in the sample and the noise
            noise = noise * self.noise_scale
        sample, previous, estimates = noise[:, :, 0], None, []
        for step in range(len(self.scheduler.timesteps)):
            clean = self.estimate(sample, person, embedded[step])
            draw = noise[:, :, step + 1] if step + 1 < self.scheduler.draws else None
            sample = self.scheduler.step(step, clean, sample, draw, previous)
            previous = clean
            estimates.append(clean)
        return estimates

    def estimate(self, sample: Tensor, person: Person, embedded: Tensor) -> Tensor:
        """(B,H,17,3) noisy -> (B,H,17,3) clean estimate, the mean of both mirror branches. The clamp is on what the
        denoiser sees and on what it gives; the scheduler goes on with the sample as it is."""
        seen = self.clamp(sample)
        modulation = self.net.modulate(person, embedded)
        if not self.flip:
            return self.clamp(self.net.denoise(seen, person, modulation))
        both = self.net.denoise(torch.cat([seen, mirror_joints(seen)]), person, modulation)
        return self.clamp(mean_of_branches(both))

    def clamp(self, joints: Tensor) -> Tensor:
        return joints.clamp(-CLAMP, CLAMP) if self.faithful else joints


def first_stage(description: Mapping[str, Any]) -> nn.Module:
    """A single-hypothesis lifter from {"lifter": name, **arguments}. Raises UsageError for other names."""
    arguments = {key: value for key, value in description.items() if key != "lifter"}
    arguments.setdefault("flip", False)
    name = description.get("lifter")
    if name == "dcgct":
        from posepipe.lifters.dcgct.sampler import DCGCTSampler

        return DCGCTSampler(**arguments)
    if name == "htnet":
        from posepipe.lifters.htnet.sampler import HTNetSampler

        return HTNetSampler(**arguments)
    if name == "martinez":
        from posepipe.lifters.martinez.sampler import MartinezSampler

        return MartinezSampler(**arguments)
    raise UsageError(f"DRPose cannot refine '{name}'.", "Its first stage is one of dcgct, htnet, martinez.")
