from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posepipe.errors import UsageError
from posepipe.lifters.authors import read_pth
from posepipe.lifters.codec import MIRROR, mirror_joints, mirror_keypoints
from posepipe.lifters.drpose.authors import from_authors
from posepipe.lifters.drpose.net import Denoiser, time_features
from posepipe.lifters.drpose.sampler import DRPoseSampler
from posepipe.lifters.joint_codec import with_mirror
from posepipe.lifters.schedulers import cosine

OVER = ["drpose_dcgct", "drpose_htnet"]


def load(authors: Path, folder: str, steps: int = 2) -> DRPoseSampler:
    result = from_authors(read_pth(authors / folder / "model.pth"), steps=steps)
    assert not result.unexpected
    sampler = DRPoseSampler(**result.network)
    sampler.load_state_dict(result.state)
    return sampler.eval()


def arrays(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


Close = Callable[[str, torch.Tensor, torch.Tensor], None]


@pytest.fixture
def close(parity: Callable[..., None], folder: str) -> Close:
    """In metres; what is inside the network is compared in its own units."""
    system = "drpose:htnet" if folder.endswith("htnet") else "drpose"
    return lambda what, got, expected: parity(system, what, got, expected, relative=False)


@pytest.mark.shared
@pytest.mark.parametrize("folder", OVER)
@torch.no_grad()
def test_the_authors_denoiser_is_reproduced(authors: Path, close: Close, folder: str) -> None:
    sampler, data = load(authors, folder), arrays(authors / folder / "denoiser.npz")
    keypoints, first = data["input_2d"][:, 0], data["x_pred"][:, 0]
    net, seen = sampler.net, torch.ones(2, 17)
    close("first stage", sampler.first.pose(keypoints, seen), first)
    close("first stage", sampler.first.pose(data["input_2d_flip"][:, 0], seen), data["x_pred_flip"][:, 0])
    close("embeddings", net.embed_time(time_features(torch.tensor([499]), net.channels)), data["time_mlp_t499"])
    close("embeddings", net.condition(keypoints), data["cond_embed"])
    outputs = [name for name in data if name.startswith("out_")]
    assert len(outputs) == 15
    for name in outputs:
        _, count, time = name.split("_")
        times = data["t_mixed"] if time == "tmixed" else torch.full((2,), int(time[1:]))
        close("denoiser", net(keypoints, data[f"x_t_{count}"][:, :, 0], first, times), data[name][:, :, 0])
    close("training path", net(keypoints, data["train_path_x_t"], first, data["train_path_t"]), data["train_path_out"])


@pytest.mark.shared
@pytest.mark.parametrize("folder", OVER)
@torch.no_grad()
def test_the_authors_flip_step_is_reproduced(authors: Path, close: Close, folder: str) -> None:
    sampler, data = load(authors, folder), arrays(authors / folder / "denoiser.npz")
    keypoints, confidence = with_mirror(data["input_2d"][:, 0], torch.ones(2, 17))
    close("mirrored keypoints", keypoints[2:], data["input_2d_flip"][:, 0])
    person = sampler.net.prepare(sampler.input(keypoints, confidence), sampler.first.pose(keypoints, confidence))
    sample = data["step_img"][:, :, 0]
    for time in (999, 499):
        embedded = sampler.net.embed_time(time_features(torch.tensor([time]), sampler.net.channels))[0]
        clean = sampler.estimate(sample, person, embedded)
        close("one mirror-averaged step", clean, data[f"step_t{time}_x_start"][:, :, 0])
        kept = cosine.alpha_bar(time)
        noise = (sample.double() - kept**0.5 * clean.double()) / (1 - kept) ** 0.5
        close("one mirror-averaged step", noise.float(), data[f"step_t{time}_pred_noise"][:, :, 0])


@pytest.mark.shared
@pytest.mark.parametrize("folder", OVER)
@pytest.mark.parametrize("case", ["K1_H1", "K2_H3", "K5_H20", "K7_H2"])
@torch.no_grad()
def test_the_authors_sampling_is_reproduced_at_every_step(authors: Path, close: Close, folder: str, case: str) -> None:
    data = arrays(authors / folder / f"sampling_{case}.npz")
    sampler = load(authors, folder, len(data["times"]) - 1)
    assert sampler.scheduler.timesteps == tuple(data["times"].tolist()[:-1])
    drawn = sorted(name for name in data if name.startswith("noise_"))
    noise = torch.stack([data[name][:, :, 0] for name in drawn], 2)
    assert noise.shape[2:] == sampler.noise_shape
    keypoints, confidence = data["input_2d"][:, 0], torch.ones(2, 17)
    steps = torch.stack(sampler.trajectory(keypoints, confidence, noise), 1)
    close(f"sampling {case}, every step", steps, data["output"][:, :, :, 0])
    hypotheses, log_weights = sampler(keypoints, confidence, noise)
    close(f"sampling {case}, every step", hypotheses[:, :, 1:], data["output"][:, -1, :, 0, 1:])
    assert not hypotheses[:, :, 0].any()
    torch.testing.assert_close(log_weights.exp().sum(1), torch.ones(2))


@pytest.mark.parametrize("name", OVER)
def test_pinned_numbers(pinned: Callable[[str], Any], name: str) -> None:
    data = pinned(name)
    sampler = data.fill(DRPoseSampler(**data.network))
    data.check_sampler(sampler)
    with torch.no_grad():
        steps = sampler.trajectory(*(data.given(n) for n in ("keypoints", "confidence", "noise")))
    np.testing.assert_allclose(torch.stack(steps, 1).numpy(), data.expected("trajectory"), atol=1e-5, rtol=0)


def test_published_size() -> None:
    assert sum(p.numel() for p in Denoiser().parameters()) == 1_113_002
    assert sum(p.numel() for p in DRPoseSampler({"lifter": "dcgct"}).parameters()) == 3_182_829
    assert sum(p.numel() for p in DRPoseSampler({"lifter": "htnet"}).parameters()) == 4_161_491


@pytest.fixture
def small(pinned: Callable[[str], Any]) -> tuple[DRPoseSampler, tuple[torch.Tensor, ...]]:
    data = pinned("drpose_dcgct")
    sampler = data.fill(DRPoseSampler(**data.network))
    return sampler, tuple(data.given(n) for n in ("keypoints", "confidence", "noise"))


@torch.no_grad()
def test_a_mirrored_person_gets_the_mirrored_hypotheses(small: Any) -> None:
    sampler, (keypoints, confidence, noise) = small
    plain = sampler(keypoints, confidence, noise)[0]
    mirrored = sampler(mirror_keypoints(keypoints), confidence[:, MIRROR], mirror_joints(noise))[0]
    torch.testing.assert_close(mirror_joints(mirrored), plain, atol=2e-6, rtol=0)
    sampler.flip = False
    assert not torch.allclose(sampler(keypoints, confidence, noise)[0], plain, atol=1e-3)


@torch.no_grad()
def test_a_hypothesis_depends_on_its_own_noise_and_person_alone(small: Any) -> None:
    sampler, (keypoints, confidence, noise) = small
    everything = sampler(keypoints, confidence, noise)[0]
    alone = sampler(keypoints[1:2], confidence[1:2], noise[1:2, 2:3])[0]
    torch.testing.assert_close(alone[0, 0], everything[1, 2], atol=2e-6, rtol=0)
    broken = keypoints.clone()
    broken[0] = float("nan")
    torch.testing.assert_close(sampler(broken, confidence, noise)[0][1:], everything[1:], atol=2e-6, rtol=0)
    for draw in range(sampler.noise_shape[0]):
        changed = noise.clone()
        changed[0, 0, draw] += 0.5
        moved = (sampler(keypoints, confidence, changed)[0] - everything).abs().amax((-1, -2)) > 1e-4
        assert moved.nonzero().tolist() == [[0, 0]], f"draw {draw}"


@torch.no_grad()
def test_what_belongs_to_the_person_is_computed_once(small: Any) -> None:
    sampler, (keypoints, confidence, noise) = small
    people, count = noise.shape[:2]
    rows: dict[str, list[int]] = {}
    for name, module in sampler.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda _m, given, _o, name=name: rows.setdefault(name, []).append(given[0].shape[:-1].numel())
            )
    sampler(keypoints, confidence, noise)
    both = 2 * people * 17
    steps = len(sampler.scheduler.timesteps)
    assert rows["first.net.head"] == [both]
    assert rows["net.time1"] == [steps]
    assert rows["net.condition"] == [both]
    assert rows["net.modulation"] == [both] * steps
    assert rows["net.layers.0.attention.qkv"] == [both * count] * steps


@torch.no_grad()
def test_only_the_faithful_mode_clamps(small: Any) -> None:
    sampler, (keypoints, confidence, noise) = small
    sampler.net.output.bias += torch.tensor([0.0, 0.0, 1.2])
    steps = sampler.trajectory(keypoints, confidence, noise)
    assert max(float(s.abs().max()) for s in steps) == pytest.approx(1.1)
    sampler.faithful = False
    assert float(sampler(keypoints, confidence, noise)[0].abs().max()) > 1.15


def test_any_single_hypothesis_lifter_can_come_first() -> None:
    sampler = DRPoseSampler({"lifter": "martinez", "width": 8}, steps=2, channels=8, layers=1, heads=2).eval()
    hypotheses, log_weights = sampler(torch.randn(2, 17, 2), torch.ones(2, 17), torch.randn(2, 3, 2, 17, 3))
    assert hypotheses.shape == (2, 3, 17, 3)
    assert log_weights.shape == (2, 3)
    with pytest.raises(UsageError, match="Its first stage is one of"):
        DRPoseSampler({"lifter": "mdn"})
