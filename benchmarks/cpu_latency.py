"""Milliseconds per person on the CPU: the authors' way in eager torch beside the graph that users run, in one run.

    python benchmarks/cpu_latency.py [--threads 2] [--only TEXT] [--seconds 8] [--graphs DIR] [--json F] [--markdown F]

Networks have the published widths and random weights (time does not depend on weights); both sides have the same ones,
and nothing is timed whose results differ by more than 1e-4. Both take turns, so that they see the same machine.

"The authors' way": authors_way.py.

Wall time counts on a quiet machine with --threads = cores; the run says when it was not quiet. CPU time (all threads of
this process) hardly depends on others: read it with --threads 1. GFLOP of the graph are those of the matrix products
that ONNX Runtime carries out; per CPU second they are held against a 1024 x 1024 product in the same runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch
from authors_way import drpose_way, joint_lifter_way, prpose_way, whole_sampler
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from posepipe.lifters.build import build_sampler, save
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.variants import fixed_hypotheses, noise_shape

BUSY = 0.1  # cores that others may use before the run is called not quiet


@dataclass(frozen=True)
class Case:
    name: str
    lifter: str
    network: dict[str, Any]
    hypotheses: int
    goal_ms: float
    way: Callable[[Any, Tensor, Tensor, Tensor], Tensor]


def drpose(steps: int) -> dict[str, Any]:
    return {"first": {"lifter": "dcgct"}, "steps": steps}


LIGHT = {"lifter": "mgcn", "variance": "mlp", "faithful": True}
CASES = (
    Case("HTNet", "htnet", {}, 1, 3, joint_lifter_way),
    Case("DC-GCT", "dcgct", {}, 1, 3, joint_lifter_way),
    Case("MDN, H=200", "mdn", {}, 200, 1, whole_sampler),
    Case("DRPose, H=20, K=2", "drpose", drpose(2), 20, 25, drpose_way),
    Case("DRPose, H=10, K=10", "drpose", drpose(10), 10, 60, drpose_way),
    Case("DRPose, H=200, K=10", "drpose", drpose(10), 200, 800, drpose_way),
    Case("PRPose over the light GCN, H=200", "prpose", LIGHT, 200, 12, prpose_way),
    Case("PRPose over HTNet, H=200", "prpose", {"faithful": True}, 200, 250, prpose_way),
)


@dataclass(frozen=True)
class Row:
    """Milliseconds: medians of wall time and of the process's CPU time. others: cores that other processes used."""

    case: str
    goal_ms: float
    authors_ms: float
    graph_ms: float
    authors_cpu_ms: float
    graph_cpu_ms: float
    authors_gflop: float
    graph_gflop: float
    share_of_matmul_rate: float
    runs: int
    others: float


def random_sampler(case: Case) -> tuple[Checkpoint, nn.Module]:
    torch.manual_seed(0)
    fixed = fixed_hypotheses(case.lifter, case.network)
    shape = noise_shape(case.lifter, case.network)
    steps = case.network.get("steps")
    header = Checkpoint(case.lifter, case.network, "screen", "h36m17@1", shape, case.hypotheses, fixed, steps)
    return header, build_sampler(header).eval()


def graph_of(case: Case, folder: Path) -> Path:
    """Made like a user's, float16 weights included; what is there already is used again."""
    from posepipe.trt_build.export_onnx import export

    name = "-".join([case.lifter, *(str(v) for v in case.network.values() if isinstance(v, (str, int)))])
    graph, weights = folder / f"{name}.onnx", folder / f"{name}.safetensors"
    if not graph.is_file():
        header, sampler = random_sampler(case)
        save(weights, sampler, header)
        export(weights, graph)
    return graph


