"""The exported forms against the networks as they are written, in float64: what is left is the form's own error."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from posepipe.lifters.build import build_sampler
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.drpose.folded import FoldedDenoiser
from posepipe.lifters.drpose.net import Denoiser
from posepipe.lifters.folded import fold
from posepipe.lifters.graph import chebyshev, chebyshev_spectrum
from posepipe.lifters.variants import noise_shape

DCGCT = {"channels": 40, "blocks": 2, "heads": 2}
DENOISER = {"channels": 24, "layers": 2, "heads": 2, "refinement_hidden": 32}
GCN = {"width": 24, "blocks": 2}
SAMPLERS: dict[str, dict[str, Any]] = {
    "martinez": {"width": 24, "max_norm": False, "flip": True},
    "martinez clipped": {"width": 24, "max_norm": True},
    "mdn": {"width": 24},
    "dcgct": {**DCGCT, "flip": True},
    "drpose": {"first": {"lifter": "dcgct", **DCGCT}, "steps": 3, **DENOISER},
    "drpose confidence": {"first": {"lifter": "dcgct", **DCGCT}, "steps": 2, "use_confidence": True, **DENOISER},
    "drpose no flip": {"first": {"lifter": "dcgct", **DCGCT}, "steps": 2, "flip": False, **DENOISER},
    "prpose": {"lifter": "mgcn", "lifter_network": GCN, "variance_network": GCN},
    "prpose mlp": {"lifter": "mgcn", "variance": "mlp", "faithful": True, "lifter_network": GCN},
}


def random_sampler(name: str) -> torch.nn.Module:
    lifter, network = name.split()[0], SAMPLERS[name]
    torch.manual_seed(3)
    shape = noise_shape(lifter, network)
    sampler = build_sampler(Checkpoint(lifter, network, "screen", "h36m17@1", shape, 4)).double().eval()
    with torch.no_grad():  # nothing at the value that it starts from, where a forgotten factor of 1 would not be seen
        for parameter in sampler.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
        for module in sampler.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    return sampler


def inputs(name: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    shape = noise_shape(name.split()[0], SAMPLERS[name])
    count = 1 if name.split()[0] in ("dcgct", "martinez") else 4
    options = {"generator": generator, "dtype": torch.float64}
    keypoints = 0.6 * torch.randn(2, 17, 2, **options)
    return [keypoints, torch.rand(2, 17, **options), torch.randn(2, count, *shape, **options)]


@pytest.mark.parametrize("name", SAMPLERS)
@torch.no_grad()
def test_folded_is_the_same_function(name: str) -> None:
    plain = random_sampler(name)
    folded = fold(copy.deepcopy(plain))
    assert any(type(a) is not type(b) for a, b in zip(plain.modules(), folded.modules(), strict=True))
    expected, got = (sampler(*inputs(name))[0] for sampler in (plain, folded))
    scale = float(expected.abs().max())
    assert scale > 0.1
    if name != "mdn":  # clamped numbers would hide differences; the mixture, whose poses are large here, has no clamp
        assert float((expected.abs() > 1.099).double().mean()) < 0.2
    # float64, but for constants of the skeleton, which are float32, and DRPose's epsilon (see FoldedDenoiser)
    assert float((got - expected).abs().max()) < 3e-6 * max(1.0, scale)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_checkpoint_fits_both_forms(name: str) -> None:
    plain = random_sampler(name)
    folded = fold(copy.deepcopy(plain))
    ours, theirs = plain.state_dict(), folded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@torch.no_grad()
def test_hypotheses_share_what_does_not_depend_on_them() -> None:
    """Modulation and the person's part have a hypothesis axis of 1, however many hypotheses there are."""
    net = FoldedDenoiser(Denoiser(**DENOISER).eval())
    person = net.prepare(torch.randn(2, 17, 2), torch.randn(2, 17, 3))
    modulation = net.modulate(person, net.embed_time(torch.randn(1, 24))[0])
    assert len(modulation) == 6 * len(net.layers)
    assert all(part.shape[:3] == (17, 2, 1) for part in (*modulation, person.tokens, person.condition))


def test_the_eigenbasis_gives_the_chebyshev_polynomials() -> None:
    to, back, responses = (a.astype(np.float64) for a in chebyshev_spectrum(4))
    for order, expected in enumerate(chebyshev(4)):
        np.testing.assert_allclose(back @ np.diag(responses[:, order]) @ to, expected, atol=2e-6)
    np.testing.assert_allclose(to @ back, np.eye(17), atol=1e-6)


def test_the_eigenbasis_does_not_depend_on_lapack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms and legs are alike, so some eigenvalues are double: another LAPACK may turn their vectors, and signs."""
    expected = chebyshev_spectrum()
    solve = np.linalg.eigh

    def turned(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = solve(matrix)
        vectors = -vectors
        double = np.flatnonzero(np.diff(values) < 1e-9)
        assert len(double) >= 3
        for first in double:
            cosine, sine = np.cos(0.7), np.sin(0.7)
            vectors[:, first : first + 2] = vectors[:, first : first + 2] @ [[cosine, -sine], [sine, cosine]]
        return values, vectors

    monkeypatch.setattr(np.linalg, "eigh", turned)
    for got, before in zip(chebyshev_spectrum(), expected, strict=True):
        np.testing.assert_allclose(got, before, atol=1e-6)
