from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posepipe.lifters.mdn.losses import LIMB_JOINTS, dirichlet_prior, hide_limb_joints, mixture_nll
from posepipe.lifters.mdn.net import MixtureDensityNet
from posepipe.lifters.mdn.sampler import MdnSampler
from posepipe.skeleton import H36M_17
from posepipe.training.import_checkpoint.mdn_tf import import_mdn


@pytest.fixture
def imported(authors: Path) -> MdnSampler:
    result = import_mdn(authors / "mdn")
    assert not result.unexpected
    sampler = MdnSampler(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


@pytest.mark.shared
def test_the_authors_mixture_is_reproduced(imported: MdnSampler, authors: Path, parity: Callable[..., None]) -> None:
    io = np.load(authors / "mdn" / "io.npz")
    with torch.no_grad():
        means, sigma, log_alpha = imported.net(torch.from_numpy(io["x"]))
    for got, name in ((means.mT, "means"), (sigma, "sigma"), (log_alpha.exp(), "alpha")):
        parity("mdn", name, got, io[name])


@pytest.mark.shared
@pytest.mark.parametrize(("target", "suffix"), [("y", ""), ("y2", "_2")])
def test_the_authors_losses_are_reproduced(
    imported: MdnSampler, authors: Path, parity: Callable[..., None], target: str, suffix: str
) -> None:
    io = np.load(authors / "mdn" / "io.npz")
    with torch.no_grad():
        mixture = imported.net(torch.from_numpy(io["x"]))
        likelihood = mixture_nll(*mixture, torch.from_numpy(io[target])).item()
        prior = dirichlet_prior(mixture[2]).item()
    for got, name in ((likelihood, "nll"), (prior, "prior"), (likelihood + prior, "loss")):
        parity("mdn", "losses", got, io[name + suffix])


@pytest.mark.shared
def test_hypotheses_are_the_kernel_means(imported: MdnSampler, authors: Path) -> None:
    """Through the contract: 16 hourglass joints in, five poses and their weights out (identity statistics)."""
    io = np.load(authors / "mdn" / "io.npz")
    keypoints = torch.full((16, 17, 2), float("nan"))
    keypoints[:, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16]] = torch.from_numpy(io["x"]).view(16, 16, 2)
    with torch.no_grad():
        poses, log_weights = imported(keypoints, torch.ones(16, 17), torch.zeros(16, 5, 49))
    expected = io["means"].reshape(16, 16, 3, 5).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(poses[:, :, 1:].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(log_weights.exp().numpy(), io["alpha"], atol=1e-5)


def test_pinned_numbers(pinned: Callable[[str], Any]) -> None:
    data = pinned("mdn")
    sampler = data.fill(MdnSampler(**data.network))
    data.check_sampler(sampler)
    with torch.no_grad():
        mixture = sampler.net(sampler.input(data.given("keypoints"), data.given("confidence")))
    assert mixture_nll(*mixture, data.given("target")).item() == pytest.approx(float(data.expected("nll")), rel=1e-5)
    assert dirichlet_prior(mixture[2]).item() == pytest.approx(float(data.expected("prior")), rel=1e-5)


def test_likelihood_is_that_of_an_isotropic_gaussian_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(4, 3, 6, generator=generator)
    sigma = 0.5 + torch.rand(4, 3, generator=generator)
    log_alpha = torch.log_softmax(torch.randn(4, 3, generator=generator), 1)
    target = torch.randn(4, 6, generator=generator)
    gaussian = torch.distributions.Independent(torch.distributions.Normal(means, sigma[..., None].expand(4, 3, 6)), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=log_alpha), gaussian)
    expected = -mixture.log_prob(target).mean().item()
    assert mixture_nll(means, sigma, log_alpha, target).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_hidden_joints_are_limb_joints(count: int) -> None:
    before = torch.rand(500, 17) + 0.1
    after = hide_limb_joints(before, count, torch.Generator().manual_seed(1))
    hidden = (after != before).numpy()
    assert (hidden.sum(1) == count).all()
    assert not after.numpy()[hidden].any()
    assert set(np.flatnonzero(hidden.any(0))) == set(LIMB_JOINTS)
    assert {H36M_17.joints[j][2:] for j in LIMB_JOINTS} == {"knee", "ankle", "elbow", "wrist"}


def test_only_one_or_two_joints_can_be_hidden() -> None:
    with pytest.raises(ValueError, match="one or two"):
        hide_limb_joints(torch.ones(1, 17), 3)


def test_size_of_the_published_network() -> None:
    assert sum(p.numel() for p in MixtureDensityNet(32).parameters()) == 4_498_682
