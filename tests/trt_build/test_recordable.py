"""What no CUDA graph can hold: a sampler on a GPU must not copy from or to the host. Seen without a GPU, on the branch
that a GPU takes."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.overrides import TorchFunctionMode  # noqa: E402

from posepipe.lifters import codec  # noqa: E402
from posepipe.lifters.build import build_sampler  # noqa: E402
from posepipe.lifters.catalogue import LIFTERS, Entry  # noqa: E402
from posepipe.lifters.checkpoint import Checkpoint  # noqa: E402
from posepipe.lifters.variants import fixed_hypotheses, noise_shape  # noqa: E402
from posepipe.noise import NoiseKey  # noqa: E402
from posepipe.trt_build.runners.noise_torch import key_tensors, normals  # noqa: E402
from posepipe.trt_build.small import network_of  # noqa: E402

HOST = {"tensor", "as_tensor", "from_numpy", "to", "cpu", "cuda", "item", "tolist", "numpy", "__bool__", "__float__",
        "__int__", "__index__", "nonzero", "masked_select", "unique"}  # fmt: skip


class Meeting(TorchFunctionMode):
    """Notes the functions that move numbers between host and device, or wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", str(function))
        if name in HOST and not (name == "to" and all(isinstance(a, torch.dtype) for a in args[1:])):
            self.met.append(name)
        return function(*args, **(kwargs or {}))


def sampler_of(e: Entry, count: int) -> tuple[Any, tuple[int, ...]]:
    network = {**network_of(e), **e.variant.get("network", {})}
    fixed = fixed_hypotheses(e.system, network)
    shape = noise_shape(e.system, network)
    torch.manual_seed(0)
    header = Checkpoint(e.system, network, "person", "h36m17@1", shape, fixed or count, fixed, network.get("steps"))
    return build_sampler(header).eval(), (fixed or count, *shape)


@pytest.mark.parametrize("e", LIFTERS, ids=lambda e: e.name)
@torch.no_grad()
def test_a_sampler_on_a_gpu_never_meets_the_host(e: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, shape = sampler_of(e, 3)
    inputs = torch.randn(2, 17, 2), torch.rand(2, 17), torch.randn(2, *shape)
    expected = sampler(*inputs)
    with Meeting() as plain:
        sampler(*inputs)
    monkeypatch.setattr(codec, "on_gpu", lambda x: True)
    with Meeting() as meeting:
        got = sampler(*inputs)
    assert meeting.met == []
    # The same numbers; and the guard would see the tensors that are made for an index on a processor.
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    if e.system not in ("mdn", "martinez"):
        assert "tensor" in plain.met


@torch.no_grad()
def test_noise_on_a_gpu_never_meets_the_host() -> None:
    words, weights = key_tensors([NoiseKey(0, "a", 5, 1), NoiseKey(1, "b", 9, 2)])
    with Meeting() as meeting:
        assert normals(words, weights, 51).shape == (2, 51)
    assert meeting.met == []


def test_runs_of_indices() -> None:
    assert codec.runs([4, 5, 6, 1, 2, 7]) == [(4, 3), (1, 2), (7, 1)]
    assert codec.runs(codec.MIRROR) == [(0, 1), (4, 3), (1, 3), (7, 4), (14, 3), (11, 3)]
    assert codec.runs([]) == []
