"""HTNet's and DC-GCT's recipe: it learns, mirrored copies are mirror images, the published settings run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.training.data.motion import Clip, write_motion

torch = pytest.importorskip("torch")

from posepipe.lifters.build import load  # noqa: E402
from posepipe.training.recipes.joints import copies  # noqa: E402

ROOT = Path(__file__).parents[2]
SMALL = {
    "htnet": ["channels=24", "hidden=32", "gcn_hidden=16", "heads=4"],
    "dcgct": ["channels=20", "heads=4"],
}


def train(config: Path, folder: Path, *changed: str) -> Path:
    out = folder / "w.safetensors"
    given = [f"out={out}", "threads=1", *changed]
    flags = [part for value in given for part in ("--set", value)]
    assert main(["train", str(config), *flags, "--state", str(folder / "s.safetensors"), "--accelerator", "cpu"]) == 0
    return out


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_the_shipped_settings_learn(recipe: str, tmp_path: Path, people: Callable[..., np.ndarray]) -> None:
    data = tmp_path / "m.h5"
    write_motion([Clip(s, s, people(300, i), split=s) for i, s in enumerate(("train", "validation"))], data, "test")
    changed = [f"data={data}", "batch=64", "validation_frames=200", "validate_every=1000", *SMALL[recipe]]
    errors, stage = [], f"{recipe}_first"
    for steps in (1, 120):
        out = train(ROOT / "configs" / "train" / f"{stage}_cmu.toml", tmp_path, f"steps={steps}", *changed)
        header, sampler = load(out)
        assert (header.lifter, header.space, header.fixed_hypotheses) == (recipe, "person", 1)
        assert len(header.residual_std) == 17
        assert header.residual_std[0] == 0.0
        assert header.residual_std[3] > 0
        errors.append(header.provenance["metrics"]["gt_2d"]["mpjpe"])
    assert errors[1] < 0.4 * errors[0]
    assert errors[1] < 280, "people who stand, turned anywhere: a network that ignores its input is at 310 mm"
    keypoints, confidence = torch.randn(3, 17, 2), torch.ones(3, 17)
    with torch.no_grad():
        pose, weights = sampler(keypoints, confidence, torch.zeros(3, 1))
    assert pose.shape == (3, 1, 17, 3)
    assert float(pose[:, :, 0].abs().max()) == 0.0
    assert float(weights.abs().max()) == 0.0


def test_copies_are_mirror_images() -> None:
    keypoints, confidence, joints = torch.randn(4, 17, 2), torch.rand(4, 17), torch.randn(4, 17, 3)
    sample = (keypoints, confidence, joints)
    assert copies(sample, False) is sample
    twice = copies(sample, True)
    for part, whole in zip(sample, twice, strict=True):
        assert torch.equal(whole[:4], part)
    left_wrist, right_wrist = 13, 16
    assert torch.equal(twice[0][4:, left_wrist], keypoints[:, right_wrist] * torch.tensor([-1.0, 1.0]))
    assert torch.equal(twice[1][4:, left_wrist], confidence[:, right_wrist])
    assert torch.equal(twice[2][4:, left_wrist], joints[:, right_wrist] * torch.tensor([-1.0, 1.0, 1.0]))
