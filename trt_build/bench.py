"""`posepipe bench`: how long one call of a lifter takes here, on every backend that works here."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posepipe.errors import PosepipeError
from posepipe.lifters.catalogue import DEFAULT, entry
from posepipe.noise import NoiseKey
from posepipe.trt_build.engine.poses import people
from posepipe.trt_build.runners.load import BACKENDS, choose, contract_of, load
from posepipe.trt_build.runners.protocol import Runner

MOST_CALLS = 2000


def bench(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("posepipe bench", description="Time one call of a lifter on every backend.")
    parser.add_argument("--lifter", default=DEFAULT, metavar="NAME", help="or the path of a graph")
    parser.add_argument("--hypotheses", type=int, metavar="H")
    parser.add_argument("--persons", type=int, nargs="+", default=[1, 4], choices=range(1, 65), metavar="N")
    parser.add_argument("--backend", choices=BACKENDS[1:], action="append", help="only this one (repeatable)")
    parser.add_argument("--seconds", type=float, default=2.0, help="per line of the table")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    graph = Path(args.lifter) if args.lifter.endswith(".onnx") else entry(args.lifter).graph_path
    contract = contract_of(graph)
    count = contract.fixed_hypotheses or args.hypotheses or contract.hypotheses
    rows: list[dict[str, Any]] = []
    for backend in args.backend or BACKENDS[1:]:
        try:
            with load(choose(backend, graph, count), graph) as runner:
                rows += _timed(runner, args.persons, count, args.seconds)
        except PosepipeError as error:
            rows.append({"backend": backend, "not_here": str(error)})
    if args.json:
        print(json.dumps({"lifter": args.lifter, "hypotheses": count, "steps": contract.steps, "rows": rows}, indent=1))
    else:
        print(f"{args.lifter}, H = {count}: wall-clock time of one call, noise included")
        print("\n".join(_line(row) for row in rows))
    return 0 if any("p50_ms" in row for row in rows) else 1


def _timed(runner: Runner, numbers: Sequence[int], count: int, seconds: float) -> list[dict[str, Any]]:
    rows = []
    runner.warm_up(max(numbers), count)
    for number in numbers:
        keypoints, confidence = people(runner.contract.space, number)
        keys = [NoiseKey(0, "bench", 0, i) for i in range(number)]
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or (time.perf_counter() < end and len(times) < MOST_CALLS):
            start = time.perf_counter()
            runner.sample(keypoints, confidence, keys, count)
            times.append(1e3 * (time.perf_counter() - start))
        p50, p99 = (float(np.percentile(times, q)) for q in (50, 99))
        rows.append({"backend": runner.backend, "persons": number, "p50_ms": p50, "p99_ms": p99, "calls": len(times)})
    return rows


def _line(row: dict[str, Any]) -> str:
    if "not_here" in row:
        return f"{row['backend']:<18} {row['not_here']}"
    return (
        f"{row['backend']:<18} {row['persons']:>3} people   p50 {row['p50_ms']:9.3f} ms   p99 {row['p99_ms']:9.3f} ms"
    )
