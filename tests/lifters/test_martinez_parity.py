from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from posepipe.lifters.martinez.net import MaxNormLinear, ResidualLinear
from posepipe.lifters.martinez.sampler import MartinezSampler
from posepipe.training.import_checkpoint.martinez_tf import import_martinez
from posepipe.training.import_checkpoint.statistics import Statistics


@pytest.fixture
def imported(authors: Path) -> MartinezSampler:
    result = import_martinez(authors / "martinez")
    assert not result.unexpected
    sampler = MartinezSampler(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


@pytest.mark.shared
def test_the_authors_network_is_reproduced(
    imported: MartinezSampler, authors: Path, parity: Callable[..., None]
) -> None:
    io = np.load(authors / "martinez" / "io.npz")
    with torch.no_grad():
        out = imported.net(torch.from_numpy(io["x"])).numpy()
    parity("martinez", "one forward", out, io["out"])
    assert np.mean((out - io["y"]) ** 2) == pytest.approx(float(io["loss"]), rel=1e-5)


@pytest.mark.shared
def test_batch_statistics_in_training_mode_are_the_authors(
    imported: MartinezSampler, authors: Path, parity: Callable[..., None]
) -> None:
    io = np.load(authors / "martinez" / "io.npz")
    imported.train()
    for module in imported.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        out = imported.net(torch.from_numpy(io["x"])).numpy()
    parity("martinez", "training mode, batch statistics", out, io["out_train_mode"])


@pytest.mark.shared
def test_pixels_and_millimetres_go_through_the_statistics(authors: Path) -> None:
    """Screen coordinates in and metres out give what the authors' pixel and millimetre standardisation gives."""
    random = np.random.default_rng(3)
    width, height = 1000.0, 1002.0
    stats = Statistics(
        random.uniform(400, 600, (16, 2)), random.uniform(50, 150, (16, 2)),
        random.uniform(-300, 300, (16, 3)), random.uniform(50, 250, (16, 3)), np.array([width, height]),
    )  # fmt: skip
    result = import_martinez(authors / "martinez", stats)
    sampler = MartinezSampler(**result.network)
    sampler.load_state_dict(result.state)
    sampler.eval()
    io = np.load(authors / "martinez" / "io.npz")
    pixels = np.full((16, 17, 2), np.nan)
    order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16]
    pixels[:, order] = io["x"].reshape(16, 16, 2) * stats.std_2d + stats.mean_2d
    screen = torch.from_numpy((pixels / width * 2 - np.array([1, height / width])).astype(np.float32))
    with torch.no_grad():
        got, _ = sampler(screen, torch.ones(16, 17), torch.zeros(16, 1))
    millimetres = io["out"].reshape(16, 16, 3) * stats.std_3d + stats.mean_3d
    assert np.abs(1000 * got[:, 0, 1:].numpy() - millimetres).max() < 0.1
    assert not got[:, 0, 0].any()


def test_pinned_numbers(pinned: Callable[[str], Any]) -> None:
    data = pinned("martinez")
    data.check_sampler(data.fill(MartinezSampler(**data.network)))


def test_max_norm_clips_long_matrices_and_leaves_short_ones() -> None:
    layer = MaxNormLinear(3, 2)
    x = torch.eye(3)
    for length, kept in ((4.0, 1.0), (0.5, 0.5)):
        with torch.no_grad():
            layer.weight.mul_(length / layer.weight.norm())
            layer.bias.zero_()
            assert layer(x).norm().item() == pytest.approx(kept, rel=1e-6)


def test_size_of_the_published_network() -> None:
    assert sum(p.numel() for p in ResidualLinear(32).parameters()) == 4_291_632
