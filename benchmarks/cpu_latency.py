"""Milliseconds per person on the CPU: the authors' way in eager torch beside the graph that users run, in one run.

    python benchmarks/cpu_latency.py [--threads 1 2] [--only TEXT] [--seconds 8] [--graphs DIR] [--markdown F]

Networks have the published widths and random weights (time does not depend on weights); both sides have the same ones,
and nothing is timed whose results differ by more than 1e-4. All sides (authors' and graph, with every number of
threads) take turns, so that they see the same machine (a turn is 0.1 s, after a rest and a run that is not counted:
whoever ran before leaves spinning threads); of each side the number of threads with the lower median counts.

"The authors' way": authors_way.py.

Wall time counts on a quiet machine; the run says when it was not quiet, and the goals are then not judged. CPU time
(all threads of this process) depends less on others; the share of the matmul rate is calculated from that of one
thread: GFLOP of the matrix products that ONNX Runtime carries out for the graph, per CPU second, over what it does in
a 1024 x 1024 product, which takes turns with the sides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
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
SETTLE, TURN = 0.05, 0.1  # seconds: of rest before a side's turn, and of its turn (one run at least)


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
    """authors, graph: medians (wall, CPU) in ms by number of threads. matmul_rate: GFLOP per
    CPU second of a large product at the same time. others: cores that other processes used."""

    case: str
    goal_ms: float
    authors: dict[int, tuple[float, float]]
    graph: dict[int, tuple[float, float]]
    authors_gflop: float
    graph_gflop: float
    matmul_rate: float
    share_of_matmul_rate: float
    runs: int
    others: float

    @property
    def quiet(self) -> bool:
        return self.others <= BUSY

    @property
    def verdict(self) -> str:
        if not self.quiet:
            return "not judged: busy"
        return "yes" if best(self.graph)[1] <= self.goal_ms else "no"


def best(times: dict[int, tuple[float, float]]) -> tuple[int, float, float]:
    """(threads, wall, CPU) of the number of threads with the lowest wall time."""
    threads = min(times, key=lambda t: times[t][0])
    return threads, *times[threads]


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
    times: list[list[tuple[float, float]]] = [[] for _ in sides]
    start, own, busy = time.perf_counter(), time.process_time(), machine_seconds()
    while len(times[0]) < 5 or time.perf_counter() - start < seconds:
        for side, noted in zip(sides, times, strict=True):
            # Threads of the side before it spin for a while, and the caches are those of its weights.
            time.sleep(SETTLE)
            side()
            turn = time.perf_counter()
            while True:
                wall, cpu = time.perf_counter(), time.process_time()
                side()
                noted.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
                if time.perf_counter() - turn > TURN:
                    break
    others = (machine_seconds() - busy - (time.process_time() - own)) / (time.perf_counter() - start)
    return [(median(w for w, _ in t), median(c for _, c in t)) for t in times], len(times[0]), max(0.0, others)


def machine_seconds() -> float:
    """CPU seconds that all processes have used since the machine started (Linux; 0 elsewhere)."""
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


PRODUCT_SIZE = 1024


def product() -> Callable[[], Any]:
    """ONNX Runtime on one thread, two matrices of PRODUCT_SIZE: what the machine can do at this moment."""
    from onnx import TensorProto, helper, numpy_helper

    size = PRODUCT_SIZE
    matrix = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    a, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "ay")
    nodes = [helper.make_node("MatMul", ["a", "b"], ["y"])]
    graph = helper.make_graph(nodes, "product", [a], [y], [numpy_helper.from_array(matrix, "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return partial(session(model.SerializeToString(), 1).run, None, {"a": matrix})


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


def measure(case: Case, folder: Path, threads: Sequence[int], seconds: float) -> Row:
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
    sessions = [session(graph, count) for count in threads]
    feeds = {i.name: feeds[i.name] for i in sessions[0].get_inputs()}

    def authors(count: int) -> Tensor:
        torch.set_num_threads(count)
        return case.way(sampler, *inputs)

    with torch.inference_mode():
        expected, got = authors(threads[-1]).numpy(), sessions[0].run(["hypotheses"], feeds)[0]
        if not np.abs(got - expected).max() <= 1e-4 * max(1.0, float(np.abs(expected).max())):
            raise SystemExit(f"{case.name}: the two sides differ by {np.abs(got - expected).max():.1e}; not timed.")
        with FlopCounterMode(display=False) as counter:
            authors(threads[-1])
        sides = [partial(authors, count) for count in threads] + [partial(run.run, None, feeds) for run in sessions]
        (*times, of_product), runs, others = take_turns([*sides, product()], seconds)
    theirs, ours = (dict(zip(threads, part, strict=True)) for part in (times[: len(threads)], times[len(threads) :]))
    gflop = graph_gflop(graph, feeds)
    rate = 2e-9 * PRODUCT_SIZE**3 / (1e-3 * of_product[1])
    share = gflop / (1e-3 * ours[min(threads)][1]) / rate
    flop = (counter.get_total_flops() * 1e-9, gflop)
    return Row(case.name, case.goal_ms, theirs, ours, *flop, rate, share, runs, others)


def markdown(rows: Sequence[Row], threads: Sequence[int], command: str) -> str:
    measured = " and ".join(str(count) for count in threads)
    lines = [
        "# Lifting on a CPU: the authors' way and ours",
        "",
        f"Made by `{command}`.",
        f"{processor()}, {os.cpu_count()} cores; torch {torch.__version__}, onnxruntime {onnxruntime.__version__}.",
        "",
        "One person, the published networks with random weights, mirror images included, noise given. Wall time, "
        f"medians, all sides in turns in one process, with {measured} threads: in brackets the number that was faster. "
        "Matmul rate: a 1024 x 1024 product on one thread, which takes turns, too; other guests of the host change it.",
        "",
        "| | authors' way, ms | graph, ms | ratio | goal, ms | met | CPU ms on one thread, authors' / graph "
        "| GFLOP, authors' / graph | matmul rate, GFLOP/s | share of it | runs | others, cores |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    one = min(threads)
    for r in rows:
        (their_threads, theirs, _), (our_threads, ours, _) = best(r.authors), best(r.graph)
        lines.append(
            f"| {r.case} | {theirs:.1f} [{their_threads}] | {ours:.2f} [{our_threads}] | {theirs / ours:.1f} "
            f"| {r.goal_ms:g} | {r.verdict} | {r.authors[one][1]:.1f} / {r.graph[one][1]:.2f} "
            f"| {r.authors_gflop:.3g} / {r.graph_gflop:.3g} | {r.matmul_rate:.0f} "
            f"| {r.share_of_matmul_rate:.0%} | {r.runs} | {r.others:.2f} |"
        )
    lines += ["", "Every number of threads, wall ms (authors' way / graph):", ""]
    lines += ["| | " + " | ".join(f"{count} threads" for count in threads) + " |", "|---|" + "---|" * len(threads)]
    for r in rows:
        cells = (f"{r.authors[count][0]:.1f} / {r.graph[count][0]:.2f}" for count in threads)
        lines.append(f"| {r.case} | {' | '.join(cells)} |")
    if noisy := [r.case for r in rows if not r.quiet]:
        lines += [
            "",
            f"Not a quiet machine: others used more than {BUSY} cores during {'; '.join(noisy)}. Wall times of",
        ]
        lines[-1] += " these say little; the CPU times are those of busy cores and caches."
    return "\n".join(lines)


def processor() -> str:
    """As the kernel calls it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads to measure")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--seconds", type=float, default=8.0, help="per case; at least 5 runs")
    parser.add_argument("--graphs", type=Path, help="keep the graphs here (making them takes minutes)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    threads = sorted(set(args.threads))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.graphs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for case in CASES:
            if args.only.lower() in case.name.lower():
                rows.append(row := measure(case, folder, threads, args.seconds))
                print(
                    f"{case.name}: {best(row.authors)[1]:.1f} -> {best(row.graph)[1]:.2f} ms "
                    f"(goal {row.goal_ms:g}: {row.verdict}), {row.share_of_matmul_rate:.0%} of the matmul rate",
                    flush=True,
                )
    text = markdown(rows, threads, " ".join(["python", "benchmarks/cpu_latency.py", *sys.argv[1:]]))
    print(f"\n{text}")
    if args.markdown:
        args.markdown.write_text(f"{text}\n", encoding="utf-8")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "threads": threads,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            "rows": [asdict(r) | {"met": r.verdict} for r in rows],
        }
        args.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
