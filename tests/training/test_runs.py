"""Training runs of a few steps: killed and resumed, out of time, out of disk, on two devices, with wrong settings."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.errors import InputError, OutputError, UsageError
from posepipe.training.data.motion import Clip, write_motion

torch = pytest.importorskip("torch")

from posepipe.lifters.build import load  # noqa: E402
from posepipe.training.recipes import RECIPES, martinez, mdn, read_config  # noqa: E402
from posepipe.training.run_log import log_path  # noqa: E402
from posepipe.training.session import open_session  # noqa: E402
from posepipe.training.state import State, load_state, save_state  # noqa: E402

STEPS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, people: Callable[..., np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("motion") / "small.h5"
    clips = [Clip(f"c{i}", str(i), people(300, i), split="validation" if i == 2 else "train") for i in range(3)]
    write_motion(clips, path, "test")
    return path


def settings(data: Path, out: Path, **changed: Any) -> dict[str, Any]:
    """Dropout and a small memory: what a resume has to get right."""
    small = {"width": 16, "dropout": 0.3, "steps": STEPS, "batch": 8, "validate_every": 4, "validation_frames": 20}
    logged = {"save_every": 3, "log_every": 1, "threads": 1, "memory_mb": 1}
    return {"recipe": "martinez", "data": str(data), "out": str(out), **small, **logged, **changed}


def run(config: Any, folder: Path, **options: Any) -> tuple[list[str], bytes]:
    """-> the log's lines and the checkpoint's bytes."""
    module = mdn if config.recipe == "mdn" else martinez
    session = open_session(config, state=folder / "s.safetensors", accelerator="cpu", **options)
    module.train(config, session)
    return log_path(session.state).read_text().splitlines(), Path(config.out).read_bytes()


def write_toml(path: Path, values: dict[str, Any]) -> Path:
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return path


KILLED = """
import os, signal, sys
from pathlib import Path
from posepipe.training.recipes import read_config
from posepipe.training.session import open_session

module, config = read_config(Path(sys.argv[1]))

def report(done, steps, text):
    if done == 8:  # two steps after the last state, with more batches already made
        os.kill(os.getpid(), signal.SIGKILL)

module.train(config, open_session(config, state=Path(sys.argv[2]), accelerator="cpu", report=report))
"""


def test_killed_and_resumed_is_as_if_nothing_had_happened(data: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    out = tmp_path / "m.safetensors"
    config = martinez.Config(**settings(data, out))
    lines, weights = run(config, whole)
    assert len([line for line in lines if "loss" in line]) == STEPS
    out.unlink()

    recipe = write_toml(tmp_path / "r.toml", settings(data, out))
    state = cut / "s.safetensors"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(recipe), str(state)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not out.exists()
    assert load_state(state, {**config.decisive(), "devices": 1}).step == 6
    again, same = run(config, cut, resume=True)
    assert again == lines
    assert same == weights
    assert state.read_bytes() == (whole / "s.safetensors").read_bytes()

    other = martinez.Config(**settings(data, out, rate=0.5))
    with pytest.raises(InputError, match=r"made with rate = 0\.001 \(now 0\.5\)"):
        run(other, cut, resume=True)
    with pytest.raises(InputError, match="recipe = 'martinez' "):
        load_state(state, {**config.decisive(), "recipe": "mdn", "devices": 1})
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match="Cannot read the training state"):
        run(config, cut, resume=True)
    with pytest.raises(InputError, match="no training state"):
        run(config, tmp_path, resume=True)


def test_time_is_up_and_the_best_weights_are_written(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    config = martinez.Config(**settings(data, out, steps=100_000))
    lines, _ = run(config, tmp_path, max_minutes=1e-9)
    assert len(lines) == 2, "one step and its validation"
    header, _ = load(out)
    assert header.provenance["step"] == 1
    again, _ = run(config, tmp_path, max_minutes=1e-9, resume=True)
    assert again[:2] == lines
    assert [json.loads(line)["step"] for line in again] == [0, 0, 1, 1]


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_kept(data: Path, tmp_path: Path, keep: str) -> None:
    """A rate that destroys what was learnt: the first validation is the best one."""
    out = tmp_path / "m.safetensors"
    rate = {"rate": 3.0, "validate_every": 1, "average": 0.0, "precision": "32-true", "clip": 1.0}
    lines, _ = run(martinez.Config(**settings(data, out, keep=keep, **rate)), tmp_path)
    found = {(row := json.loads(line))["step"] + 1: row["detector_noise_2d/mpjpe"] for line in lines if "gt_2d" in line}
    header, _ = load(out)
    expected = min(found, key=lambda step: found[step]) if keep == "best" else STEPS
    assert header.provenance["step"] == expected
    assert header.provenance["metrics"]["detector_noise_2d"]["mpjpe"] == found[expected]
    assert len(set(found.values())) > 6


def test_a_full_disk_leaves_the_state_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.safetensors"
    old, new = (State(step, {}, {"w": torch.full((50_000,), float(step))}) for step in (1, 2))
    save_state(path, old)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the system refuses in the middle of the file
    try:
        with pytest.raises(OutputError, match=r"s\.safetensors .*; the one before it is intact"):
            save_state(path, new)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            save_state(path, new)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    save_state(path, new)
    assert load_state(path, {}).step == 2


TWO = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from posepipe.training.recipes import martinez, read_config
from posepipe.training.run import Run
from posepipe.training.session import open_session

_, config = read_config(Path(sys.argv[1]))
folder = Path(sys.argv[2])
session = open_session(config, state=folder / "s.safetensors", accelerator="cpu", devices=2)
seen = []
to_device = type(session).to_device
type(session).to_device = lambda self, batch: seen.append(batch[0]) or to_device(self, batch)
kept = []
finish = Run.finish

def before_finish(self):
    kept.append({n: p.detach().clone() for n, p in self.sampler.named_parameters()})
    return finish(self)

Run.finish = before_finish
martinez.train(config, session)
torch.save({"weights": kept[0], "seen": torch.cat(seen)}, folder / f"rank{session.rank}.pt")
"""


