"""Export: the graph's weights are the checkpoint's bytes, and what is wrong with a checkpoint is said."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from posepipe.errors import CheckpointError  # noqa: E402
from posepipe.lifters.build import build_sampler, load, save  # noqa: E402
from posepipe.lifters.checkpoint import Checkpoint  # noqa: E402
from posepipe.trt_build.export_onnx import compare_with_torch, export  # noqa: E402
from posepipe.trt_build.runners.ort import OrtRunner  # noqa: E402

SMALL = Checkpoint("mdn", {"width": 32, "max_norm": True}, "person", "blazepose33-h36m17@1", (49,), 6)
MEANS = {"network": {"mode": "means"}, "hypotheses": 5, "fixed_hypotheses": 5}


def randomised(header: Checkpoint, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    sampler = build_sampler(header)
    for module in sampler.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    sampler.output.basis.mul_(0.05)
    return sampler.eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save(path, randomised(SMALL), SMALL)
    return path


@pytest.mark.parametrize("variant", [None, MEANS], ids=["sample", "means"])
def test_graph_equals_torch(checkpoint, variant):
    graph = export(checkpoint, checkpoint.with_name(f"{'means' if variant else 'sample'}.onnx"), variant)
    assert compare_with_torch(checkpoint, graph, variant, batch=16) < 1e-5
    large = [t for t in onnx.load(str(graph), load_external_data=False).graph.initializer if np.prod(t.dims) > 64]
    assert [t.name for t in large if t.name.startswith("net.") and t.data_location != onnx.TensorProto.EXTERNAL] == []


def test_martinez_with_flip_is_mirror_equivariant(tmp_path):
    header = Checkpoint("martinez", {"width": 32, "flip": True}, "person", "c", (), 1, fixed_hypotheses=1)
    path = tmp_path / "m.safetensors"
    save(path, randomised(header), header)
    _, sampler = load(path)
    from posepipe.lifters.codec import MIRROR, mirror_joints, mirror_keypoints

    keypoints, confidence = torch.randn(4, 17, 2), torch.rand(4, 17)
    pose = sampler.pose(keypoints, confidence)
    mirrored = sampler.pose(mirror_keypoints(keypoints), confidence[:, MIRROR])
    np.testing.assert_allclose(mirror_joints(mirrored).detach(), pose.detach(), atol=1e-6)
    graph = export(path, tmp_path / "m.onnx")
    assert compare_with_torch(path, graph) < 1e-5


def test_samples_follow_the_mixture(checkpoint):
    """20,000 samples of one person against mean and covariance of the mixture, computed from its parameters."""
    _, sampler = load(checkpoint)
    keypoints, confidence = torch.randn(1, 17, 2), torch.ones(1, 17)
    with torch.no_grad():
        means, sigma, log_alpha = (p[0].double() for p in sampler.net(sampler.input(keypoints, confidence)))
        joints, _ = sampler(
            keypoints, confidence, torch.randn(1, 20_000, 49, generator=torch.Generator().manual_seed(3))
        )
    z = sampler.output.encode(joints[0]).double()
    alpha = log_alpha.exp()
    mean = alpha @ means
    covariance = torch.diag((alpha * sigma**2).sum() * torch.ones(48)) + (means - mean).T @ (
        alpha[:, None] * (means - mean)
    )
    assert (z.mean(0) - mean).abs().max() < 5 * covariance.diag().sqrt().max() / 20_000**0.5
    assert (torch.cov(z.T) - covariance).abs().max() < 0.05 * covariance.diag().max()


def test_wrong_architecture_is_listed(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other.safetensors"
    header = dataclasses.replace(SMALL, network={"width": 48})
    save_file(load_file(str(checkpoint)), str(other), metadata={"posepipe": header.to_json()})
    with pytest.raises(CheckpointError, match=r"net\.\S+ is \(.*expected \("):
        load(other)


@pytest.mark.parametrize("damage", ["cut", "text", "no header", "future"])
def test_damaged_checkpoints_are_refused_in_one_sentence(checkpoint, tmp_path, damage):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "bad.safetensors"
    if damage == "cut":
        path.write_bytes(checkpoint.read_bytes()[:1000])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "no header":
        save_file(load_file(str(checkpoint)), str(path))
    else:
        text = SMALL.to_json().replace('"format_version": 1', '"format_version": 99')
        save_file(load_file(str(checkpoint)), str(path), metadata={"posepipe": text})
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="Rebuild it"):
        OrtRunner(path)
