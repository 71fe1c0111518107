"""The benchmark's imitation of the authors' loops gives what the samplers give, or it would time something else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from posepipe.lifters.build import build_sampler
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.variants import noise_shape

DCGCT = {"channels": 40, "blocks": 1, "heads": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "joint_lifter_way": ("dcgct", DCGCT),
    "drpose_way": ("drpose", {"first": {"lifter": "dcgct", **DCGCT}, "steps": 3, "channels": 24, "layers": 1}),
    "prpose_way": ("prpose", {"lifter": "mgcn", "variance": "mlp", "faithful": True}),
}


@pytest.mark.parametrize("way", CASES)
@torch.no_grad()
def test_the_same_numbers(way: str) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "authors_way.py"
    spec = importlib.util.spec_from_file_location("authors_way", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lifter, network = CASES[way]
    shape = noise_shape(lifter, network)
    torch.manual_seed(1)
    sampler = build_sampler(Checkpoint(lifter, network, "screen", "h36m17@1", shape, 3)).eval()
    count = 1 if lifter == "dcgct" else 3
    inputs = [0.5 * torch.randn(2, 17, 2), torch.rand(2, 17), torch.randn(2, count, *shape)]
    expected = sampler(*inputs)[0]
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(getattr(module, way)(sampler, *inputs), expected, atol=1e-5, rtol=0)