def session(model: Path | bytes, threads: int, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """With the settings of OrtRunner."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def take_turns(sides: Sequence[Callable[[], Any]], seconds: float) -> tuple[list[tuple[float, float]], int, float]:
    """For every side its medians of wall and CPU time in ms; how often each ran; cores that others used meanwhile."""
    for side in sides:
        side()
    times: list[list[tuple[float, float]]] = [[] for _ in sides]
    start, own, busy = time.perf_counter(), time.process_time(), machine_seconds()
    while len(times[0]) < 5 or time.perf_counter() - start < seconds:
        for side, noted in zip(sides, times, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            side()
            noted.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    others = (machine_seconds() - busy - (time.process_time() - own)) / (time.perf_counter() - start)
    return [(median(w for w, _ in t), median(c for _, c in t)) for t in times], len(times[0]), max(0.0, others)


def machine_seconds() -> float:
    """CPU seconds that all processes have used since the machine started (Linux; 0 elsewhere)."""
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def matmul_rate(threads: int) -> float:
    """GFLOP per CPU second of ONNX Runtime on two 1024 x 1024 matrices, the best of 20."""
    from onnx import TensorProto, helper, numpy_helper

    size = 1024
    matrix = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    a, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "ay")
    nodes = [helper.make_node("MatMul", ["a", "b"], ["y"])]
    graph = helper.make_graph(nodes, "product", [a], [y], [numpy_helper.from_array(matrix, "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    run = session(model.SerializeToString(), threads)
    best = float("inf")
    for _ in range(20):
        start = time.process_time()
        run.run(None, {"a": matrix})
        best = min(best, time.process_time() - start)
    return 2e-9 * size**3 / best


def graph_gflop(graph: Path, feeds: dict[str, Any]) -> float:
    """GFLOP of the matrix products of one run, from the shapes that ONNX Runtime's profiler notes."""
    with tempfile.TemporaryDirectory() as folder:
        profiled = session(graph, 1, Path(folder) / "profile")
        profiled.run(None, feeds)
        events = json.loads(Path(profiled.end_profiling()).read_text())
    total = 0
    for event in events:
        details = event.get("args", {})
        if "kernel_time" in event["name"] and details["op_name"] in ("MatMul", "FusedMatMul", "Gemm", "FusedGemm"):
            left, out = (next(iter(details[key][0].values())) for key in ("input_type_shape", "output_type_shape"))
            total += 2 * prod(out) * left[-1]
    return total * 1e-9


def measure(case: Case, folder: Path, threads: int, seconds: float, rate: float) -> Row:
    from posepipe.lifters.build import load

    graph = graph_of(case, folder)
    header, sampler = load(graph.with_suffix(".safetensors"))
    generator = torch.Generator().manual_seed(1)
    inputs = [
        0.5 * torch.randn(1, 17, 2, generator=generator),
        torch.ones(1, 17),
        torch.randn(1, case.hypotheses, *header.noise_shape, generator=generator),
    ]
    feeds = {n: t.numpy() for n, t in zip(("keypoints", "confidence", "noise"), inputs, strict=True)}
    run = session(graph, threads)
    feeds = {i.name: feeds[i.name] for i in run.get_inputs()}
    with torch.inference_mode():
        expected, got = case.way(sampler, *inputs).numpy(), run.run(["hypotheses"], feeds)[0]
        if not np.abs(got - expected).max() <= 1e-4 * max(1.0, float(np.abs(expected).max())):
            raise SystemExit(f"{case.name}: the two sides differ by {np.abs(got - expected).max():.1e}; not timed.")
        with FlopCounterMode(display=False) as counter:
            case.way(sampler, *inputs)
        sides = (lambda: case.way(sampler, *inputs), lambda: run.run(None, feeds))
        ((authors, authors_cpu), (ours, ours_cpu)), runs, others = take_turns(sides, seconds)
    gflop = graph_gflop(graph, feeds)
    flop = (counter.get_total_flops() * 1e-9, gflop)
    share = gflop / (1e-3 * ours_cpu) / rate
    return Row(case.name, case.goal_ms, authors, ours, authors_cpu, ours_cpu, *flop, share, runs, others)


def markdown(rows: Sequence[Row], threads: int, rate: float) -> str:
    lines = [
        f"{threads} threads, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, "
        f"1024 x 1024 product {rate:.0f} GFLOP per CPU second.",
        "",
        "| case | authors' way, ms | graph, ms | ratio | goal, ms | CPU ms, authors' / graph | GFLOP, authors' / graph "
        "| of matmul rate | runs | others, cores |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r.case} | {r.authors_ms:.1f} | {r.graph_ms:.2f} | {r.authors_ms / r.graph_ms:.1f} | {r.goal_ms:g} "
            f"| {r.authors_cpu_ms:.1f} / {r.graph_cpu_ms:.2f} | {r.authors_gflop:.3g} / {r.graph_gflop:.3g} "
            f"| {r.share_of_matmul_rate:.0%} | {r.runs} | {r.others:.2f} |"
        )
    if noisy := [r.case for r in rows if r.others > BUSY]:
        lines += ["", f"Not a quiet machine: others used more than {BUSY} cores during {'; '.join(noisy)}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--seconds", type=float, default=8.0, help="per case; at least 5 runs")
    parser.add_argument("--graphs", type=Path, help="keep the graphs here (making them takes minutes)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rate, rows = matmul_rate(args.threads), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.graphs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for case in CASES:
            if args.only.lower() in case.name.lower():
                rows.append(measure(case, folder, args.threads, args.seconds, rate))
                print(f"{case.name}: {rows[-1].authors_ms:.1f} -> {rows[-1].graph_ms:.2f} ms", flush=True)
    text = markdown(rows, args.threads, rate)
    print(f"\n{text}")
    if args.markdown:
        args.markdown.write_text(f"{text}\n", encoding="utf-8")
    if args.json:
        facts = {"threads": args.threads, "matmul_gflop_per_cpu_second": rate, "torch": torch.__version__}
        facts |= {"onnxruntime": onnxruntime.__version__, "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