def test_a_full_disk_at_the_end_loses_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, the weights that were there before are untouched, and --resume writes without training again."""
    import safetensors.torch

    out, state = tmp_path / "made" / "w.safetensors", tmp_path / "s.safetensors"
    toml = write_toml(tmp_path / "c.toml", settings(data, out, steps=4))
    argv = ["train", str(toml), "--state", str(state), "--accelerator", "cpu"]
    assert main(argv) == 0
    before = out.read_bytes()
    real = safetensors.torch.save_file

    def full(tensors: Any, path: str, **more: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    assert main([*argv, "--set", "seed=5"]) == 1
    text = capsys.readouterr().err
    assert "No space left on device" in text
    assert "--resume" in text
    assert out.read_bytes() == before
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    monkeypatch.setattr(safetensors.torch, "save_file", real)
    monkeypatch.setattr(martinez, "pose_loss", None)  # what a further step would need
    assert main([*argv, "--set", "seed=5", "--resume"]) == 0
    assert out.read_bytes() != before


def test_two_devices_end_with_equal_weights_from_different_samples(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    recipe = write_toml(tmp_path / "r.toml", settings(data, out, steps=4, validate_every=2, save_every=2))
    script = tmp_path / "two.py"
    script.write_text(TWO)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(recipe), str(tmp_path)], env=environment, capture_output=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert not torch.equal(first["seen"], second["seen"])
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    start = martinez.MartinezSampler(**martinez.header_of(martinez.Config(**settings(data, out))).network)
    assert any(not torch.equal(value, first["weights"][name]) for name, value in start.named_parameters())
    load(out)


def test_a_loss_that_is_not_finite_stops_the_run(data: Path, tmp_path: Path) -> None:
    config = martinez.Config(**settings(data, tmp_path / "m.safetensors", rate=1e30, precision="32-true"))
    with pytest.raises(InputError, match=r"loss is (nan|inf)"):
        run(config, tmp_path)
    assert not (tmp_path / "m.safetensors").exists()


def test_mixture_from_a_first_stage_with_hidden_joints(data: Path, tmp_path: Path) -> None:
    first = tmp_path / "m.safetensors"
    run(martinez.Config(**settings(data, first, steps=3)), tmp_path)
    given = settings(data, tmp_path / "d.safetensors", recipe="mdn", steps=3, start=str(first), hide=2)
    del given["width"]
    lines, _ = run(mdn.Config(**given), tmp_path)
    assert {"loss", "nll_per_number", "mean_m"} < set(json.loads(lines[0]))
    header, _ = load(tmp_path / "d.safetensors")
    assert (header.lifter, header.space, header.network["width"]) == ("mdn", "person", 16)


def test_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_toml(tmp_path / "r.toml", settings(data, tmp_path / "m.safetensors"))
    board = tmp_path / "board"
    common = ["train", str(recipe), "--state", str(tmp_path / "s.safetensors"), "--accelerator", "cpu"]
    assert main([*common, "--set", "steps=2", "--set", f"log_dir={board}", "--set", "rate=1"]) == 0
    assert "2/2 loss" in capsys.readouterr().out
    assert load(tmp_path / "m.safetensors")[0].provenance["config"]["rate"] == 1.0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(board))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1]
    assert {"samples_per_second", "gt_2d/mpjpe"} <= set(events.Tags()["scalars"])
    for wrong, says in (
        ("stepz=2", "Did you mean 'steps'?"),
        ("steps=2.5", "'steps' must be a int, not 2.5"),
        ("steps", "is not key=value"),
        ("loss=l1", "must be one of 'mpjpe', 'mse', not 'l1'"),
        ("data=gone.h5", "Cannot read motion from gone.h5"),
        ("keypoints=cpn", "has no cameras"),
    ):
        assert main([*common, "--set", wrong]) in (1, 2)
        error = capsys.readouterr().err
        assert says in error
        assert len(error.strip().splitlines()) == 1
    assert main([*common, "--max-minutes", "0"]) == 2
    assert main([*common, "--devices", "0"]) == 2


def test_recipes_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"unknown recipe 'x'\. Known: martinez, mdn, wsgan"):
        read_config(write_toml(tmp_path / "r.toml", {"recipe": "x"}))
    monkeypatch.setitem(RECIPES, "wsgan", "posepipe.training.recipes.not_yet")
    with pytest.raises(InputError, match="no recipe for 'wsgan'"):
        read_config(write_toml(tmp_path / "r.toml", {"recipe": "wsgan"}))
    with pytest.raises(UsageError, match="There are not 99 devices"):
        open_session(martinez.Config(**settings(tmp_path, tmp_path)), accelerator="cuda", devices=99)
