"""`weights` of a configuration: a run begins where that checkpoint was, and one that does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.training.data.motion import Clip, write_motion

torch = pytest.importorskip("torch")

from posepipe.lifters.build import load  # noqa: E402
from posepipe.training.recipes import read_config  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
SMALL = {
    "martinez": ["width=16", "blocks=1"],
    "mdn": ["width=16", "blocks=1", "kernels=2", "hypotheses=5"],
    "htnet": ["channels=24", "hidden=16", "gcn_hidden=8", "heads=4"],
    "dcgct": ["channels=20", "heads=4"],
    "wsgan": ["width=16", "latent=8", "kcs_width=16", "critic=4", "codes=2", "people=8"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, people: Callable[..., np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("motion") / "small.h5"
    write_motion([Clip(s, s, people(200, i), split=s) for i, s in enumerate(("train", "validation"))], path, "test")
    return path


def train(recipe: str, data: Path, out: Path, *changed: str) -> int:
    config = out.with_suffix(".toml")
    config.write_text(f'recipe = "{recipe}"\ndata = "{data}"\nout = "{out}"\n')
    common = ["threads=1", "batch=32", "validation_frames=40", "average=0.0", "precision=32-true"]
    flags = [part for value in (*common, *SMALL[recipe], *changed) for part in ("--set", value)]
    return main(["train", str(config), *flags, "--state", str(out.with_suffix(".state")), "--accelerator", "cpu"])


@pytest.mark.parametrize("recipe", SMALL)
def test_it_begins_where_the_checkpoint_was(recipe: str, data: Path, tmp_path: Path) -> None:
    """One step of almost no size from it, with other random numbers: the same network and statistics, not new ones."""
    first, other = tmp_path / "first.safetensors", tmp_path / "other.safetensors"
    assert train(recipe, data, first, "steps=3", "seed=1") == 0
    little = ["steps=1", "seed=2", "rate=1e-9"] + (["critic_rate=1e-9"] if recipe == "wsgan" else [])
    for changed, expected in (([f"weights={first}"], True), ([], False)):
        assert train(recipe, data, other, *little, *changed) == 0
        before, after = (
            {k: v for k, v in load(path)[1].state_dict().items() if not k.startswith(("calibration", "spread", "tail"))}
            for path in (first, other)
        )
        drifting = ("running_mean", "running_var", "num_batches_tracked")  # batch norm's, which no rate holds back
        same = all(torch.allclose(after[k], v, atol=1e-4) for k, v in before.items() if not k.endswith(drifting))
        assert same is expected
    assert load(other)[0].provenance["config"]["weights"] is None


def test_what_does_not_fit_is_refused_with_the_first_difference(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, out = tmp_path / "first.safetensors", tmp_path / "out.safetensors"
    assert train("martinez", data, first, "steps=1") == 0
    for changed, said in (
        (["width=24", f"weights={first}"], "width"),
        (["conversion=h36m17@1", f"weights={first}"], "conversion 'blazepose33-h36m17@1'"),
        ([f"weights={tmp_path / 'nowhere.safetensors'}"], "nowhere.safetensors"),
    ):
        capsys.readouterr()
        assert train("martinez", data, out, "steps=1", *changed) != 0
        text = capsys.readouterr().err
        assert said in text
        assert "Traceback" not in text
        assert not out.exists()
    assert train("mdn", data, out, "steps=1", f"weights={first}") != 0
    assert "lifter 'martinez'" in capsys.readouterr().err


def test_every_stage_goes_on_from_what_another_writes() -> None:
    """The shipped configurations find each other: what checkpoint one names, another one makes; there is no circle."""
    configs = {path.stem: read_config(path)[1] for path in CONFIGS.glob("*_cmu.toml")}
    made = {config.out: name for name, config in configs.items()}
    assert len(made) == len(configs)
    asks = {
        name: [
            made[path] for key in ("weights", "first", "start") if str(path := getattr(c, key, "")).endswith("tensors")
        ]
        for name, c in configs.items()
    }
    assert asks["martinez_cmu"] == ["martinez_fifth_cmu"]
    order: list[str] = []
    while len(order) < len(asks):
        ready = [name for name in asks if name not in order and set(asks[name]) <= set(order)]
        assert ready, f"in a circle: {sorted(asks.keys() - set(order))}"
        order += ready
