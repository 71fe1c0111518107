"""The table of lifters against the networks that it speaks of, and what a name means for given weights."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from posepipe.errors import CheckpointError, UsageError
from posepipe.lifters.build import build_sampler, load, save, stored_type
from posepipe.lifters.catalogue import LIFTERS, entry, fits, names_of, variant_for
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.schedulers import make_scheduler
from posepipe.lifters.variants import MAX_STEPS, asked_for, fixed_hypotheses, merged, noise_shape, vary

ROOT = Path(__file__).resolve().parents[2]
SIXTEEN = {"use_confidence": False, "joints": [j for j in range(17) if j != 9]}
PUBLISHED: dict[str, dict[str, Any]] = {
    "martinez": SIXTEEN,
    "mdn": SIXTEEN,
    "mdn:means": SIXTEEN,
    "wsgan": {},
    "wsgan:zero": {},
    "htnet": {},
    "dcgct": {},
    "drpose": {"first": {"lifter": "dcgct"}},
    "drpose:dcgct": {"first": {"lifter": "dcgct"}},
    "drpose:htnet": {"first": {"lifter": "htnet"}},
    "drpose:martinez": {"first": {"lifter": "martinez", **SIXTEEN}},
    "prpose": {"lifter": "htnet"},
    "prpose:mgcn": {"lifter": "mgcn"},
    "prpose:martinez": {"lifter": "martinez", "use_confidence": True},
}


def header(lifter: str, network: dict[str, Any], **fields: Any) -> Checkpoint:
    fixed = fixed_hypotheses(lifter, network)
    shape = noise_shape(lifter, network)
    return Checkpoint(lifter, network, "screen", "h36m17@1", shape, fixed or 10, fixed, network.get("steps"), **fields)


@pytest.mark.parametrize("e", LIFTERS, ids=lambda e: e.name)
def test_parameters_are_those_of_the_published_widths(e: Any) -> None:
    weights = vary(header(e.system, PUBLISHED[e.name]), e.variant)
    sampler = build_sampler(weights)
    assert sum(p.numel() for p in sampler.parameters()) == e.parameters
    assert fits(e, weights)
    assert e.name in names_of(weights)


def test_every_lifter_has_a_page_and_the_names_of_the_issue() -> None:
    names = [e.name for e in LIFTERS]
    assert {"martinez", "mdn", "wsgan", "htnet", "dcgct", "drpose", "prpose", "drpose:htnet", "prpose:mgcn"} <= {*names}
    assert len(set(names)) == len(names)
    for e in LIFTERS:
        assert (ROOT / e.numbers).is_file()
        assert e.code in (ROOT / e.numbers).read_text()


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean drpose"):
        entry("drpos")


def test_weights_go_by_the_names_of_their_architecture() -> None:
    over = header("drpose", {"first": {"lifter": "htnet"}, "steps": 2})
    assert names_of(over) == ["drpose", "drpose:htnet"]
    assert not fits(entry("drpose:dcgct"), over)
    assert names_of(header("prpose", {})) == ["prpose"], "HTNet where the header is silent"
    assert names_of(header("prpose", {"lifter": "mgcn"})) == ["prpose:mgcn"]
    assert names_of(header("mdn", {"mode": "means", "kernels": 3}))[0] == "mdn:means"
    assert names_of(header("mdn", {}))[0] == "mdn"
    assert names_of(header("wsgan", {"latent": 4})) == ["wsgan", "wsgan:zero"]
    assert names_of(header("something", {})) == []


def test_a_mode_brings_its_own_number_of_hypotheses() -> None:
    means = header("mdn", {"mode": "means", "kernels": 3})
    drawn = vary(means, variant_for(entry("mdn"), means))
    assert (drawn.network["mode"], drawn.fixed_hypotheses, drawn.hypotheses) == ("sample", None, 20)
    again = vary(drawn, entry("mdn:means").variant)
    assert (again.fixed_hypotheses, again.hypotheses) == (3, 3), "the number of kernels of these weights"
    zero = vary(header("wsgan", {"latent": 4}), entry("wsgan:zero").variant)
    assert (zero.fixed_hypotheses, zero.hypotheses, zero.noise_shape) == (1, 1, (4,))


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("scheduler", "eta"), [("ddim", 1.0), ("ddim", 0.0), ("dpm-solver", 1.0)])
def test_noise_of_drpose_is_what_its_scheduler_draws(steps: int, scheduler: str, eta: float) -> None:
    base = header("drpose", {"first": {"lifter": "dcgct"}, "steps": 3, "eta": eta})
    varied = vary(base, asked_for(base, steps=steps, scheduler=scheduler))
    assert varied.noise_shape == (make_scheduler(scheduler, steps, eta).draws, 17, 3)
    assert (varied.steps, varied.network["steps"]) == (steps, steps)
    assert varied.network["first"] == base.network["first"]


def test_faithful_prpose_takes_two_draws() -> None:
    base = header("prpose", {"lifter": "mgcn"})
    assert vary(base, asked_for(base, faithful=True)).noise_shape == (2, 17, 2)
    assert vary(base, asked_for(base, faithful=False)).noise_shape == (1, 17, 2)
    assert vary(base, asked_for(base)) == base


@pytest.mark.parametrize(
    ("lifter", "settings", "text"),
    [
        ("mdn", {"steps": 3}, "has no diffusion steps"),
        ("drpose", {"steps": 0}, "0 diffusion steps are not possible"),
        ("drpose", {"steps": MAX_STEPS + 1}, f"Give 1 to {MAX_STEPS}"),
        ("prpose", {"scheduler": "ddim"}, "has no scheduler"),
        ("htnet", {"faithful": True}, "departs in nothing"),
        ("htnet", {"hypotheses": 5}, "always gives 1"),
        ("mdn", {"hypotheses": 0}, "0 hypotheses are not possible"),
        ("prpose", {"hypotheses": 1_000_000}, "Give 1 to 10000"),
    ],
)
def test_impossible_settings_are_refused(lifter: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        asked_for(header(lifter, {}), **settings)


def test_the_second_variant_wins_entry_by_entry() -> None:
    first, second = {"network": {"a": 1, "b": 2}, "hypotheses": 5}, {"network": {"b": 3}}
    assert merged(first, second) == {"network": {"a": 1, "b": 3}, "hypotheses": 5}
    assert merged({}, {}) == {}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"skeleton": "coco17"}, "is for the skeleton 'coco17'"),
        ({"noise_shape": (3, 17, 2)}, r"says noise \(3, 17, 2\), but its network takes \(1, 17, 2\)"),
        ({"hypotheses": 0}, "hypotheses is not made of whole numbers from 1"),
        ({"fixed_hypotheses": 10}, "its network gives any number"),
        ({"lifter": "prpuse", "noise_shape": ()}, "No lifter is called 'prpuse'"),
        ({"network": {"lifter": "resnet"}}, "cannot be built"),
        ({"network": {"lifter": "mgcn", "depth": 3}}, "cannot be built"),
        ({"network": {"lifter": "mgcn", "lifter_network": {"width": 2**63 - 1}}}, "width is 9223372036854775807"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    small = {
        "lifter": "mgcn",
        "lifter_network": {"width": 4, "blocks": 1},
        "variance_network": {"width": 4, "blocks": 1},
    }
    good = header("prpose", small)
    sampler, path = build_sampler(good), tmp_path / "x.safetensors"
    save(path, sampler, good)
    assert load(path)[0] == good
    assert os.stat(path).st_mode & 0o777 == 0o644
    save(path, sampler, dataclasses.replace(good, **change))
    with pytest.raises(CheckpointError, match=text):
        load(path)


def test_only_large_matrices_of_networks_are_stored_as_float16() -> None:
    """Over the published widths: what is float16, and that little of it would be worth more as float32."""
    for name, network in (("drpose:htnet", PUBLISHED["drpose:htnet"]), ("prpose", {}), ("mdn", SIXTEEN), ("dcgct", {})):
        sampler = build_sampler(header(entry(name).system, network))
        state = {n: v for n, v in sampler.state_dict().items() if torch.is_floating_point(v)}
        half = {n for n, v in state.items() if stored_type(n, v) == torch.float16}
        assert sum(state[n].numel() for n in half) > 0.97 * sum(v.numel() for v in state.values())
        sensitive = ("norm", "adj", "bias", "mean", "std", "basis", "spread", "running")
        assert not [n for n in half for part in sensitive if part in n.split(".")[-1] or ".norm" in n]
        assert {n.split(".")[0] for n in half} == ({"net", "first"} if name.startswith("drpose") else {"net"})


def test_matrices_that_float16_cannot_hold_stay_float32() -> None:
    matrix = torch.randn(64, 64)
    assert stored_type("net.a.weight", matrix) == torch.float16
    assert stored_type("net.a.weight", matrix * 1e-6) == torch.float32, "below float16's normal numbers"
    assert stored_type("net.a.weight", matrix * 1e5) == torch.float32, "above its largest"
    assert stored_type("net.a.weight", matrix[:8]) == torch.float32, "small"
    assert stored_type("input.basis", matrix) == torch.float32
