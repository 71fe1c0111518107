from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posepipe.errors import CheckpointError
from posepipe.lifters.authors import read_pth
from posepipe.lifters.codec import MIRROR, mirror_joints, mirror_keypoints
from posepipe.lifters.graph import modulated_adjacency
from posepipe.lifters.prpose.authors import from_authors
from posepipe.lifters.prpose.sampler import PrposeSampler, variance_target

SAMPLING = [
    ("prpose_sampling_mgcn_lw", "prpose_mlp_avg/model.pth", "prpose_mgcn_lw/model.pth"),
    ("prpose_sampling_htnet", "prpose_mgcn_avg/model.pth", "prpose_sampling_htnet/sh_model.pth"),
    ("prpose_sampling_htnet_a010", "prpose_mgcn_avg/model.pth", "prpose_sampling_htnet/sh_model.pth"),
]


def load(authors: Path, variance: str, lifter: str, alpha: float = 0.005, faithful: bool = True) -> PrposeSampler:
    result = from_authors(read_pth(authors / variance), read_pth(authors / lifter), alpha, faithful)
    assert not result.unexpected
    sampler = PrposeSampler(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["prpose_mgcn_avg", "prpose_mlp_avg", "prpose_mgcn_lw"])
def test_the_authors_networks_are_reproduced(authors: Path, parity: Callable[..., None], name: str) -> None:
    variance = name if name.endswith("avg") else "prpose_mlp_avg"
    sampler = load(authors, f"{variance}/model.pth", "prpose_mgcn_lw/model.pth")
    net = sampler.net.lifter if name == "prpose_mgcn_lw" else sampler.net.variance
    io = np.load(authors / name / "io.npz")
    with torch.no_grad():
        out = net(torch.from_numpy(io["input_2d"][:, 0])).numpy()
    system = "prpose:mgcn" if name == "prpose_mgcn_lw" else "prpose"
    parity(system, f"{name.removeprefix('prpose_')}, one forward", out, io["output"][:, 0])


@pytest.mark.shared
@pytest.mark.parametrize(("name", "variance", "lifter"), SAMPLING)
def test_the_authors_sampling_is_reproduced(
    authors: Path, parity: Callable[..., None], name: str, variance: str, lifter: str
) -> None:
    io = np.load(authors / name / "io.npz")
    sampler = load(authors, variance, lifter, float(io["alpha"]))
    people, samples = io["output_3d"].shape[:2]
    keypoints = torch.from_numpy(io["input_2d"][:, 0, 0])
    assert torch.equal(mirror_keypoints(keypoints), torch.from_numpy(io["input_2d"][:, 1, 0]))
    noise = torch.from_numpy(io["noise_000"]).view(samples, people, 2, 17, 2).transpose(0, 1)
    with torch.no_grad():
        hypotheses, log_weights = sampler(keypoints, torch.ones(people, 17), noise)
        sigma = sampler.sigma(keypoints, torch.ones(people, 17))
    expected = io["sigma_scaled"].reshape(people, 2, 17, 1).transpose(1, 0, 2, 3).reshape(-1, 17, 1)
    np.testing.assert_allclose(sigma.numpy(), expected, atol=1e-6)
    system = "prpose:mgcn" if "mgcn" in name else "prpose"
    parity(system, f"sampling, 20 hypotheses, alpha {float(io['alpha'])}", hypotheses, io["output_3d"], relative=False)
    np.testing.assert_allclose(log_weights.exp().sum(1).numpy(), 1.0, atol=1e-5)


@pytest.mark.shared
def test_the_skeletons_affinity_is_the_authors(authors: Path) -> None:
    expected = np.load(authors / "prpose_mgcn_lw" / "graph.npz")["adj"]
    np.testing.assert_allclose(modulated_adjacency(), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["prpose_mgcn", "prpose_htnet"])
def test_pinned_numbers(pinned: Callable[[str], Any], name: str) -> None:
    data = pinned(name)
    data.check_sampler(data.fill(PrposeSampler(**data.network)))


@pytest.mark.parametrize("name", ["prpose_mgcn", "prpose_htnet"])
def test_mirrored_input_gives_mirrored_hypotheses(pinned: Callable[[str], Any], name: str) -> None:
    """With the noise mirrored too; as published, the two copies' draws also change places."""
    data = pinned(name)
    sampler = data.fill(PrposeSampler(**data.network))
    keypoints, confidence, noise = (data.given(n) for n in ("keypoints", "confidence", "noise"))
    mirrored = noise.flip(2) if sampler.faithful else mirror_keypoints(noise)
    with torch.no_grad():
        plain, _ = sampler(keypoints, confidence, noise)
        other, _ = sampler(mirror_keypoints(keypoints), confidence[:, MIRROR], mirrored)
    torch.testing.assert_close(mirror_joints(other), plain, atol=1e-5, rtol=0)


