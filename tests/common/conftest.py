"""Every lifter as its users run it, a graph in ONNX Runtime: the shipped ones, and one of every kind with tiny random
networks, saved, exported and opened through the same functions as the shipped ones. Each is made once per session.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from posepipe.lifters.catalogue import LIFTERS, entry
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.lifters.variants import fixed_hypotheses, noise_shape
from posepipe.skeleton import H36M_17
from posepipe.trt_build.runners.ort import OrtRunner

MIRROR = list(H36M_17.mirror)
HTNET = {"channels": 36, "blocks": 1, "hidden": 32, "gcn_hidden": 32, "heads": 2}
DCGCT = {"channels": 40, "blocks": 1, "heads": 2}
DENOISER = {"channels": 24, "layers": 1, "heads": 2, "refinement_hidden": 24}
GCN = {"width": 24, "blocks": 1}
PRPOSE = {"alpha": 0.05, "lifter_network": GCN, "variance_network": GCN}


# A lifter that is being written can be given, and is then the only subject: module:Class:checkpoint, with
# the graph beside the checkpoint.
GIVEN = os.environ.get("POSEPIPE_LIFTER", "")


@dataclass(frozen=True)
class Kind:
    """A lifter to be made with random weights. variant: how the graph differs from the checkpoint."""

    network: dict[str, Any]
    variant: Mapping[str, Any] = field(default_factory=dict)


FAITHFUL = {"network": {"faithful": True}}
# three steps, so that one of them is of second order
NOT_FAITHFUL_FEW = {"network": {"faithful": False, "scheduler": "dpm-solver", "steps": 3}}
OVER_DCGCT = {"first": {"lifter": "dcgct", **DCGCT}, "steps": 2, **DENOISER}
OVER_HTNET = {"first": {"lifter": "htnet", **HTNET}, "steps": 1, "use_confidence": True, **DENOISER}
KINDS = {
    "martinez": Kind({"width": 32, "flip": True, "use_confidence": False, "joints": [*range(9), *range(10, 17)]}),
    "mdn": Kind({"width": 32}),
    "mdn:means": Kind({"width": 32, "kernels": 5}, entry("mdn:means").variant),
    "wsgan": Kind({"width": 32, "latent": 8}),
    "wsgan with confidences": Kind({"width": 32, "latent": 8, "use_confidence": True}),
    "wsgan:zero": Kind({"width": 32, "latent": 8}, entry("wsgan:zero").variant),
    "htnet": Kind({**HTNET, "use_confidence": True}),
    "dcgct": Kind(DCGCT),
    "drpose": Kind(OVER_DCGCT),
    "drpose:htnet": Kind(OVER_HTNET),
    "drpose:htnet not faithful, dpm-solver": Kind(OVER_HTNET, NOT_FAITHFUL_FEW),
    "drpose:martinez": Kind({"first": {"lifter": "martinez", "width": 24}, "steps": 1, **DENOISER}),
    "prpose": Kind({**PRPOSE, "lifter": "htnet", "lifter_network": HTNET}),
    "prpose:mgcn": Kind({**PRPOSE, "lifter": "mgcn", "variance": "mlp"}),
    "prpose:mgcn faithful": Kind({**PRPOSE, "lifter": "mgcn"}, FAITHFUL),
}


@dataclass(frozen=True)
class Subject:
    """A lifter under test. variant: as in export. random: whether its weights are."""

    name: str
    checkpoint: Path
    graph: Path
    variant: Mapping[str, Any]
    runner: OrtRunner
    random: bool

    @property
    def contract(self) -> Checkpoint:
        return self.runner.contract

    def noise(self, count: int, people: int = 3, seed: int = 0) -> NDArray[np.float32]:
        shape = (people, self.contract.fixed_hypotheses or count, *self.contract.noise_shape)
        return np.random.default_rng(seed).normal(size=shape).astype(np.float32)

    @property
    def averages_with_the_mirror_image(self) -> bool:
        network = self.contract.network
        if self.contract.lifter == "prpose":
            return True
        if GIVEN:
            return bool(network.get("flip"))
        return self.contract.lifter not in ("mdn", "wsgan") and network.get("flip", self.contract.lifter != "martinez")

    def mirrored_noise(self, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """The noise that belongs to the mirrored person."""
        if self.contract.lifter == "prpose" and self.contract.network.get("faithful"):
            return noise[:, :, ::-1].copy()  # one draw for the pose and one for its mirror image: they change places
        if self.contract.noise_shape[-2:] in ((17, 2), (17, 3)):
            return self.mirror(noise)
        return noise

    @staticmethod
    def mirror(values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 17, 2|3) -> left and right exchanged and x negated; (..., 17) -> left and right exchanged."""
        if values.shape[-1] == 17:
            return values[..., MIRROR]
        return values[..., MIRROR, :] * np.array([-1, 1, 1], np.float32)[: values.shape[-1]]


