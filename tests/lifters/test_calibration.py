"""The module that a sampler may end with: what it does to hypotheses, by numpy; and that without it nothing changes."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.lifters.build import build_sampler, load, save
from posepipe.lifters.calibration import Calibration
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.codec import mirror_joints
from posepipe.trt_build.export_onnx import compare_with_torch, export
from posepipe.trt_build.tensorrt_check import problems

SMALL = {
    "mdn": ({"width": 16, "blocks": 1, "kernels": 3}, (49,)),
    "wsgan": ({"width": 16, "latent": 8}, (8,)),
    "drpose": (
        {"first": {"lifter": "martinez", "width": 16}, "steps": 2, "channels": 16, "layers": 1, "heads": 2},
        (2, 17, 3),
    ),
    "prpose": ({"lifter": "mgcn", "lifter_network": {"width": 16}, "variance_network": {"width": 16}}, (1, 17, 2)),
}


def header(lifter: str, **more) -> Checkpoint:
    network, noise = SMALL[lifter]
    return Checkpoint(lifter, {**network, **more}, "person", "blazepose33-h36m17@1", noise, 7)


def some(people=4, count=9, seed=0):
    rng = np.random.default_rng(seed)
    joints = rng.normal(0, 0.3, (people, count, 17, 3)).astype(np.float32)
    joints[:, :, 0] = 0
    return torch.from_numpy(joints), torch.full((people, count), -np.log(count))


def fitted(seed=3) -> Calibration:
    module, rng = Calibration(), np.random.default_rng(seed)
    scale = torch.from_numpy(rng.uniform(0.5, 2, 17).astype(np.float32))
    module.scale.copy_(0.5 * (scale + scale[[0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]]))
    module.shape.fill_(0.4)
    return module


def test_distances_from_the_mean_become_what_the_formula_says():
    joints, log_weights = some()
    module = fitted()
    result = module(joints, log_weights).numpy().astype(np.float64)
    before = joints.numpy().astype(np.float64)
    mean = before.mean(1, keepdims=True)
    np.testing.assert_allclose(result.mean(1)[:, 0], 0, atol=1e-7)
    r = np.linalg.norm(before - mean, axis=-1)[..., 1:]
    rms = np.sqrt((r**2).mean(1, keepdims=True))
    expected = np.sqrt((module.scale.numpy()[1:] ** 2 + 1 / 9) / (1 - 1 / 9)) * r * (r / rms) ** 0.4
    np.testing.assert_allclose(np.linalg.norm(result - mean, axis=-1)[..., 1:], expected, rtol=1e-3, atol=1e-5)
    directions = (result - mean)[:, :, 1:] / expected[..., None]
    np.testing.assert_allclose(directions, (before - mean)[:, :, 1:] / r[..., None], atol=2e-3)


def doubting() -> Calibration:
    module = fitted()
    module.doubt.fill_(0.2)
    module.more.copy_(torch.linspace(0.6, 1.8, 17))
    module.more[0] = 1
    module.further.fill_(-0.3)
    return module


def test_confidence_leads_from_one_regime_to_the_other():
    """Certain keypoints: as without a second regime. Doubt at `doubt` or beyond: as a calibration with that regime's
    numbers. Half way: the geometric mean of the two scales, the mean of the two shapes."""
    joints, log_weights = some()
    module = doubting()
    certain = torch.ones(4, 17)
    assert torch.equal(module(joints, log_weights, certain), fitted()(joints, log_weights))
    for doubt, share in ((0.2, 1.0), (0.7, 1.0), (0.1, 0.5)):
        alone = fitted()
        alone.scale.copy_(fitted().scale * module.more**share)
        alone.shape.fill_(0.4 - 0.3 * share)
        uneven = certain.clone()
        uneven[:, 3] -= 0.05  # only the mean counts
        uneven[:, 5] += 0.05
        found = module(joints, log_weights, uneven - doubt)
        torch.testing.assert_close(found, alone(joints, log_weights), atol=2e-6, rtol=2e-5)


def test_one_person_does_not_change_another():
    joints, log_weights = some()
    confidence = torch.tensor([1.0, 0.95, 0.9, 0.3])[:, None].expand(4, 17)
    together = doubting()(joints, log_weights, confidence)
    alone = torch.cat([doubting()(joints[i : i + 1], log_weights[i : i + 1], confidence[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-6)


def test_as_it_comes_it_only_makes_up_for_the_mean_of_few():
    """Gaussian truth and hypotheses alike: about the mean of few, the truth is farther than they are. After it, not."""
    rng = np.random.default_rng(5)
    joints = torch.from_numpy(rng.normal(0, 0.1, (4000, 5, 17, 3)).astype(np.float32))
    truth = rng.normal(0, 0.1, (4000, 17, 3))
    log_weights = torch.full((4000, 5), -np.log(5))
    for hypotheses, ratio in ((joints, np.sqrt(4 / 6)), (Calibration()(joints, log_weights), 1.0)):
        mean = hypotheses.numpy().mean(1)
        spread = np.sqrt(((hypotheses.numpy() - mean[:, None]) ** 2).sum(-1).mean())
        miss = np.sqrt(((truth - mean) ** 2).sum(-1).mean())
        assert spread / miss == pytest.approx(ratio, rel=0.02)


@given(st.integers(1, 3), st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_one_hypothesis_stays_as_it_is(people, seed):
    joints, log_weights = some(people, 1, seed)
    assert torch.equal(fitted(seed)(joints, log_weights), joints)


def test_hips_stay_and_equal_hypotheses_stay_finite():
    joints, log_weights = some()
    assert (fitted()(joints, log_weights)[:, :, 0] == 0).all()
    same = joints[:, :1].expand(-1, 9, -1, -1)
    torch.testing.assert_close(fitted()(same, log_weights), same, atol=1e-5, rtol=0)


def test_mirroring_before_and_after_are_the_same():
    joints, log_weights = some()
    module = fitted()
    torch.testing.assert_close(module(mirror_joints(joints), log_weights), mirror_joints(module(joints, log_weights)))


def test_weights_count():
    """Two hypotheses with one weight in common are one hypothesis that has it twice."""
    joints, _ = some(2, 3)
    twice = torch.cat([joints, joints[:, :1]], 1)
    apart = torch.log(torch.tensor([[0.25, 0.25, 0.25, 0.25]])).expand(2, -1)
    joined = torch.log(torch.tensor([[0.5, 0.25, 0.25]])).expand(2, -1)
    a, b = (fitted()(j, w) for j, w in ((twice, apart), (joints, joined)))
    mean = (joined.exp()[..., None, None] * joints).sum(1, keepdim=True)
    square = fitted().scale[:, None].square()
    ratio = torch.sqrt((square + 0.375) / (1 - 0.375)) / torch.sqrt((square + 0.25) / (1 - 0.25))
    torch.testing.assert_close(b - mean, ratio * (a[:, :3] - mean), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("lifter", SMALL)
def test_in_every_sampler_it_is_the_last_step(lifter, tmp_path):
    torch.manual_seed(0)
    plain = build_sampler(header(lifter)).eval()
    said = header(lifter, calibrated=True)
    sampler = build_sampler(said).eval()
    missing = sampler.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert sorted(missing) == [f"calibration.{n}" for n in ("doubt", "further", "more", "scale", "shape")]
    sampler.calibration = fitted()
    inputs = (0.7 * torch.randn(3, 17, 2), torch.rand(3, 17), torch.randn(3, 7, *SMALL[lifter][1]))
    with torch.no_grad():
        before, log_weights = plain(*inputs)
        after, same_weights = sampler(*inputs)
    assert torch.equal(after, fitted()(before, log_weights))
    assert torch.equal(log_weights, same_weights)
    sampler.calibration = doubting()
    with torch.no_grad():
        assert torch.equal(sampler(*inputs)[0], doubting()(before, log_weights, inputs[1]))
    path = tmp_path / f"{lifter}.safetensors"
    save(path, sampler, said)
    again = load(path)[1]
    assert torch.equal(again.calibration.scale, sampler.calibration.scale)


def test_the_graph_has_it_as_tensorrt_can_read_it(tmp_path):
    import onnx

    said = header("mdn", calibrated=True)
    sampler = build_sampler(said).eval()
    sampler.calibration = doubting()
    path = tmp_path / "mdn.safetensors"
    save(path, sampler, said)
    graph = export(path, tmp_path / "mdn.onnx")
    assert compare_with_torch(path, graph) < 1e-5
    model = onnx.load(str(graph))
    assert problems(model) == []
    assert any("calibration.scale" in tensor.name for tensor in model.graph.initializer)


def test_what_gives_one_pose_or_kernel_means_does_not_use_it():
    network = {**SMALL["mdn"][0], "mode": "means"}
    torch.manual_seed(0)
    sampler = build_sampler(
        dataclasses.replace(
            header("mdn", calibrated=True), network={**network, "calibrated": True}, hypotheses=3, fixed_hypotheses=3
        )
    ).eval()
    inputs = (torch.randn(2, 17, 2), torch.rand(2, 17), torch.zeros(2, 3, 49))
    with torch.no_grad():
        before = sampler(*inputs)[0]
        sampler.calibration.scale.fill_(3.0)
        assert torch.equal(sampler(*inputs)[0], before)
