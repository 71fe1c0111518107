"""PRPose (Zeng et al. 2024) behind the lifter contract: noise on the 2D pose, as strong per joint as the lifter is
expected to be wrong there, and a single-hypothesis lifter that restores each noisy pose to 3D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from posepipe.lifters.calibration import Calibration, calibrated
from posepipe.lifters.codec import MIRROR, mirror_joints, mirror_keypoints, pick
from posepipe.lifters.joint_codec import JointCodec, equal_log_weights, hip_at_origin, with_mirror
from posepipe.lifters.prpose.net import LinearVariance, ModulatedGcn


class Networks(nn.Module):
    """The two networks, tokens (B,17,C) each: lifter -> (B,17,3) metres, variance -> (B,17,1) error ratios."""

    def __init__(self, lifter: nn.Module, variance: nn.Module) -> None:
        super().__init__()
        self.lifter = lifter
        self.variance = variance


class PrposeSampler(nn.Module):
    """keypoints (B,17,2), confidence (B,17), noise (B,H,n,17,2) -> hypotheses (B,H,17,3) metres, log_weights (B,H).

    Every hypothesis is the average of the lifter's results for a noisy pose and for a noisy mirrored pose.
    faithful True: n = 2, as published the mirrored copy has noise of its own, which averages half of the noise's
    variance away where the lifter commutes with mirroring. False: n = 1, the mirrored copy is the mirror image of the
    noisy pose.

    sigma = max(variance(2D), 1) * alpha in the units of the input space, equal for x and y, once per person. The
    variance network estimates the joint's error over the mean error. Faithful: each copy has its own sigma.
    Otherwise: both are averaged, so that mirroring the input mirrors the result exactly.

    lifter: "mgcn" (the light modulated GCN), "htnet", "martinez" (ours; needs use_confidence), or any module from
    (N,17,C) tokens to (N,17,3) metres; variance: "mgcn" or "mlp"; the `*_network` mappings are their constructor
    arguments. calibrated: the spread of the hypotheses was fitted after training (calibration.py).
    """

    def __init__(
        self,
        lifter: str | nn.Module = "htnet",
        variance: str = "mgcn",
        alpha: float = 0.005,
        faithful: bool = False,
        use_confidence: bool = False,
        calibrated: bool = False,
        lifter_network: Mapping[str, Any] | None = None,
        variance_network: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if alpha <= 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha
        self.faithful = faithful
        self.input = JointCodec(use_confidence)
        self.calibration = Calibration() if calibrated else None
        channels = self.input.channels
        self.net = Networks(
            _lifter(lifter, channels, lifter_network or {}), _variance(variance, channels, variance_network or {})
        )

    def forward(self, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        pair = with_mirror(keypoints, confidence)
        tokens = self.input(*pair)
        step = (self.input.slope(*pair) * self._sigma(tokens)).unflatten(0, (2, -1))[:, :, None]
        if self.faithful:
            # Sigma of the mirrored copy is in the joint order of the mirrored pose, as its noise is.
            drawn = noise.movedim(2, 0)
        else:
            drawn = torch.stack([noise[:, :, 0], mirror_keypoints(noise[:, :, 0])])
        plain = tokens.unflatten(0, (2, -1))[:, :, None]  # (2,B,1,17,C)
        noisy = plain[..., :2] + drawn * step  # (2,B,H,17,2)
        if self.input.use_confidence:
            noisy = torch.cat([noisy, plain[..., 2:].expand(*noisy.shape[:-1], 1)], -1)
        poses = self.net.lifter(noisy.flatten(0, 2))
        one, other = poses.unflatten(0, (2, noise.shape[0], noise.shape[1])).unbind(0)
        hypotheses = hip_at_origin(0.5 * (one + mirror_joints(other)))
        return calibrated(self.calibration, hypotheses, equal_log_weights(noise[:, :, 0, 0, 0]), confidence)

    def sigma(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        """(2B,17,1) standard deviations for the poses and, behind them, for their mirror images."""
        return self._sigma(self.input(*with_mirror(keypoints, confidence)))

    def _sigma(self, tokens: Tensor) -> Tensor:
        sigma = self.net.variance(tokens).clamp(min=1.0) * self.alpha
        if self.faithful:
            return sigma
        plain, mirrored = sigma.unflatten(0, (2, -1)).unbind(0)
        mean = 0.5 * (plain + pick(mirrored, 1, MIRROR))
        return torch.cat([mean, pick(mean, 1, MIRROR)])


def variance_target(predicted: Tensor, truth: Tensor) -> Tensor:
    """What the variance network learns (by MSE), for a whole training set at once: (N,17,3) results of the frozen
    lifter and truth, hip-relative -> (N,17,1) error per joint over the mean of all errors."""
    distance = (predicted - truth).norm(dim=-1, keepdim=True)
    return distance / distance.mean()


def _lifter(name: str | nn.Module, channels: int, network: Mapping[str, Any]) -> nn.Module:
    if isinstance(name, nn.Module):
        return name
    if name == "mgcn":
        return ModulatedGcn(channels, 3, **{"width": 128, **network}, light=True)
    if name == "htnet":
        from posepipe.lifters.htnet.net import HTNet

        return HTNet(channels, **network)
    if name == "martinez" and channels == 3:
        from posepipe.lifters.prpose.martinez_tokens import MartinezTokens

        return MartinezTokens(network)
    raise ValueError(f"PRPose's lifter must be 'mgcn', 'htnet' or (with confidences) 'martinez', not {name!r}")


def _variance(name: str, channels: int, network: Mapping[str, Any]) -> nn.Module:
    if name == "mgcn":
        return ModulatedGcn(channels, 1, **{"width": 256, **network})
    if name == "mlp":
        return LinearVariance(channels, **network)
    raise ValueError(f"PRPose's variance network must be 'mgcn' or 'mlp', not {name!r}")