SHIPPED = [e.name for e in LIFTERS if e.checkpoint]
SUBJECTS = ["given here"] if GIVEN else [*(f"shipped {n}" for n in SHIPPED), *(f"random {n}" for n in KINDS)]


@pytest.fixture(scope="session", params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    origin, name = request.param.split(" ", 1)
    if origin == "shipped":
        e = entry(name)
        checkpoint, graph, variant = e.checkpoint_path, e.graph_path, e.variant
    elif origin == "given":
        checkpoint, variant = given(), {}
        graph = checkpoint.with_suffix(".onnx")
    else:
        pytest.importorskip("torch")
        from posepipe.trt_build.export_onnx import export

        variant = KINDS[name].variant
        checkpoint = write_random(tmp_path_factory.mktemp("lifter") / "weights.safetensors", name)
        graph = export(checkpoint, checkpoint.with_suffix(".onnx"), variant)
    with OrtRunner(graph) as runner:
        yield Subject(request.param, checkpoint, graph, variant, runner, origin == "random")


def given() -> Path:
    """The checkpoint that POSEPIPE_LIFTER names; its graph lies beside it."""
    from posepipe.lifters import build

    module, name, checkpoint = GIVEN.split(":", 2)
    build._SAMPLERS.setdefault(read_header(Path(checkpoint)).lifter, (module, name))
    return Path(checkpoint)


def write_random(path: Path, name: str, seed: int = 0) -> Path:
    """A checkpoint of one of KINDS with random weights that give poses of the size of a person."""
    import torch

    from posepipe.lifters.build import build_sampler, save

    lifter, network = name.split(":")[0].split()[0], KINDS[name].network
    fixed = fixed_hypotheses(lifter, network)
    header = Checkpoint(
        lifter, network, "screen", "h36m17@1", noise_shape(lifter, network), fixed or 6, fixed, network.get("steps")
    )
    torch.manual_seed(seed)
    sampler = build_sampler(header).eval()
    with torch.no_grad():
        for module in sampler.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        for place in ("input", "first.input"):
            if f"{place}.mean" in sampler.state_dict():
                codec = sampler.get_submodule(place)
                codec.mean.normal_(0, 0.1)
                codec.std.uniform_(0.5, 1.0)
        _to_human_size(sampler, header)
    save(path, sampler, header)
    return path


def _to_human_size(sampler: Any, header: Checkpoint) -> None:
    """Scale what makes poses, so that joints are half a metre from the hip in the mean: the last layer, or the basis
    of the output. First stage first, since what refines it blends with it."""
    import torch

    keypoints, confidence = 0.7 * torch.randn(64, 17, 2), torch.ones(64, 17)
    if hasattr(sampler, "first"):
        _scale(sampler.first, sampler.first.pose(keypoints, confidence))
    noise = torch.randn(64, header.hypotheses, *header.noise_shape)
    if header.lifter == "drpose":  # z comes from the denoiser alone, and may be clamped
        person = sampler.net.prepare(sampler.input(keypoints, confidence), sampler.first.pose(keypoints, confidence))
        modulation = sampler.net.modulate(person, sampler.net.embed_time(sampler.features)[0])
        _scale(sampler, sampler.net.denoise(noise[:, :, 0], person, modulation)[..., 2:])
    else:
        _scale(sampler, sampler(keypoints, confidence, noise)[0])


def _scale(sampler: Any, poses: Any) -> None:
    factor = 0.5 / float(poses.norm(dim=-1).mean())
    last = {
        "MartinezSampler": ("output.basis",),
        "MdnSampler": ("output.basis",),
        "WsganSampler": ("net.pose.head.weight", "net.pose.head.bias"),
        "HTNetSampler": ("net.head.weight", "net.head.bias"),
        "DCGCTSampler": ("net.head.weight", "net.head.bias"),
        "DRPoseSampler": ("net.output.weight", "net.output.bias"),
        "PrposeSampler": ("net.lifter.head.W", "net.lifter.head.weight", "net.lifter.head.bias"),
    }
    state = sampler.state_dict()
    for name in last[type(sampler).__name__]:
        if name in state:
            state[name].mul_(factor)
