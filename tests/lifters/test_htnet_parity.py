from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posepipe.lifters.authors import read_pth
from posepipe.lifters.codec import MIRROR, mirror_joints, mirror_keypoints
from posepipe.lifters.htnet.authors import from_authors
from posepipe.lifters.htnet.net import LIMBS, HTNet, LimbPool
from posepipe.lifters.htnet.sampler import HTNetSampler


@pytest.fixture
def imported(authors: Path) -> HTNetSampler:
    result = from_authors(read_pth(authors / "htnet" / "model.pth"))
    assert not result.unexpected
    sampler = HTNetSampler(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


@pytest.mark.shared
@pytest.mark.parametrize(("flip", "name"), [(False, "output_3d"), (True, "output_3d_flip_avg")])
def test_the_authors_network_is_reproduced(
    imported: HTNetSampler, authors: Path, parity: Callable[..., None], flip: bool, name: str
) -> None:
    io = np.load(authors / "htnet" / "io.npz")
    imported.flip = flip
    keypoints = torch.from_numpy(io["input_2d"][:, 0])
    with torch.no_grad():
        pose = imported.pose(keypoints, torch.ones(keypoints.shape[:2])).numpy()
    parity("htnet", "mirror average" if flip else "one forward", pose, io[name][:, 0], relative=False)


@pytest.mark.shared
def test_every_stage_of_a_block_is_reproduced(
    imported: HTNetSampler, authors: Path, parity: Callable[..., None]
) -> None:
    io, inside = (np.load(authors / "htnet" / f"{n}.npz") for n in ("io", "inter"))
    seen: dict[str, torch.Tensor] = {}
    first, second = imported.net.blocks
    for name, module in (
        ("block0_lgc_out", first.ljc),
        ("block0_ipc_out", first.ipc),
        ("block0_gbi_out", first.gbi),
        ("block0_out", first),
        ("block1_out", second),
    ):
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    with torch.no_grad():
        imported.net(torch.from_numpy(io["input_2d"][:, 0]))
    assert set(seen) == set(inside.files)
    for name, value in seen.items():
        parity("htnet", "every stage of a block", value, inside[name])


def test_pinned_numbers(pinned: Callable[[str], Any]) -> None:
    data = pinned("htnet")
    data.check_sampler(data.fill(HTNetSampler(**data.network)))


def test_published_size() -> None:
    assert sum(p.numel() for p in HTNet().parameters()) == 3_048_489


def test_a_limb_token_replaces_only_the_joints_that_hang_from_its_first() -> None:
    pool = LimbPool(4, 3, {j: t for t, limb in enumerate(LIMBS) for j in limb[1:]}, 8, 0.0, 0.0).eval()
    x = torch.randn(1, 17, 4, requires_grad=True)
    for joint, limb in ((13, (11, 12, 13)), (15, (14, 15, 16)), (3, (1, 2, 3)), (5, (4, 5, 6)), (11, (11,)), (8, (8,))):
        (gradient,) = torch.autograd.grad((pool(x)[0, joint] * torch.arange(4.0) ** 2).sum(), x)
        assert tuple(gradient[0].abs().sum(-1).nonzero().flatten().tolist()) == limb


def test_flip_makes_the_answer_to_a_mirrored_person_the_mirrored_answer(pinned: Callable[[str], Any]) -> None:
    data = pinned("htnet")
    sampler = data.fill(HTNetSampler(**data.network))
    keypoints, confidence = data.given("keypoints"), data.given("confidence")
    with torch.no_grad():
        plain = sampler.pose(keypoints, confidence)
        mirrored = sampler.pose(mirror_keypoints(keypoints), confidence[:, MIRROR])
        torch.testing.assert_close(mirror_joints(mirrored), plain, atol=1e-6, rtol=0)
        sampler.flip = False
        assert not torch.allclose(sampler.pose(keypoints, confidence), plain, atol=1e-3)
