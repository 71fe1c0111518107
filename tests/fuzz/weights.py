"""Checkpoints, the graphs that point into them, and the states of training runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posepipe.lifters.checkpoint import read_header
from posepipe.trt_build.runners.ort import OrtRunner, read_graph
from tests.fuzz.mutate import damage, safetensors_header
from tests.fuzz.target import Seed, Target

_NAMES = ("martinez", "mdn")


def header(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return safetensors_header(data, rng)


def build_checkpoint(folder: Path) -> None:
    from posepipe.lifters.catalogue import entry
    from posepipe.trt_build.small import network_of, write_random

    for name in _NAMES:
        write_random(folder / f"{name}.safetensors", entry(name), {**network_of(entry(name)), "width": 16})


def build_graph(folder: Path) -> None:
    from posepipe.trt_build.export_onnx import export

    build_checkpoint(folder)
    export(folder / "mdn.safetensors", folder / "mdn.onnx")


def _load(path: Path) -> None:
    from posepipe.lifters.build import load

    checkpoint, sampler = load(path)
    assert checkpoint.skeleton == "h36m17"
    assert sampler is not None


def checkpoint_seeds(folder: Path) -> tuple[Seed, ...]:
    damages = (damage, header, header)
    return (
        *(Seed(f"{name}.safetensors", _load, damages, restore=True) for name in _NAMES),
        Seed("mdn.safetensors", read_header, damages, restore=True),
    )


def _run(path: Path) -> None:
    """A graph that opens must give what its contract says, or say what is wrong."""
    with OrtRunner(path) as runner:
        noise = np.zeros((2, runner.contract.fixed_hypotheses or 3, *runner.contract.noise_shape), np.float32)
        given = np.zeros((2, 17, 2), np.float32), np.ones((2, 17), np.float32), noise
        hypotheses, log_weights = runner.run(*given)
        assert hypotheses.shape == (2, noise.shape[1], 17, 3)
        assert log_weights.shape == (2, noise.shape[1])


def graph_seeds(folder: Path) -> tuple[Seed, ...]:
    return (
        *[Seed("mdn.onnx", _run, restore=True)] * 2,
        Seed("mdn.onnx", read_graph, restore=True),
        Seed("mdn.safetensors", lambda path: _run(path.with_suffix(".onnx")), (damage, header), restore=True),
    )


def build_state(folder: Path) -> None:
    import torch

    from posepipe.training.state import State, save_state

    tensors = {"model.a": torch.arange(6.0).reshape(2, 3), "adam.0.step": torch.tensor(3.0)}
    save_state(folder / "run.state", State(7, {"recipe": "mdn", "rate": 0.1}, tensors, {"groups": [{"lr": 0.1}]}))


def _state(path: Path) -> None:
    from posepipe.training.state import load_state

    state = load_state(path, {"recipe": "mdn", "rate": 0.1})
    assert state.step >= 0


def state_seeds(folder: Path) -> tuple[Seed, ...]:
    return (Seed("run.state", _state, (damage, header, header)),)


CHECKPOINT = Target(build_checkpoint, checkpoint_seeds)
GRAPH = Target(build_graph, graph_seeds)
STATE = Target(build_state, state_seeds)
