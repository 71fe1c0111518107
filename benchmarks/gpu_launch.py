"""Microseconds per launch of every lifter at its published width on an NVIDIA GPU, beside eager torch and the loop that
the authors' code runs; how far each is from what the memory and the arithmetic units allow.

    python benchmarks/gpu_launch.py --out benchmarks/results/gpu_launch.json --minutes 9   # again until "done"

Weights are random: they do not change the time. Every combination is written as soon as it is measured, and a file
that exists is gone on with, so the table can be made in several short sessions. Ways of running one launch:

    graph    compiled, one CUDA graph: copies in, noise, sampler, copies out; replayed
    plain    the same work, compiled, launched kernel by kernel
    eager    our module in eager torch, noise drawn by torch
    authors  eager, and as the published code runs: the person is repeated H times before the network, so that nothing
             is shared between hypotheses

Times are CUDA events around one launch. FLOPs are counted by torch (torch.utils.flop_counter) over one eager launch,
the bytes are the weights plus inputs, noise and outputs once: the least that has to move. Without a GPU it measures
small networks on the processor, which only shows that the script works.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from posepipe.errors import PosepipeError
from posepipe.lifters.build import build_sampler
from posepipe.lifters.catalogue import LIFTERS, Entry
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.variants import fixed_hypotheses, noise_shape
from posepipe.noise import NoiseKey
from posepipe.trt_build.runners.torch_runner import GraphCapture, Sampling, TorchBucket, sampling
from posepipe.trt_build.small import network_of

HYPOTHESES, STEPS, PERSONS = (1, 20, 200), (1, 2, 10), (1, 4, 8)
WAYS = ("graph", "plain", "eager", "authors")
# An H200, measured: bytes per second, and bf16 FLOP per second. The nets run in float32 here (TF32 off), so the second
# is a ceiling that only lower precision could reach.
H200 = {"bytes_per_s": 4.3e12, "flop_per_s": 790e12}
PUBLISHED: dict[str, dict[str, Any]] = {
    "drpose": {"first": {"lifter": "dcgct"}},
    "drpose:htnet": {"first": {"lifter": "htnet"}},
    "drpose:martinez": {"first": {"lifter": "martinez"}},
    "prpose": {"lifter": "htnet"},
    "prpose:mgcn": {"lifter": "mgcn"},
}


@dataclass(frozen=True)
class Case:
    """One line of the table. steps: None for lifters without."""

    lifter: str
    hypotheses: int
    steps: int | None
    persons: int

    @property
    def name(self) -> str:
        return f"{self.lifter} H={self.hypotheses} K={self.steps or 1} persons={self.persons}"


def cases(
    entries: list[Entry], hypotheses: tuple[int, ...], steps: tuple[int, ...], persons: tuple[int, ...]
) -> Iterator[Case]:
    """Every combination that exists: the goal of the issue first (drpose, H=200, K=10, one person)."""
    found = []
    for e in entries:
        for k in steps if e.system == "drpose" else (None,):
            fixed = fixed_hypotheses(e.system, e.variant.get("network", {}))
            found += [Case(e.name, h, k, p) for h in ((fixed,) if fixed else hypotheses) for p in persons]
    goal = (Case("drpose", 200, 10, 1), Case("drpose", 20, 2, 1))
    yield from (c for c in goal if c in found)
    yield from (c for c in found if c not in goal)


def make(case: Case, device: torch.device, small: bool) -> tuple[Checkpoint, nn.Module]:
    """Header and sampler with random weights, at the published width or small."""
    e = next(e for e in LIFTERS if e.name == case.lifter)
    network = dict(network_of(e) if small else PUBLISHED.get(case.lifter, {}))
    network |= e.variant.get("network", {}) | ({"steps": case.steps} if case.steps else {})
    fixed = fixed_hypotheses(e.system, network)
    shape = noise_shape(e.system, network)
    header = Checkpoint(e.system, network, "person", "h36m17@1", shape, case.hypotheses, fixed, case.steps)
    torch.manual_seed(0)
    return header, build_sampler(header).eval().requires_grad_(False).to(device)


def inputs(case: Case, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    keypoints = 0.7 * torch.randn(case.persons, 17, 2, generator=generator)
    return keypoints.to(device), torch.rand(case.persons, 17, generator=generator).to(device)


def authors_style(sampler: nn.Module, keypoints: Tensor, confidence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Hypotheses as more people: what does not depend on them is calculated anew for each, as in the published code."""
    people, count = noise.shape[:2]
    repeated = (t.repeat_interleave(count, 0) for t in (keypoints, confidence))
    poses, weights = sampler(*repeated, noise.reshape(people * count, 1, *noise.shape[2:]))
    return poses.reshape(people, count, 17, 3), weights.reshape(people, count)


