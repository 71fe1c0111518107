"""The networks of Li & Lee 2020, "Weakly Supervised Generative Network for Multiple 3D Human Pose Hypotheses" (BMVC
2020): pose generator, camera network, encoder and discriminator. Leaky ReLU 0.2 throughout, no norms, no dropout.

Poses are COORDINATE-major vectors of 16 joints, as in RepNet (Wandt & Rosenhahn 2019): 16 x, 16 y and, in 3D, 16 z.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

JOINTS = (
    *("r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "hip", "thorax", "neck", "head"),
    *("l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist"),
)
# The bones of the kinematic chain space as (joint, joint); their signs cancel nowhere, so the order counts.
BONES = (
    *((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (7, 10), (10, 11), (11, 12)),
    *((7, 13), (13, 14), (14, 15), (3, 6), (0, 6)),
)


def linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """Truncated normal with fan-in scaling, factor 2 (TensorFlow 1 corrects for the truncation by 1.3); zero bias."""
    layer = nn.Linear(in_features, out_features, bias)
    std = math.sqrt(1.3 * 2.0 / in_features)
    nn.init.trunc_normal_(layer.weight, std=std, a=-2.0 * std, b=2.0 * std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.2)


class Pair(nn.Module):
    """x + fc(fc(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = linear(width, width)
        self.second = linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + leaky(self.second(leaky(self.first(x))))


class Features(nn.Module):
    """(B,inputs) 2D -> (B,width): what pose and camera network share."""

    def __init__(self, width: int, inputs: int = 32) -> None:
        super().__init__()
        self.stem = linear(inputs, width)
        self.pair = Pair(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.pair(leaky(self.stem(x)))


class PoseNet(nn.Module):
    """features (B,width), code (B,H,latent) -> (B,H,48) in the template frame.

    The first layer sees both, concatenated; its matrix is kept in two parts, so that the part of the features is
    computed once per person and not once per hypothesis."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.from_features = linear(width, width)
        self.from_code = linear(latent, width, bias=False)
        self.second = linear(width, width)
        self.pair = Pair(width)
        self.head = linear(width, 48)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        features = features[:, None]
        mixed = self.second(leaky(self.from_features(features) + self.from_code(code)))
        return self.head(self.pair(features + leaky(mixed)))


class CameraNet(nn.Module):
    """features (B,width) -> (B,2,3): the weak perspective camera from the template frame to the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pairs = nn.Sequential(Pair(width), Pair(width))
        self.head = linear(width, 6)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.pairs(features)).unflatten(1, (2, 3))


class Generator(nn.Module):
    """2D (B,inputs), code (B,H,latent) -> poses (B,H,48) and camera (B,2,3)."""

    def __init__(self, width: int = 1024, latent: int | None = None, inputs: int = 32) -> None:
        super().__init__()
        self.features = Features(width, inputs)
        self.pose = PoseNet(width, width if latent is None else latent)
        self.camera = CameraNet(width)

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return self.pose(features, code), self.camera(features)


class Encoder(nn.Module):
    """poses (...,48) -> the code that they were made from (...,latent); against mode collapse, training only."""

    def __init__(self, width: int = 1024, latent: int | None = None) -> None:
        super().__init__()
        self.stem = linear(48, width)
        self.pair = Pair(width)
        self.head = linear(width, width if latent is None else latent)

    def forward(self, pose: Tensor) -> Tensor:
        return self.head(self.pair(leaky(self.stem(pose))))


class Branch(nn.Module):
    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.stem = linear(in_features, width)
        self.pairs = nn.Sequential(Pair(width), Pair(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.pairs(leaky(self.stem(x)))


class Discriminator(nn.Module):
    """poses (B,48) -> (B,out): one branch on the pose, one on its kinematic chain space (RepNet)."""

    bones: Tensor

    def __init__(self, pose_width: int = 128, kcs_width: int = 1024, out_features: int = 8) -> None:
        super().__init__()
        self.pose = Branch(48, pose_width)
        self.kcs = Branch(len(BONES) ** 2, kcs_width)
        self.head = linear(pose_width + kcs_width, out_features)
        self.register_buffer("bones", bone_matrix(), persistent=False)

    def forward(self, pose: Tensor) -> Tensor:
        bones = pose.unflatten(1, (3, 16)) @ self.bones
        gram = (bones.mT @ bones).flatten(1)
        return self.head(torch.cat([self.pose(pose), self.kcs(gram)], 1))


def bone_matrix() -> Tensor:
    """(16,15): joints (3,16) times it are the bone vectors."""
    matrix = torch.zeros(16, len(BONES))
    for bone, (start, end) in enumerate(BONES):
        matrix[start, bone] = 1.0
        matrix[end, bone] = -1.0
    return matrix
