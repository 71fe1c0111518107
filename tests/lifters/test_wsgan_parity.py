from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posepipe.lifters.wsgan import losses
from posepipe.lifters.wsgan.net import BONES, JOINTS, Discriminator, Encoder, Generator, bone_matrix
from posepipe.lifters.wsgan.sampler import WsganSampler, normalise, rotation
from posepipe.skeleton import H36M_17
from posepipe.training.import_checkpoint.wsgan_tf import import_critics, import_wsgan


@pytest.fixture(scope="module")
def io(authors: Path) -> dict[str, np.ndarray]:
    with np.load(authors / "bmvc" / "io.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def imported(authors: Path) -> WsganSampler:
    result = import_wsgan(authors / "bmvc")
    assert all("Encoder" in name or name.startswith("Discriminator") for name in result.unexpected)
    sampler = WsganSampler(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


@pytest.fixture(scope="module")
def critics(authors: Path) -> tuple[Encoder, Discriminator]:
    return import_critics(authors / "bmvc")


@pytest.mark.shared
def test_the_authors_generator_camera_and_encoder_are_reproduced(
    imported: WsganSampler,
    critics: tuple[Encoder, Discriminator],
    io: dict[str, np.ndarray],
    parity: Callable[..., None],
) -> None:
    x, z = torch.from_numpy(io["x2d"]), torch.from_numpy(io["z"])
    poses, camera = imported.net(x, torch.stack([z, 0 * z], 1))
    parity("wsgan", "pose generator", poses[:, 0], io["pose"])
    parity("wsgan", "pose of the zero code", poses[:, 1], io["pose_zero_code"])
    parity("wsgan", "camera", camera.flatten(1), io["cam"])
    parity("wsgan", "encoder", critics[0](torch.from_numpy(io["pose"])), io["enc"])


@pytest.mark.shared
def test_the_authors_discriminator_is_reproduced(
    critics: tuple[Encoder, Discriminator], io: dict[str, np.ndarray], parity: Callable[..., None]
) -> None:
    parity("wsgan", "discriminator", critics[1](torch.from_numpy(io["poses3d_real"])), io["d_real"])
    parity("wsgan", "discriminator", critics[1](torch.from_numpy(io["pose"])), io["d_fake"])


@pytest.mark.shared
def test_the_authors_camera_step_is_reproduced(io: dict[str, np.ndarray], parity: Callable[..., None]) -> None:
    camera = torch.from_numpy(io["cam"]).unflatten(1, (2, 3))
    pose = torch.from_numpy(io["pose"]).unflatten(1, (3, 16))
    parity("wsgan", "template to camera frame", rotation(camera), io["R"])
    parity("wsgan", "template to camera frame", (rotation(camera) @ pose).flatten(1), io["pose_cam"])
    parity("wsgan", "template to camera frame", (camera @ pose).flatten(1), io["pose2d_repro"])


@pytest.mark.shared
def test_the_authors_losses_are_reproduced(
    critics: tuple[Encoder, Discriminator], io: dict[str, np.ndarray], parity: Callable[..., None]
) -> None:
    encoder, discriminator = critics
    x, z, pose, real = (torch.from_numpy(io[n]) for n in ("x2d", "z", "pose", "poses3d_real"))
    camera = torch.from_numpy(io["cam"]).unflatten(1, (2, 3))
    got = {
        "loss_reprojection": losses.reprojection(x, camera, pose),
        "loss_cam": losses.camera_loss(camera),
        "loss_reg": losses.diversity(pose, z),
        "loss_g_mmd": losses.mmd2(discriminator(pose), discriminator(real)),
        "loss_enc": losses.encoder_loss(encoder(pose), z),
        "loss_gp": losses.gradient_penalty(discriminator, real, pose, torch.from_numpy(io["gp_alpha"])),
    }
    for name, value in got.items():
        parity("wsgan", "losses", value, io[name])


@pytest.mark.shared
def test_hypotheses_are_the_authors_camera_frame_poses(imported: WsganSampler, io: dict[str, np.ndarray]) -> None:
    """Through the contract: any scale and place of the 2D pose, the authors' order of joints, times 1.1, minus hip."""
    x = torch.from_numpy(io["x2d"]).unflatten(1, (2, 16)).mT
    x = x - x.mean(1, keepdim=True)
    keypoints = torch.full((8, 17, 2), float("nan"))
    keypoints[:, [H36M_17.index(name) for name in JOINTS]] = 3.0 * x + torch.tensor([0.3, -0.2])
    z = torch.from_numpy(io["z"])[:, None]
    hypotheses, log_weights = imported(keypoints, torch.ones(8, 17), z)
    standard = (x / x.std((1, 2), unbiased=False, keepdim=True)).mT.flatten(1)
    pose, camera = imported.net(standard, z)
    turned = 1.1 * (rotation(camera)[:, None] @ pose.unflatten(-1, (3, 16))).mT
    for slot, name in enumerate(JOINTS):
        expected = (turned[:, :, slot] - turned[:, :, JOINTS.index("hip")]).detach().numpy()
        np.testing.assert_allclose(hypotheses[:, :, H36M_17.index(name)].detach().numpy(), expected, atol=1e-5)
    assert not log_weights.any()


def test_pinned_numbers(pinned: Callable[[str], Any]) -> None:
    data = pinned("wsgan")
    sampler = data.fill(WsganSampler(**data.network))
    encoder = data.fill(Encoder(8, 6), "encoder")
    critic = data.fill(Discriminator(4, 5, 3), "critic")
    data.check_sampler(sampler)
    codes, real, x = data.given("noise")[0], data.given("real"), data.given("x")
    pose, camera = sampler.net(x, codes[:, None])
    pose = pose[:, 0]
    got = {
        "reprojection": losses.reprojection(x, camera, pose),
        "camera": losses.camera_loss(camera),
        "diversity": losses.diversity(pose, codes),
        "mmd2": losses.mmd2(critic(pose), critic(real)),
        "encoder": losses.encoder_loss(encoder(pose), codes),
        "penalty": losses.gradient_penalty(critic, real, pose, data.given("mix")),
    }
    assert {n: v.item() for n, v in got.items()} == pytest.approx({n: float(data.expected(n)) for n in got}, rel=1e-4)


def test_zero_code_ignores_the_noise(pinned: Callable[[str], Any]) -> None:
    data = pinned("wsgan")
    given = data.given("keypoints"), data.given("confidence")
    noise = data.given("noise")
    zero = data.fill(WsganSampler(**data.network, mode="zero"))(*given, noise)[0]
    sample = data.fill(WsganSampler(**data.network))
    assert torch.equal(zero, sample(*given, 0 * noise)[0])
    assert (sample(*given, noise)[0] - zero).abs().max() > 0.01


def test_rotation_is_numpys_spectral_norm_and_cross_product() -> None:
    camera = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(4))
    norm = np.linalg.norm(camera.numpy(), ord=2, axis=(1, 2), keepdims=True)
    rows = camera.numpy() / norm
    expected = np.concatenate([rows, np.cross(rows[:, :1], rows[:, 1:])], 1)
    np.testing.assert_allclose(rotation(camera).numpy(), expected, atol=1e-5)


def test_rotation_recovers_a_scaled_rotation() -> None:
    random, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((20, 3, 3)))
    random *= np.sign(np.linalg.det(random))[:, None, None]
    camera = torch.from_numpy((1.7 * random[:, :2]).astype(np.float32))
    np.testing.assert_allclose(rotation(camera).numpy(), random, atol=1e-5)


