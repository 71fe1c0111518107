from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posepipe.lifters.authors import read_pth
from posepipe.lifters.codec import MIRROR, mirror_joints, mirror_keypoints
from posepipe.lifters.dcgct.authors import from_authors
from posepipe.lifters.dcgct.net import DCGCT, PartitionedGraphConv
from posepipe.lifters.dcgct.sampler import DCGCTSampler
from posepipe.lifters.graph import spatial_partitions


@pytest.fixture
def imported(authors: Path) -> DCGCTSampler:
    result = from_authors(read_pth(authors / "dcgct" / "model.pth"))
    assert not result.unexpected
    sampler = DCGCTSampler(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


@pytest.mark.shared
@pytest.mark.parametrize(("flip", "name"), [(False, "output_3d"), (True, "output_3d_flip_avg")])
def test_the_authors_network_is_reproduced(
    imported: DCGCTSampler, authors: Path, parity: Callable[..., None], flip: bool, name: str
) -> None:
    io = np.load(authors / "dcgct" / "io.npz")
    imported.flip = flip
    keypoints = torch.from_numpy(io["input_2d"][:, 0])
    with torch.no_grad():
        pose = imported.pose(keypoints, torch.ones(keypoints.shape[:2])).numpy()
    parity("dcgct", "mirror average" if flip else "one forward", pose, io[name][:, 0], relative=False)


@pytest.mark.shared
def test_every_stage_of_a_block_is_reproduced(
    imported: DCGCTSampler, authors: Path, parity: Callable[..., None]
) -> None:
    io, inside = (np.load(authors / "dcgct" / f"{n}.npz") for n in ("io", "inter"))
    seen: dict[str, torch.Tensor] = {}
    first, second = imported.net.blocks
    for name, module in (
        ("block0_local1_out", first.local1),
        ("block0_global2_out", first.global2),
        ("block0_global1_out", first.global1),
        ("block0_local2_out", first.local2),
        ("block0_out", first),
        ("block1_out", second),
    ):
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    with torch.no_grad():
        imported.net(torch.from_numpy(io["input_2d"][:, 0]))
    assert set(seen) == set(inside.files)
    for name, value in seen.items():
        parity("dcgct", "every stage of a block", value, inside[name])


def test_pinned_numbers(pinned: Callable[[str], Any]) -> None:
    data = pinned("dcgct")
    data.check_sampler(data.fill(DCGCTSampler(**data.network)))


def test_published_size() -> None:
    assert sum(p.numel() for p in DCGCT().parameters()) == 2_069_827


def test_graph_convolution_is_the_sum_over_partitions() -> None:
    conv = PartitionedGraphConv(3, 5, 0.0).eval()
    seen: list[torch.Tensor] = []
    conv.norm1.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    x = torch.randn(2, 17, 3)
    with torch.no_grad():
        conv(x)
        expected = torch.zeros(2, 17, 5)
        for kernel, partition in enumerate(torch.from_numpy(spatial_partitions())):
            part = torch.nn.functional.linear(x, conv.conv.weight[5 * kernel :][:5], conv.conv.bias[5 * kernel :][:5])
            expected += torch.stack([sum(partition[v, w] * part[:, v] for v in range(17)) for w in range(17)], 1)
    torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=0)


def test_flip_makes_the_answer_to_a_mirrored_person_the_mirrored_answer(pinned: Callable[[str], Any]) -> None:
    data = pinned("dcgct")
    sampler = data.fill(DCGCTSampler(**data.network))
    keypoints, confidence = data.given("keypoints"), data.given("confidence")
    with torch.no_grad():
        plain = sampler.pose(keypoints, confidence)
        mirrored = sampler.pose(mirror_keypoints(keypoints), confidence[:, MIRROR])
        torch.testing.assert_close(mirror_joints(mirrored), plain, atol=1e-6, rtol=0)
        sampler.flip = False
        assert not torch.allclose(sampler.pose(keypoints, confidence), plain, atol=1e-3)
