"""Samples of a saved checkpoint, and what is said when one is wrong. The graphs: tests/common."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from posepipe.errors import CheckpointError  # noqa: E402
from posepipe.lifters.build import build_sampler, load, save  # noqa: E402
from posepipe.lifters.checkpoint import Checkpoint  # noqa: E402
from posepipe.trt_build.runners.ort import OrtRunner  # noqa: E402

SMALL = Checkpoint("mdn", {"width": 32, "max_norm": True}, "person", "blazepose33-h36m17@1", (49,), 6)


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
