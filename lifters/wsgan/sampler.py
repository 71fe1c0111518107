"""Li & Lee 2020 (BMVC) behind the lifter contract: a latent code per hypothesis, template frame -> camera frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posepipe.lifters.calibration import Calibration, calibrated
from posepipe.lifters.codec import pick
from posepipe.lifters.wsgan.net import JOINTS, Generator
from posepipe.skeleton import H36M_17

CAMERA_SCALE = 1.1  # size of training poses in the camera frame over those in the template frame (authors' evaluation)


class WsganSampler(nn.Module):
    """keypoints (B,17,2), confidence (B,17), noise (B,H,latent) -> hypotheses (B,H,17,3) metres, log_weights (B,H).

    mode "sample": the noise is the latent code; all weigh the same, -log H. mode "zero": the authors' zero-code
    result, the pose of the code 0, whatever the noise; the checkpoint then fixes H = 1.
    The network gives no spine; it is put half-way between hip and thorax. use_confidence: the network is given the
    confidences beside the 2D; published without. spread: what the noise is multiplied by to be a code; fitted after
    training, so that the regions cover what they claim. calibrated: and so was the spread of the poses
    (calibration.py).
    """

    layout: Tensor

    def __init__(
        self,
        mode: str = "sample",
        width: int = 1024,
        latent: int | None = None,
        use_confidence: bool = False,
        spread: float = 1.0,
        calibrated: bool = False,
    ) -> None:
        super().__init__()
        if mode not in ("sample", "zero"):
            raise ValueError(f"mode must be 'sample' or 'zero', not {mode!r}")
        self.mode, self.use_confidence = mode, use_confidence
        self.net = Generator(width, latent, 48 if use_confidence else 32)
        self.register_buffer("layout", _layout(), persistent=False)
        self.calibration = Calibration() if calibrated else None

    def forward(self, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        pose, camera = self.net(self.given(keypoints, confidence), noise * 0.0 if self.mode == "zero" else noise)
        zero = torch.zeros_like(noise[..., 0])
        log_weights = zero - torch.log(torch.ones_like(zero).sum(1, keepdim=True))
        fitted = self.calibration if self.mode == "sample" else None
        return calibrated(fitted, self.place(pose, camera), log_weights, confidence)

    def given(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        """(B,17,2), (B,17) -> what the network is given, (B,32) or (B,48)."""
        x = normalise(keypoints, confidence)
        if not self.use_confidence:
            return x
        _, seen, trust = _chosen(keypoints, confidence)
        return torch.cat([x, torch.where(seen, trust, torch.zeros_like(trust))], 1)

    def place(self, pose: Tensor, camera: Tensor) -> Tensor:
        """Template poses (B,H,48) and camera (B,2,3) -> (B,H,17,3) metres, hip-relative, camera frame."""
        turned = rotation(camera)[:, None] @ pose.unflatten(-1, (3, 16))
        return CAMERA_SCALE * (self.layout @ turned.mT)


def normalise(keypoints: Tensor, confidence: Tensor) -> Tensor:
    """(B,17,2), (B,17) -> (B,32): the mean of the visible joints is removed and the standard deviation over x and y
    together divided out, as in RepNet's evaluation, whose data the authors use. Unseen joints become 0."""
    xy, seen, _ = _chosen(keypoints, confidence)
    weight = seen.to(xy.dtype)[..., None]
    xy = torch.where(seen[..., None], xy, torch.zeros_like(xy))
    count = weight.sum(1, keepdim=True).clamp(min=1.0)
    xy = (xy - xy.sum(1, keepdim=True) / count) * weight
    variance = xy.square().sum((1, 2), keepdim=True) / (2.0 * count)
    return (xy / torch.sqrt(variance.clamp(min=1e-12))).mT.flatten(1)


def _chosen(keypoints: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The network's joints: 2D (B,16,2), whether they were seen (B,16), confidences (B,16)."""
    order = [H36M_17.index(name) for name in JOINTS]
    xy, trust = pick(keypoints, 1, order), pick(confidence, 1, order)
    return xy, (trust > 0) & ~torch.isnan(xy).any(-1), trust


def rotation(camera: Tensor) -> Tensor:
    """(B,2,3) camera -> (B,3,3): M over its spectral norm, and the cross product of its rows as the third. Only a
    rotation as far as M is a scaled orthogonal projection, which the camera loss asks for; kept as published.

    The spectral norm is that of the 2x2 matrix M M^T in closed form: no SVD in the graph."""
    x, y = camera[:, 0], camera[:, 1]
    a, b, c = (x * x).sum(1), (x * y).sum(1), (y * y).sum(1)
    largest = 0.5 * (a + c) + torch.sqrt((0.5 * (a - c)).square() + b.square())
    scale = torch.sqrt(largest.clamp(min=1e-12))[:, None]  # a person without any visible joint may give M = 0
    x, y = x / scale, y / scale
    left, right = (1, 2, 0), (2, 0, 1)
    z = pick(x, 1, left) * pick(y, 1, right) - pick(x, 1, right) * pick(y, 1, left)
    return torch.stack([x, y, z], 1)


def _layout() -> Tensor:
    """(17,16): from the network's joints to H36M-17 relative to the hip."""
    matrix = torch.zeros(17, 16)
    for row, name in enumerate(H36M_17.joints):
        if name == "spine":
            matrix[row, JOINTS.index("hip")] += 0.5
            matrix[row, JOINTS.index("thorax")] += 0.5
        else:
            matrix[row, JOINTS.index(name)] += 1.0
    matrix[:, JOINTS.index("hip")] -= 1.0
    return matrix