def test_same_noise_for_both_copies_is_a_flip_average_of_the_noisy_pose(pinned: Callable[[str], Any]) -> None:
    data = pinned("prpose_mgcn")
    sampler = data.fill(PrposeSampler(**data.network))
    keypoints, noise = data.given("keypoints"), data.given("noise")
    trust = torch.ones(3, 17)
    with torch.no_grad():
        sampler.input.mean.zero_()
        sampler.input.std.fill_(1.0)
        got, _ = sampler(keypoints, trust, noise)
        raw = sampler.net.variance(keypoints), sampler.net.variance(mirror_keypoints(keypoints))[:, MIRROR]
        sigma = data.network["alpha"] * (raw[0].clamp(min=1) + raw[1].clamp(min=1)) / 2
        noisy = keypoints + sigma * noise[:, 2, 0]
        expected = (sampler.net.lifter(noisy) + mirror_joints(sampler.net.lifter(mirror_keypoints(noisy)))) / 2
    torch.testing.assert_close(got[:, 2, 1:], expected[:, 1:], atol=1e-6, rtol=0)


def test_noise_is_never_weaker_than_alpha(pinned: Callable[[str], Any]) -> None:
    data = pinned("prpose_mgcn")
    sampler = data.fill(PrposeSampler(**data.network))
    sigma = sampler.sigma(data.given("keypoints"), data.given("confidence"))
    assert sigma.min().item() == pytest.approx(data.network["alpha"])
    assert sigma.max().item() > 1.05 * data.network["alpha"]


class Flat(torch.nn.Module):
    """The simplest lifter that commutes with mirroring: x and y as they are, z = 0."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([tokens, 0 * tokens[..., :1]], -1)


def spread(faithful: bool) -> torch.Tensor:
    """(16,2) deviations of 4000 hypotheses of Flat, with the variance network silenced: sigma = alpha = 0.1."""
    sampler = PrposeSampler(Flat(), "mlp", alpha=0.1, faithful=faithful).eval()
    noise = torch.randn(1, 4000, 2 if faithful else 1, 17, 2, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        sampler.net.variance.head.weight.zero_()
        hypotheses, _ = sampler(torch.zeros(1, 17, 2), torch.ones(1, 17), noise)
    return hypotheses[0, :, 1:, :2].std(0)


def test_any_single_hypothesis_lifter_spreads_as_its_input_noise() -> None:
    np.testing.assert_allclose(spread(faithful=False).numpy(), 0.1, rtol=0.05)


def test_independent_noise_in_the_mirrored_copy_halves_the_variance() -> None:
    """The authors' quirk: averaging two independent draws leaves 1/sqrt(2) of the spread for a symmetric lifter."""
    np.testing.assert_allclose(spread(faithful=True).numpy(), 0.1 / np.sqrt(2), rtol=0.05)


def test_variance_target_has_mean_one() -> None:
    generator = torch.Generator().manual_seed(9)
    predicted, truth = torch.randn(2, 100, 17, 3, generator=generator)
    target = variance_target(predicted, truth)
    assert target.shape == (100, 17, 1)
    assert target.mean().item() == pytest.approx(1.0, abs=1e-5)
    ratio = (predicted - truth).norm(dim=-1)[0, 0] / (predicted - truth).norm(dim=-1)[5, 6]
    assert (target[0, 0, 0] / target[5, 6, 0]).item() == pytest.approx(ratio.item(), rel=1e-5)


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="must be 'mgcn', 'htnet' or"):
        PrposeSampler("resnet")
    with pytest.raises(ValueError, match="'mgcn' or 'mlp'"):
        PrposeSampler("mgcn", "resnet")


def test_sizes_of_the_published_networks() -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    light = PrposeSampler("mgcn", "mlp").net
    assert count(PrposeSampler().net.variance) == 1_099_100
    assert (count(light.variance), count(light.lifter)) == (12_049, 157_696)


@pytest.mark.shared
def test_exchanged_files_are_named_in_the_error(authors: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gconv_output\.W"):
        from_authors(read_pth(authors / "prpose_mgcn_lw/model.pth"), read_pth(authors / "prpose_mgcn_avg/model.pth"))
