"""DRPose's and PRPose's recipes: they learn, keep the first stage as it is, and the published settings run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.training.data.motion import Clip, write_motion

torch = pytest.importorskip("torch")

from posepipe.lifters.build import load  # noqa: E402
from posepipe.lifters.checkpoint import read_header  # noqa: E402
from posepipe.lifters.drpose.sampler import DRPoseSampler  # noqa: E402
from posepipe.lifters.schedulers.cosine import alpha_bar  # noqa: E402
from posepipe.training.recipes.drpose import noisy, start_as_first  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
HTNET = ["channels=24", "hidden=32", "gcn_hidden=16", "heads=4"]
DCGCT = ["channels=20", "heads=4"]
DENOISER = ["channels=16", "layers=1", "heads=2", "refinement_hidden=8", "validation_frames=60"]
VARIANCE = ["variance_width=8", "variance_blocks=1", "validation_frames=60"]


def train(name: str, out: Path, *changed: str) -> int:
    given = [f"out={out}", "threads=1", "validate_every=1000", *changed]
    flags = [part for value in given for part in ("--set", value)]
    state = out.with_suffix(".state")
    return main(["train", str(CONFIGS / f"{name}.toml"), *flags, "--state", str(state), "--accelerator", "cpu"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, people: Callable[..., np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("motion") / "m.h5"
    write_motion([Clip(s, s, people(300, i), split=s) for i, s in enumerate(("train", "validation"))], path, "test")
    return path


@pytest.fixture(scope="module")
def first(data: Path) -> Path:
    out = data.parent / "htnet.safetensors"
    assert train("htnet_first_cmu", out, f"data={data}", "batch=64", "steps=80", "validation_frames=60", *HTNET) == 0
    return out


def frozen(path: Path, prefix: str, like: Path) -> None:
    """The first stage inside a checkpoint is the one that it was given, to the bit."""
    _, inside = load(path)
    _, alone = load(like)
    weights = {name: value for name, value in inside.state_dict().items() if name.startswith(prefix)}
    assert weights
    for name, value in weights.items():
        assert torch.equal(value, alone.state_dict()["net." + name.removeprefix(prefix)]), name


def test_drpose_learns_over_a_frozen_first_stage(data: Path, first: Path, tmp_path: Path) -> None:
    changed = [f"data={data}", f"first={first}", "batch=32", "average=0.9", *DENOISER]
    found = []
    for steps in (1, 100):
        out = tmp_path / f"{steps}.safetensors"
        assert train("drpose_cmu", out, f"steps={steps}", *changed) == 0
        header = read_header(out)
        found.append(header.provenance["metrics"]["gt_2d"])
    assert (header.lifter, header.space, header.network["first"]["lifter"]) == ("drpose", "person", "htnet")
    assert header.noise_shape == (header.steps, 17, 3)
    frozen(out, "first.net.", first)
    begun = read_header(first).provenance["metrics"]["gt_2d"]["mpjpe"]
    assert found[0]["mpjpe"] == pytest.approx(begun, rel=0.05), "it starts as the first stage"
    assert found[1]["energy"] < 0.9 * found[0]["energy"]
    _, sampler = load(out)
    with torch.no_grad():
        poses, weights = sampler(torch.randn(2, 17, 2), torch.ones(2, 17), torch.randn(2, 7, *header.noise_shape))
    assert poses.shape == (2, 7, 17, 3)
    assert float(poses.std(1)[:, 1:].mean()) > 0.005, "hypotheses differ"
    assert weights.exp().sum(1).tolist() == pytest.approx([1, 1])


def test_a_denoiser_starts_as_its_first_stage() -> None:
    torch.manual_seed(0)
    sampler = DRPoseSampler({"lifter": "htnet", "channels": 24, "heads": 4, "blocks": 1}, channels=16, heads=2).eval()
    start_as_first(sampler.net)
    tokens, first = torch.randn(3, 17, 2), 0.5 * torch.randn(3, 17, 3)
    for time in (0, 500, 999):
        with torch.no_grad():
            clean = sampler.net(tokens, 0.1 * torch.randn(3, 4, 17, 3), first, torch.full((3,), time))
        assert float((clean - first[:, None]).abs().mean()) < 0.05
    net = sampler.net
    net(tokens, torch.randn(3, 4, 17, 3), first, torch.tensor([5, 6, 7])).square().mean().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in (net.modulation.weight, net.layers[0].cheb1.weight)
    )


def test_noisy_poses_have_the_schedules_moments() -> None:
    torch.manual_seed(0)
    joints, times = torch.full((2, 17, 3), 2.0), torch.tensor([100, 900])
    drawn = noisy(joints, times, torch.randn(2, 4000, 17, 3), 0.25)
    for row, time in enumerate((100, 900)):
        kept = alpha_bar(time)
        assert float(drawn[row].mean()) == pytest.approx(2 * kept**0.5, abs=0.004)
        assert float(drawn[row].std()) == pytest.approx(0.25 * (1 - kept) ** 0.5, rel=0.02)


def test_noise_in_other_units_is_noise_times_that_unit() -> None:
    torch.manual_seed(0)
    make = {"first": {"lifter": "htnet", "channels": 24, "heads": 4, "blocks": 1}, "channels": 16, "heads": 2}
    plain, scaled = DRPoseSampler(**make).eval(), DRPoseSampler(**make, noise_scale=0.1).eval()
    scaled.load_state_dict(plain.state_dict())
    keypoints, confidence, noise = torch.randn(2, 17, 2), torch.ones(2, 17), torch.randn(2, 3, 5, 17, 3)
    with torch.no_grad():
        assert torch.allclose(scaled(keypoints, confidence, noise)[0], plain(keypoints, confidence, 0.1 * noise)[0])


def test_the_published_drpose_settings_run(data: Path, tmp_path: Path) -> None:
    stage, out = tmp_path / "dcgct.safetensors", tmp_path / "w.safetensors"
    virtual = [f"data={data}", "keypoints=virtual", "conversion=blazepose33-h36m17@1", "epochs=0", "batch=16"]
    small = ["steps=2", "validation_frames=30"]
    assert train("dcgct_published", stage, *virtual, *small, *DCGCT) == 0
    for in_training in ("false", "true"):
        chosen = [*virtual, *DENOISER, *small, f"first={stage}", f"first_in_training={in_training}"]
        assert train("drpose_published", out, *chosen) == 0
        _, inside = load(out)
        _, alone = load(stage)
        drifted = [
            name
            for name, value in alone.state_dict().items()
            if "running_mean" in name and not torch.equal(value, inside.first.state_dict()[name])
        ]
        assert bool(drifted) == (in_training == "true"), "the authors' batch-norm statistics drift"
    network = read_header(out).network
    assert network["faithful"] is True
    assert "noise_scale" not in network


def test_prpose_learns_where_the_lifter_errs(data: Path, first: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    changed = [f"data={data}", f"first={first}", "batch=64", "log_every=1", "steps=150", "alphas=[0.001,0.02]"]
    assert train("prpose_cmu", out, *changed, *VARIANCE) == 0
    header, sampler = load(out)
    assert header.network["alpha"] in (0.001, 0.02)
    assert header.noise_shape == (1, 17, 2)
    frozen(out, "net.lifter.", first)
    lines = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    losses = [line["variance"] for line in lines if "variance" in line]
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])
    with torch.no_grad():
        ratio = sampler.net.variance(sampler.input(torch.randn(200, 17, 2) * 0.3, torch.ones(200, 17)))
    assert float(ratio[:, 3].mean()) > float(ratio[:, 0].mean()), "ankles are harder than the hip, which is at 0"


def test_the_light_gcn_is_trained_beside_its_noise(data: Path, tmp_path: Path) -> None:
    errors = []
    for steps in (1, 80):
        out = tmp_path / f"{steps}.safetensors"
        changed = [f"data={data}", "batch=64", f"steps={steps}", "lifter_width=16", "alphas=[0.005]", "average=0.9"]
        assert train("prpose_mgcn_cmu", out, *changed, "variance_width=8", "validation_frames=60") == 0
        errors.append(read_header(out).provenance["metrics"]["gt_2d"]["mpjpe"])
    assert errors[1] < 0.8 * errors[0]


def test_the_published_prpose_settings_run(data: Path, tmp_path: Path) -> None:
    stage, out = tmp_path / "htnet.safetensors", tmp_path / "w.safetensors"
    virtual = [f"data={data}", "keypoints=virtual", "conversion=blazepose33-h36m17@1", "epochs=0", "batch=16"]
    small = ["steps=2", "validation_frames=30"]
    assert train("htnet_published", stage, *virtual, *small, *HTNET) == 0
    assert train("prpose_published", out, *virtual, *VARIANCE, *small, f"first={stage}") == 0
    header = read_header(out)
    assert (header.network["alpha"], header.noise_shape) == (0.005, (2, 17, 2))


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("drpose_cmu", ["energy=0.0", "best=0.0", "aggregate=0.0", "square=0.0"], "nothing to learn"),
        ("drpose_cmu", ["rolled=1"], "not defined"),
        ("drpose_cmu", ["first=nowhere.safetensors"], "is not there"),
        ("drpose_cmu", ["conversion=h36m17@1"], "conversion"),
        ("prpose_cmu", ["use_confidence=false"], "use_confidence"),
        ("prpose_cmu", ["lifter=mgcn"], "no first stage"),
    ],
)
def test_settings_that_contradict_are_refused(
    data: Path, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str, changed: list[str], said: str
) -> None:
    assert train(name, tmp_path / "w.safetensors", f"data={data}", f"first={first}", "steps=1", *changed) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "w.safetensors").exists()