def measure(case: Case, device: torch.device, small: bool, repeats: int) -> dict[str, Any]:
    header, sampler = make(case, device, small)
    shape = (case.hypotheses, *header.noise_shape)
    keypoints, confidence = inputs(case, device)
    given = (
        keypoints.cpu().numpy(),
        confidence.cpu().numpy(),
        [NoiseKey(0, "bench", 0, i) for i in range(case.persons)],
    )
    result: dict[str, Any] = {"us": {}, "flop": flops(sampler, keypoints, confidence, shape)}
    result["bytes"] = least_bytes(sampler, case, shape)
    fixed = header.fixed_hypotheses is not None

    def eager() -> None:
        sampler(keypoints, confidence, torch.randn(case.persons, *shape, device=device))

    def authors() -> None:
        authors_style(sampler, keypoints, confidence, torch.randn(case.persons, *shape, device=device))

    with torch.no_grad():
        result["us"]["eager"] = timed(eager, device, repeats)
        result["us"]["authors"] = result["us"]["eager"] if fixed else timed(authors, device, max(3, repeats // 10))
    began = time.perf_counter()
    result["compiled"] = device.type == "cuda"
    try:
        outputs, result["us"]["plain"], result["us"]["graph"] = _launches(
            sampling(sampler, header, compiled=result["compiled"]), device, case, shape, given, repeats
        )
    except (RuntimeError, PosepipeError) as error:
        if not result["compiled"] or isinstance(error, torch.OutOfMemoryError):
            raise
        # torch.compile needs a C compiler and Python's headers on the machine: without them the graph is still worth it
        result["compiled"], result["not_compiled"] = False, f"{type(error).__name__}: {str(error).splitlines()[0]}"
        header, sampler = make(case, device, small)
        outputs, result["us"]["plain"], result["us"]["graph"] = _launches(
            sampling(sampler, header, compiled=False), device, case, shape, given, repeats
        )
    result["prepare_s"] = time.perf_counter() - began
    result["graph_is_plain"] = all(np.array_equal(a, b) for a, b in zip(*outputs.values(), strict=True))
    result["finite"] = bool(np.isfinite(outputs["graph"][0]).all())
    seconds = result["us"]["graph"]["median"] * 1e-6
    result["share_of_bandwidth"] = result["bytes"] / seconds / H200["bytes_per_s"]
    result["share_of_arithmetic"] = result["flop"] / seconds / H200["flop_per_s"]
    result["eager_over_graph"] = result["us"]["eager"]["median"] / result["us"]["graph"]["median"]
    return result


def _launches(
    draw: Sampling, device: torch.device, case: Case, shape: tuple[int, ...], given: Any, repeats: int
) -> tuple[dict[str, Any], dict[str, float], dict[str, float]]:
    """(results by way, times of plain launches, times of the graph)."""
    outputs, times = {}, []
    for way in ("plain", "graph"):
        with stream_of(GraphCapture(device, way == "graph") if device.type == "cuda" else None) as (capture, wait):
            bucket = TorchBucket(draw, device, case.persons, shape, capture, wait)
            outputs[way] = [a.copy() for a in bucket.run(*given)]
            times.append(timed(bucket.launch, device, repeats))
        if way == "graph" and isinstance(capture, GraphCapture) and not capture.captured:
            times[-1]["not_captured"] = 1
    return outputs, times[0], times[1]


@contextmanager
def stream_of(recorder: GraphCapture | None) -> Iterator[tuple[Any, Any]]:
    """(capture, wait) for TorchBucket, with the recorder's stream current, so that events are recorded on it."""
    if recorder is None:
        yield lambda work: work, lambda: None
    else:
        with torch.cuda.stream(recorder.stream):
            yield recorder, recorder.wait


def timed(work: Callable[[], object], device: torch.device, repeats: int) -> dict[str, float]:
    """Median and 99th percentile in microseconds: CUDA events on a GPU, the clock elsewhere."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(1e3 * begin.elapsed_time(end))
        else:
            began = time.perf_counter()
            work()
            times.append(1e6 * (time.perf_counter() - began))
    return {"median": float(np.median(times)), "p99": float(np.percentile(times, 99)), "launches": repeats}


def flops(sampler: nn.Module, keypoints: Tensor, confidence: Tensor, shape: tuple[int, ...]) -> int:
    noise = torch.zeros(len(keypoints), *shape, device=keypoints.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        sampler(keypoints, confidence, noise)
    return int(counter.get_total_flops())


def least_bytes(sampler: nn.Module, case: Case, shape: tuple[int, ...]) -> int:
    numbers = sum(p.numel() for p in sampler.parameters())
    per_person = 17 * 3 + math.prod(shape) + case.hypotheses * (17 * 3 + 1)
    return 4 * (numbers + case.persons * per_person)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON; gone on with if it exists")
    parser.add_argument("--lifter", action="append", default=[], choices=[e.name for e in LIFTERS])
    parser.add_argument("--hypotheses", type=int, nargs="+", default=HYPOTHESES)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--persons", type=int, nargs="+", default=PERSONS)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=9.0, help="begin no new line after this long")
    args = parser.parse_args(argv)
    began, on_gpu = time.perf_counter(), torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = False
    entries = [e for e in LIFTERS if not args.lifter or e.name in args.lifter]
    where = (
        torch.cuda.get_device_name() if on_gpu else f"no GPU: small networks on the processor ({os.cpu_count()} cores)"
    )
    table = _read(args.out, where)
    todo = [
        c
        for c in cases(entries, tuple(args.hypotheses), tuple(args.steps), tuple(args.persons))
        if c.name not in table["cases"]
    ]
    for number, case in enumerate(todo):
        if time.perf_counter() - began > 60 * args.minutes:
            print(f"{len(todo) - number} lines are left: run it again.")
            return 3
        torch.compiler.reset()
        try:
            table["cases"][case.name] = measure(case, device, not on_gpu, args.repeats)
        except (RuntimeError, ValueError, PosepipeError) as error:
            table["cases"][case.name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        table["commands"].append(" ".join(["python", *sys.argv]))
        table["commands"] = sorted(set(table["commands"]))
        _write(args.out, table)
        print(_line(case, table["cases"][case.name]), flush=True)
    print(f"done: {len(table['cases'])} lines in {args.out}")
    return 0


def _line(case: Case, row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{case.name:<44} FAILED {row['failed']}"
    times = "  ".join(f"{way} {row['us'][way]['median']:.0f}" for way in WAYS)
    same = "same bits" if row["graph_is_plain"] else "GRAPH DIFFERS"
    same += "  NOT CAPTURED" if "not_captured" in row["us"]["graph"] else ""
    same += "" if "not_compiled" not in row else f"  NOT COMPILED ({row['not_compiled']})"
    return f"{case.name:<44} us: {times}  eager/graph {row['eager_over_graph']:.1f}  {same}"


def _read(path: Path, where: str) -> dict[str, Any]:
    if path.is_file():
        table: dict[str, Any] = json.loads(path.read_text())
        if table["device"] != where:
            raise SystemExit(f"{path} was measured on {table['device']}, this is {where}: give another --out.")
        return table
    return {"device": where, "torch": torch.__version__, "ceilings": H200, "commands": [], "cases": {}}


def _write(path: Path, table: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(table, indent=1) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
