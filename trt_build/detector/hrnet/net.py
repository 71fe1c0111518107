"""HRNet for keypoints (Sun, Xiao, Liu, Wang 2019, "Deep High-Resolution Representation Learning for Human Pose
Estimation", CVPR, section 3 and table 1 of the supplement): a branch at a quarter of the crop's resolution is kept all
the way, branches at half the resolution of the last are added stage by stage, and every module exchanges them all.

Written from the paper. The parameters have the names of the authors' files and of MMPose's, so that both load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

_MODULES = (1, 4, 3)  # exchange modules of stages 2, 3, 4
_BLOCKS = 4  # residual blocks of a branch in a module
_STEM = 64


class HrNet(nn.Module):
    """(B, 3, H, W) normalised RGB -> (B, joints, H/4, W/4) heatmaps. width: channels of the finest branch (32 or 48 in
    the paper); the k-th has 2^k times as many."""

    def __init__(self, width: int = 32, joints: int = 17) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, _STEM, 3, 2), nn.BatchNorm2d(_STEM)
        self.conv2, self.bn2 = _conv(_STEM, _STEM, 3, 2), nn.BatchNorm2d(_STEM)
        self.layer1 = nn.Sequential(
            Bottleneck(_STEM, _STEM), *(Bottleneck(4 * _STEM, _STEM) for _ in range(_BLOCKS - 1))
        )
        before: list[int] = [4 * _STEM]
        for stage, modules in zip((2, 3, 4), _MODULES, strict=True):
            after = [width << k for k in range(stage)]
            setattr(self, f"transition{stage - 1}", _transition(before, after))
            last = stage == 4  # nobody reads the coarser branches behind it
            made = [Exchange(after, 1 if last and m == modules - 1 else stage) for m in range(modules)]
            setattr(self, f"stage{stage}", nn.Sequential(*made))
            before = after
        self.final_layer = nn.Conv2d(width, joints, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(image)))
        x = torch.relu(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        for stage in (2, 3, 4):
            changes = cast(nn.ModuleList, getattr(self, f"transition{stage - 1}"))
            coarsest = branches[-1]
            entered = []
            for k, change in enumerate(changes):
                came = branches[k] if k < len(branches) else coarsest
                entered.append(came if change is None else change(came))
            branches = entered
            for module in cast(nn.Sequential, getattr(self, f"stage{stage}")):
                branches = module(branches)
        return self.final_layer(branches[0])


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with four times the channels at the end (He et al. 2016)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        outer = 4 * inner
        self.conv1, self.bn1 = _conv(channels, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = _conv(inner, inner, 3), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = _conv(inner, outer, 1), nn.BatchNorm2d(outer)
        same = channels == outer
        self.downsample = None if same else nn.Sequential(_conv(channels, outer, 1), nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Basic(nn.Module):
    """Two 3x3 with a shortcut (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, channels, 3), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _conv(channels, channels, 3), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class Exchange(nn.Module):
    """Section 3, "repeated multi-scale fusion": residual blocks in every branch, then each of the first `outputs`
    branches becomes the sum of all, brought to its resolution: finer ones by strided 3x3, coarser ones by 1x1 and
    nearest-neighbour upsampling."""

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(Basic(c) for _ in range(_BLOCKS))) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_brought(channels, source, target) for source in range(len(channels)))
            for target in range(outputs)
        )

    def forward(self, branches: list[torch.Tensor]) -> list[torch.Tensor]:
        done = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        result = []
        for row in self.fuse_layers:
            total = None
            for change, x in zip(cast(nn.ModuleList, row), done, strict=True):
                part = change(x)
                total = part if total is None else total + part
            assert total is not None
            result.append(torch.relu(total))
        return result


def _brought(channels: Sequence[int], source: int, target: int) -> nn.Module:
    here, there = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(_conv(here, there, 1), nn.BatchNorm2d(there), up)
    steps: list[nn.Module] = [
        nn.Sequential(_conv(here, here, 3, 2), nn.BatchNorm2d(here), nn.ReLU()) for _ in range(target - source - 1)
    ]
    steps.append(nn.Sequential(_conv(here, there, 3, 2), nn.BatchNorm2d(there)))
    return nn.Sequential(*steps)


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """Into the next stage: branches that are there keep their resolution (None where nothing changes), the new one is
    made of the coarsest by a strided 3x3."""
    changes: list[nn.Module | None] = []
    for k, channels in enumerate(after):
        if k < len(before):
            same = before[k] == channels
            changes.append(
                None if same else nn.Sequential(_conv(before[k], channels, 3), nn.BatchNorm2d(channels), nn.ReLU())
            )
        else:
            halved = nn.Sequential(_conv(before[-1], channels, 3, 2), nn.BatchNorm2d(channels), nn.ReLU())
            changes.append(nn.Sequential(halved))
    return nn.ModuleList(cast(list[nn.Module], changes))


def _conv(channels: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, size, stride, padding=size // 2, bias=False)
