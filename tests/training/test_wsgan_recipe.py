"""The generator's recipe: what the discriminator is shown, the supervised loss, runs of a few steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posepipe.errors import InputError
from posepipe.skeleton import H36M_17
from posepipe.training.data.motion import Clip, write_motion

torch = pytest.importorskip("torch")

from posepipe.lifters.build import build_sampler, load  # noqa: E402
from posepipe.lifters.wsgan.net import BONES, JOINTS  # noqa: E402
from posepipe.lifters.wsgan.sampler import WsganSampler  # noqa: E402
from posepipe.training.energy import best_distance, energy_score  # noqa: E402
from posepipe.training.recipes import read_config, wsgan  # noqa: E402
from posepipe.training.recipes.supply import Source, training_source, validation_set  # noqa: E402
from posepipe.training.run_log import log_path  # noqa: E402
from posepipe.training.session import open_session  # noqa: E402
from posepipe.training.template_pose import facing, template_pose  # noqa: E402

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "train"
TINY = {"width": 16, "latent": 4, "pose_width": 4, "kcs_width": 8, "batch": 12, "critic": 3}
SUPERVISED = {"energy": 10.0, "best": 1.0, "schedule": "cosine", "from_mean": True, "use_confidence": True}
People = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, people: People) -> Path:
    path = tmp_path_factory.mktemp("motion") / "small.h5"
    clips = [Clip(f"c{i}", str(i), people(300, i), split="validation" if i == 2 else "train") for i in range(3)]
    write_motion(clips, path, "test")
    return path


def config_of(data: Path, out: Path, **changed: Any) -> wsgan.Config:
    small = {"steps": 12, "validate_every": 6, "validation_frames": 24, "save_every": 3, "log_every": 1, "threads": 1}
    given = {"recipe": "wsgan", "data": str(data), "out": str(out), "hypotheses": 6, **TINY, **small, **changed}
    return wsgan.Config(**given)


def run(config: wsgan.Config, folder: Path, **options: Any) -> list[dict[str, float]]:
    session = open_session(config, state=folder / "s.safetensors", accelerator="cpu", **options)
    wsgan.train(config, session)
    return [json.loads(line) for line in log_path(session.state).read_text().splitlines()]


def turns(count: int, seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((count, 3, 3)))
    return (q * np.sign(np.linalg.det(q))[:, None, None]).astype(np.float32)


def test_a_template_pose_depends_on_the_posture_only(people: People) -> None:
    joints = people(40).astype(np.float64)  # float32 eight metres away leaves 2e-6 m of rounding
    turned = joints @ turns(40, 1) + [3, -1, 8]
    plain, other = (template_pose(torch.from_numpy(poses)).unflatten(1, (3, 16)).numpy() for poses in (joints, turned))
    np.testing.assert_allclose(plain, other, atol=2e-6)
    np.testing.assert_allclose(plain.mean(-1), 0, atol=1e-6)
    for a, b in BONES:
        lengths = np.linalg.norm(joints[:, H36M_17.index(JOINTS[a])] - joints[:, H36M_17.index(JOINTS[b])], axis=-1)
        np.testing.assert_allclose(1.1 * np.linalg.norm(plain[..., a] - plain[..., b], axis=1), lengths, atol=1e-5)
    left, right = (plain[:, 0, JOINTS.index(name)] for name in ("l_shoulder", "r_shoulder"))
    assert (left > right + 0.2).all()
    assert (plain[:, 1, JOINTS.index("hip")] > plain[:, 1, JOINTS.index("thorax")] + 0.2).all(), "y is down"


def test_pose_and_true_camera_give_the_truth_back(people: People) -> None:
    joints = torch.from_numpy(people(30) @ turns(30, 2))
    camera = 1.7 * facing(joints).mT[:, :2]
    placed = WsganSampler(width=8, latent=2).place(template_pose(joints)[:, None], camera)[:, 0]
    relative = joints - joints[:, :1]
    known = [index for index, name in enumerate(H36M_17.joints) if name != "spine"]
    torch.testing.assert_close(placed[:, known], relative[:, known], atol=3e-6, rtol=0)
    half = relative[:, H36M_17.index("thorax")] / 2
    torch.testing.assert_close(placed[:, H36M_17.index("spine")], half, atol=3e-6, rtol=0)


def test_energy_score_is_its_definition() -> None:
    rng = np.random.default_rng(3)
    hypotheses, truth = rng.normal(size=(5, 4, 6, 3)), rng.normal(size=(5, 6, 3))

    def score(x: np.ndarray, y: np.ndarray) -> float:  # x (H,n), y (n)
        miss = np.mean([np.linalg.norm(a - y) for a in x])
        apart = np.mean([np.linalg.norm(a - b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
        return float(miss - apart / 2)

    each = np.mean([score(hypotheses[b, :, j], truth[b, j]) for b in range(5) for j in range(6)])
    whole = np.mean([score(hypotheses[b].reshape(4, -1), truth[b].reshape(-1)) for b in range(5)]) / np.sqrt(6)
    got = energy_score(torch.from_numpy(hypotheses), torch.from_numpy(truth)).item()
    assert got == pytest.approx((each + whole) / 2, rel=1e-9)
    best = np.linalg.norm(hypotheses - truth[:, None], axis=-1).mean(-1).min(1).mean()
    assert best_distance(torch.from_numpy(hypotheses), torch.from_numpy(truth)).item() == pytest.approx(best)


def test_energy_score_is_least_for_the_true_distribution() -> None:
    generator = torch.Generator().manual_seed(4)
    truth = torch.randn(20_000, 2, 3, generator=generator)
    noise = torch.randn(20_000, 2, 2, 3, generator=generator)
    exact = energy_score(noise, truth)
    for shift, spread in ((0.4, 1.0), (0.0, 0.6), (0.0, 1.5), (0.0, 0.0)):
        assert energy_score(shift + spread * noise, truth) > exact + 0.01


def test_confidences_reach_the_network() -> None:
    torch.manual_seed(5)
    sampler = WsganSampler(width=16, latent=4, use_confidence=True)
    keypoints, confidence, noise = torch.randn(3, 17, 2), torch.rand(3, 17), torch.randn(3, 2, 4)
    change = sampler(keypoints, confidence, noise)[0] - sampler(keypoints, 0.5 * confidence, noise)[0]
    assert change.abs().max() > 1e-3


def test_joints_that_were_not_seen_do_not_pull() -> None:
    torch.manual_seed(6)
    sampler = WsganSampler(width=16, latent=4)
    keypoints, pose, camera = torch.randn(3, 17, 2), torch.randn(3, 2, 48), torch.randn(3, 2, 3)
    confidence = torch.ones(3, 17)
    whole = wsgan.reprojection(sampler.given(keypoints, confidence), camera, pose)
    expected = np.mean(
        [wsgan.losses.reprojection(sampler.given(keypoints, confidence), camera, pose[:, h]).item() for h in range(2)]
    )
    assert whole.item() == pytest.approx(expected, rel=1e-5)
    confidence[:, H36M_17.index("l_knee")] = 0
    moved = pose.unflatten(2, (3, 16)).clone()
    moved[..., JOINTS.index("l_knee")] += 5.0
    x = sampler.given(keypoints, confidence)
    assert wsgan.reprojection(x, camera, moved.flatten(2)).item() == wsgan.reprojection(x, camera, pose).item()
    moved[..., JOINTS.index("l_ankle")] += 5.0
    assert wsgan.reprojection(x, camera, moved.flatten(2)).item() != wsgan.reprojection(x, camera, pose).item()


def test_killed_and_resumed_is_as_if_nothing_had_happened(data: Path, tmp_path: Path) -> None:
    """Two optimisers and two networks that are not shipped have to come back as well."""
    whole, cut, out = tmp_path / "whole", tmp_path / "cut", tmp_path / "g.safetensors"
    whole.mkdir(), cut.mkdir()
    config = config_of(data, out, **SUPERVISED)
    assert config.encoder > 0
    rows, weights = run(config, whole), out.read_bytes()
    assert len([row for row in rows if "loss" in row]) == 12
    out.unlink()

    def killed(done: int, steps: int, text: str) -> None:
        if done == 8:  # two steps after the last state
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, cut, report=killed)
    assert not out.exists()
    assert run(config, cut, resume=True) == rows
    assert out.read_bytes() == weights
    assert (cut / "s.safetensors").read_bytes() == (whole / "s.safetensors").read_bytes()


def test_published_losses_never_see_the_3d_of_the_lifted_people(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config_of(data, tmp_path / "g.safetensors", steps=3, hypotheses=3), people=5)

    def hidden(config: Any, rank: int = 0) -> Source:
        source = training_source(config, rank)

        def draw(rank: int, step: int, stream: int) -> Any:
            keypoints, confidence, joints = source.draw(rank, step, stream)
            joints[:5] = torch.nan
            return keypoints, confidence, joints

        return replace(source, draw=draw)

    monkeypatch.setattr(wsgan, "training_source", hidden)
    rows = [row for row in run(config, tmp_path) if "loss" in row]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert {"reprojection", "camera", "mmd", "diversity", "encoder", "penalty"} < set(rows[0])
    with pytest.raises(InputError, match="is nan"):  # and with the supervised loss they are seen
        run(replace(config, energy=1.0), tmp_path)


def test_the_discriminators_poses_are_other_peoples(data: Path, tmp_path: Path) -> None:
    for wrong in ({"batch": 8}, {"people": 7}, {"people": 2}, {"codes": 1}, {"critic": 1}):
        with pytest.raises(InputError, match=r"batch = \d+ has no room|people = 2 are fewer"):
            wsgan.train(
                config_of(data, tmp_path / "g", **wrong),
                open_session(config_of(data, tmp_path / "g"), state=tmp_path / "s", accelerator="cpu"),
            )


def test_it_learns_and_knows_its_error(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.safetensors"
    short = {"steps": 100, "rate": 3e-3, "batch": 32, "width": 32, "average": 0.9, "log_every": 99}
    weights = {"mmd": 0.05, "diversity": 0.0, "encoder": 0.0, "save_every": 1000, "validate_every": 100}
    config = config_of(data, out, **{**SUPERVISED, **short, **weights})
    rows = [row for row in run(config, tmp_path) if "loss" in row]
    assert rows[-1]["energy"] < 0.7 * rows[0]["energy"]
    header, sampler = load(out)
    assert isinstance(sampler, WsganSampler)
    assert header.network["latent"] == 4 == header.noise_shape[0]
    noisy = validation_set(config).noisy
    still = WsganSampler(**{**header.network, "mode": "zero"})
    still.load_state_dict(sampler.state_dict())
    pose = still(torch.from_numpy(noisy.keypoints), torch.from_numpy(noisy.confidence), torch.randn(24, 1, 4))[0][:, 0]
    error = np.linalg.norm(pose.detach().numpy() - noisy.joints, axis=-1)
    np.testing.assert_allclose(header.residual_std, np.sqrt((error**2).mean(0)), rtol=0.02)  # stored as float16


def test_settings_of_the_files() -> None:
    _, published = read_config(CONFIGS / "wsgan_published.toml")
    wsgan.check_rows(published)
    given = {name: getattr(published, name) for name in wsgan.losses.WEIGHTS}
    assert given == wsgan.losses.WEIGHTS
    assert (published.energy, published.best, published.betas, published.rate) == (0, 0, (0.5, 0.9), 1e-4)
    source = Source(lambda rank, step, stream: (torch.empty(0),) * 3, 64 * 100 + 7, 1)
    epoch = wsgan.epoch_steps(published, source, 1)
    assert epoch == 100
    rates = [wsgan.rate(published, step, epoch) for step in (0, 299, 300, 400)]
    assert rates == pytest.approx([1, 1, 0.94, 0.94**2])
    assert published.space == "screen"

    _, shipped = read_config(CONFIGS / "wsgan_cmu.toml")
    wsgan.check_rows(shipped)
    header = wsgan.header_of(shipped)
    sampler = build_sampler(header)
    size = sum(value.numel() for value in sampler.state_dict().values())
    assert 2 * size < 12e6, "fits beside the other weights in 60 MB"
    assert (header.space, header.hypotheses, header.fixed_hypotheses) == ("person", 20, None)