def test_normalised_poses_have_mean_0_and_deviation_1_over_the_visible_joints() -> None:
    keypoints = 40 * torch.randn(6, 17, 2, generator=torch.Generator().manual_seed(6)) + 300
    confidence = torch.ones(6, 17)
    confidence[0, H36M_17.index("l_wrist")] = 0.0
    keypoints[1, H36M_17.index("head")] = float("nan")
    x = normalise(keypoints, confidence).unflatten(1, (2, 16))
    for person, unseen in ((0, ["l_wrist"]), (1, ["head"]), (2, [])):
        seen = [slot for slot, name in enumerate(JOINTS) if name not in unseen]
        np.testing.assert_allclose(x[person][:, seen].mean(1).numpy(), 0, atol=1e-5)
        assert x[person][:, seen].std(unbiased=False).item() == pytest.approx(1.0, abs=1e-5)
        assert all(not x[person][:, JOINTS.index(name)].any() for name in unseen)
    hidden = normalise(keypoints[:1], torch.zeros(1, 17))
    assert not hidden.any()


def test_bones_connect_neighbours() -> None:
    """Every bone of the network joins joints that are bones of H36M-17, but for hip-thorax, which skips the spine."""
    bones = {frozenset((H36M_17.joints[p], H36M_17.joints[c])) for p, c in H36M_17.bones}
    ours = {frozenset((JOINTS[a], JOINTS[b])) for a, b in BONES}
    assert ours - bones == {frozenset(("hip", "thorax"))}
    assert len(ours) == 15
    assert (bone_matrix().sum(0) == 0).all()


def test_mmd_of_equal_distributions_is_near_zero_and_grows_with_distance() -> None:
    generator = torch.Generator().manual_seed(7)
    a, b = torch.randn(2, 400, 4, generator=generator)
    assert abs(losses.mmd2(a, b).item()) < 0.1 < losses.mmd2(a, b + 1.0).item() < losses.mmd2(a, b + 2.0).item()


def test_size_of_the_published_networks() -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(Generator()) + count(Encoder()) == 14_832_694
    assert count(Discriminator()) == 4_511_368
