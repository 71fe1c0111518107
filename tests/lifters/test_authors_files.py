"""Opening .pth files as their authors write them, without the authors' data: our tiny networks under their names."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from posepipe.errors import CheckpointError
from posepipe.lifters.authors import Imported, read_pth
from posepipe.lifters.dcgct import authors as dcgct
from posepipe.lifters.dcgct.sampler import DCGCTSampler
from posepipe.lifters.drpose import authors as drpose
from posepipe.lifters.drpose.sampler import DRPoseSampler
from posepipe.lifters.htnet import authors as htnet
from posepipe.lifters.htnet.sampler import HTNetSampler
from posepipe.lifters.schedulers import cosine


def htnet_file(sampler: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """The authors' layout: strided convolutions (out, in, width) where we have matrices."""
    file = {}
    for name, value in sampler.state_dict().items():
        for theirs in htnet.rename(prefix)(name):
            if ".pool.weight" in name:
                value = value.unflatten(1, (-1, len(value))).transpose(1, 2)
            file[theirs] = value.clone()
    return file


def dcgct_file(sampler: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """The authors' layout: 1x1 convolutions where graph blocks of ours have matrices."""
    file = {}
    for name, value in sampler.state_dict().items():
        for theirs in dcgct.rename(prefix)(name):
            convolution = ".gcn" in name and value.dim() == 2
            file[theirs] = (value[..., None, None] if convolution else value).clone()
    return file


class Case:
    def __init__(self, sampler: nn.Module, file: dict[str, Tensor], read: Callable[..., Imported]) -> None:
        self.sampler, self.file, self.read = sampler.eval(), file, read


@pytest.fixture(params=["htnet", "dcgct"])
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    if request.param == "htnet":
        sampler: nn.Module = HTNetSampler(channels=24, blocks=2, hidden=6, gcn_hidden=5)
        return Case(sampler, htnet_file(sampler), htnet.from_authors)
    sampler = DCGCTSampler(channels=40, blocks=2)
    return Case(sampler, dcgct_file(sampler), dcgct.from_authors)


def rebuilt(result: Imported, like: nn.Module) -> nn.Module:
    sampler = type(like)(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


def test_entries_are_named_and_shaped_as_published() -> None:
    file = htnet_file(HTNetSampler())
    published = {
        "pos_embed": (1, 17, 240),
        "Hiremixer.blocks.2.lgc.gcn1.W": (2, 80, 384),
        "Hiremixer.blocks.0.ipc.conv1.weight": (80, 80, 3),
        "Hiremixer.blocks.0.ipc.conv2.weight": (80, 80, 2),
        "Hiremixer.blocks.1.gbi.attn.qkv.weight": (240, 80),
        "Hiremixer.Temporal_norm.bias": (240,),
        "fcn.weight": (3, 240),
    }
    assert {name: tuple(file[name].shape) for name in published} == published
    file = dcgct_file(DCGCTSampler())
    published = {
        "blocks.0.local1.gcn1.gcn.conv.weight": (256, 32, 1, 1),
        "blocks.2.local2.gcn2.tcn.3.weight": (128, 128, 1, 1),
        "blocks.0.local2.gcn1.tcn.4.running_var": (256,),
        "blocks.1.fusion.fc1.weight": (128, 160),
        "blocks.1.mlp.fc1.weight": (640, 160),
    }
    assert {name: tuple(file[name].shape) for name in published} == published


@torch.no_grad()
def test_a_file_gives_the_same_network_whatever_wraps_it(case: Case, tmp_path: Path) -> None:
    keypoints, confidence = torch.randn(2, 17, 2), torch.ones(2, 17)
    expected = case.sampler.pose(keypoints, confidence)
    parallel = {f"module.{name}": value for name, value in case.file.items()}
    for content in (case.file, parallel, {"state_dict": parallel, "epoch": 3}, {"model": case.file}):
        torch.save(content, tmp_path / "file.pth")
        result = case.read(read_pth(tmp_path / "file.pth"))
        assert result.unexpected == ()
        assert torch.equal(rebuilt(result, case.sampler).pose(keypoints, confidence), expected)


def test_entries_that_nothing_needs_are_reported(case: Case) -> None:
    assert case.read({**case.file, "optimizer_note": torch.zeros(3)}).unexpected == ("optimizer_note",)


def test_a_wrong_file_lists_missing_misshaped_and_unexpected(case: Case) -> None:
    bad = dict(case.file)
    del bad["fcn.bias"]
    bad["fcn.weight"] = torch.zeros(3, 7)
    bad["something.else"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        case.read(bad)
    message = str(caught.value)
    assert "1 missing (fcn.bias)" in message
    assert "1 misshaped (fcn.weight (3, 7) where (3, " in message
    assert "1 unexpected (something.else)" in message


def test_a_file_of_another_system_is_refused_in_words(case: Case) -> None:
    other = dcgct.from_authors if case.read is htnet.from_authors else htnet.from_authors
    for read, file in ((other, case.file), (drpose.from_authors, case.file), (case.read, {"a.weight": torch.ones(2)})):
        with pytest.raises(CheckpointError, match=r"is not a \S+ file"):
            read(file)


def drpose_file(sampler: DRPoseSampler) -> dict[str, Tensor]:
    """The whole module's file, in the authors' layout."""
    inner = {"htnet": htnet_file, "dcgct": dcgct_file}[type(sampler.first).__name__.removesuffix("Sampler").lower()]
    file = inner(sampler.first, drpose.FIRST)
    file["betas"] = torch.from_numpy(cosine.betas())
    net = sampler.net
    state = net.state_dict()
    width = net.channels
    for ours, theirs in (
        ("input", "gconv_input"),
        ("condition", "gconv_cond"),
        ("output", "gconv_output"),
        *((f"layers.{i}.cheb{k}", f"gconv_layers.{i}.gconv{k}.gconv") for i in range(len(net.layers)) for k in (1, 2)),
    ):
        file[f"{drpose.NET}{theirs}.weight"] = state[f"{ours}.weight"][:, None]
        file[f"{drpose.NET}{theirs}.bias"] = state[f"{ours}.bias"][None, None]
    for i in range(len(net.layers)):
        theirs = f"{drpose.NET}atten_layers.{i}"
        file[f"{theirs}.feed_forward.A_hat"] = state[f"layers.{i}.graph.adjacency"]
        for kind in ("weight", "bias"):
            for part, value in enumerate(state[f"layers.{i}.attention.qkv.{kind}"].split(width)):
                file[f"{theirs}.self_attn.linears.{part}.{kind}"] = value
            file[f"{theirs}.self_attn.linears.3.{kind}"] = state[f"layers.{i}.attention.proj.{kind}"]
            for k in (1, 2):
                file[f"{theirs}.feed_forward.gconv{k}.fc.{kind}"] = state[f"layers.{i}.graph.fc{k}.{kind}"]
                name = {"weight": "a_2", "bias": "b_2"}[kind]
                file[f"{theirs}.sublayer.{k - 1}.norm.{name}"] = state[f"layers.{i}.norm{k}.{kind}"]
    for kind in ("weight", "bias"):
        for index, value in enumerate(state[f"modulation.{kind}"].split(3 * width)):
            layer, half = divmod(index, 2)
            file[f"{drpose.NET}atten_layers.{layer}.sublayer.{half}.adaLN_modulation.1.{kind}"] = value
        for ours, theirs in (("time1", "time_mlp.1"), ("time2", "time_mlp.3")):
            file[f"{drpose.NET}{theirs}.{kind}"] = state[f"{ours}.{kind}"]
        for ours, theirs in (("refinement.fc1", "fusion.post_refine.0"), ("refinement.fc2", "fusion.post_refine.3")):
            file[f"{drpose.NET}{theirs}.{kind}"] = state[f"{ours}.{kind}"]
    return file


@pytest.fixture(
    params=[
        {"lifter": "htnet", "channels": 24, "blocks": 1, "hidden": 6, "gcn_hidden": 5},
        {"lifter": "dcgct", "channels": 40, "blocks": 1},
    ]
)
def refiner(request: pytest.FixtureRequest) -> DRPoseSampler:
    torch.manual_seed(0)
    return DRPoseSampler(request.param, steps=2, channels=16, layers=2, refinement_hidden=12).eval()


@torch.no_grad()
def test_a_drpose_file_gives_the_same_sampler(refiner: DRPoseSampler) -> None:
    result = drpose.from_authors(drpose_file(refiner), steps=2)
    assert result.unexpected == ()
    again = rebuilt(result, refiner)
    given = torch.randn(2, 17, 2), torch.ones(2, 17), torch.randn(2, 3, 2, 17, 3)
    assert torch.equal(again(*given)[0], refiner(*given)[0])


def test_a_drpose_file_with_another_schedule_is_refused(refiner: DRPoseSampler) -> None:
    file = drpose_file(refiner)
    for betas in (torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64), file["betas"][:500]):
        with pytest.raises(CheckpointError, match="another noise schedule"):
            drpose.from_authors({**file, "betas": betas}, steps=2)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"a": Trap()}))
    torch.save({"a": Trap()}, tmp_path / "trap2.pth")
    for name in ("trap.pth", "trap2.pth"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_pth(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_damaged_files_give_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_pth(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [{}, [torch.ones(1)], torch.ones(2), {"lr": 0.1}])
def test_files_without_a_state_dict_give_a_sentence(tmp_path: Path, content: Mapping[str, Any]) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        read_pth(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="no file"):
        read_pth(tmp_path / "absent.pth")
