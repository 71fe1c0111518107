"""`posepipe selftest`: does a backend work on this machine? Every lifter is made small, run, compared and timed; the
report is one piece of text to paste into a bug."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe import __version__
from posepipe.errors import PosepipeError
from posepipe.lifters.catalogue import LIFTERS, Entry, entry
from posepipe.noise import NoiseKey
from posepipe.trt_build.engine.gate import FP16_P99, FP32_MAX
from posepipe.trt_build.engine.poses import people
from posepipe.trt_build.engine.probe import gpu_or_reason
from posepipe.trt_build.runners.load import BACKENDS, Choice, load
from posepipe.trt_build.runners.ort import OrtRunner
from posepipe.trt_build.runners.protocol import Runner

PEOPLE = 3  # a number that is no bucket
REPEATS = 30
_LIBRARIES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "torch",
    "tensorrt",
    "cuda-bindings",
    "nvidia-cuda-nvrtc",
)


@dataclass(frozen=True)
class Row:
    """One lifter. weights: `shipped` or `small`. difference: largest distance of a joint from the reference (with fp16
    the 99th percentile), metres, or a share of the largest pose where poses are larger than people; None if it was not
    compared. same: whether graph and plain launches agree bit by bit. times: milliseconds. trouble: what went wrong."""

    lifter: str
    weights: str
    backend: str = ""
    difference: float | None = None
    limit: float = FP32_MAX
    same: bool | None = None
    median_ms: float = 0.0
    p99_ms: float = 0.0
    trouble: str = ""

    @property
    def good(self) -> bool:
        near = self.difference is None or self.difference <= self.limit
        return not self.trouble and near and self.same is not False

    def line(self) -> str:
        if self.trouble:
            return f"FAILED {self.lifter:<16} {self.weights:<8} {self.trouble}"
        compared = "not compared" if self.difference is None else f"{1e3 * self.difference:.4f} mm"
        graph = {None: "", True: "  graph = plain launches", False: "  GRAPH DIFFERS FROM PLAIN LAUNCHES"}[self.same]
        state = "ok    " if self.good else "FAILED"
        times = f"{self.median_ms:8.3f} ms (p99 {self.p99_ms:.3f})"
        return f"{state} {self.lifter:<16} {self.weights:<8} {self.backend:<18} {compared:>14} {times}{graph}"


def selftest(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "posepipe selftest", description="Run every lifter, small, on a backend; compare and time it."
    )
    parser.add_argument("--backend", choices=BACKENDS[1:], required=True)
    parser.add_argument("--lifter", action="append", default=[], metavar="NAME", help="only this one (repeatable)")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="of TensorRT engines")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    args = parser.parse_args(argv)
    entries = [entry(name) for name in args.lifter] or list(LIFTERS)
    rows, noise = list[Row](), ""
    trouble = _not_usable(args.backend)
    if not trouble:
        with tempfile.TemporaryDirectory(prefix="posepipe-selftest-") as folder:
            noise = _noise_on_device(args.backend)
            for e in entries:
                rows.append(_tried(e, args.backend, args.precision, Path(folder)))
                if not args.json:
                    print(rows[-1].line(), file=sys.stderr)
    good = not trouble and not noise.startswith("FAILED") and all(row.good for row in rows)
    if args.json:
        report = {"machine": machine(), "backend": args.backend, "good": good, "trouble": trouble, "noise": noise}
        print(json.dumps({**report, "lifters": [asdict(row) for row in rows]}, indent=1))
    else:
        print("\n".join(report_lines(args.backend, rows, trouble, noise, good)))
    return 0 if good else 1


def report_lines(backend: str, rows: Sequence[Row], trouble: str, noise: str, good: bool) -> list[str]:
    """The report as text."""
    lines = ["--- posepipe selftest: paste from here ---", *(f"{key}: {value}" for key, value in machine().items())]
    lines.append(f"backend: {backend}")
    lines += [f"noise: {noise}"] if noise else []
    lines += [row.line() for row in rows]
    if trouble:
        lines.append(f"The {backend} backend does not work here: {trouble}")
    elif good:
        lines.append(f"All {len(rows)} lifters work on {backend}.")
    else:
        bad = [row.lifter for row in rows if not row.good]
        lines.append(f"{len(bad)} of {len(rows)} lifters do not work on {backend}: {', '.join(bad)}.")
    return [*lines, "--- to here ---"]


def machine() -> dict[str, str]:
    """What a bug report has to say of the machine."""
    gpu = gpu_or_reason()
    libraries = {name: _version(name) for name in _LIBRARIES}
    return {
        "posepipe": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "gpu": gpu if isinstance(gpu, str) else f"{gpu.name} ({gpu.sm}), driver {gpu.driver}, CUDA {gpu.cuda}",
        "libraries": ", ".join(f"{name} {version}" for name, version in libraries.items() if version),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _not_usable(backend: str) -> str:
    """Why a backend cannot work at all; empty if it may."""
    try:
        if backend == "tensorrt":
            from posepipe.trt_build.engine.engines import find_tensorrt

            find_tensorrt()
            import cuda.bindings  # noqa: F401
    except PosepipeError as error:
        return str(error)
    except ImportError:
        return "cuda-python is not installed. Install it with `pip install 'posepipe[tensorrt]'`."
    if backend != "onnxruntime" and not _can_make_small():
        return "torch and onnx are not installed. Install them with `pip install 'posepipe[train]'`."
    return ""


def _can_make_small() -> bool:
    return all(find_spec(name) for name in ("torch", "onnx", "onnxscript"))


def _tried(e: Entry, backend: str, precision: str, folder: Path) -> Row:
    weights = "shipped" if e.checkpoint and backend != "tensorrt" else "small"
    try:
        if weights == "shipped":
            graph = e.graph_path
        elif not _can_make_small():
            return Row(
                e.name, "none", trouble="no weights are shipped; small ones need `pip install 'posepipe[train]'`"
            )
        else:
            graph = _small_graph(e, folder)
        return _measured(e, weights, backend, graph, precision)
    except PosepipeError as error:
        return Row(e.name, weights, trouble=str(error))


def _small_graph(e: Entry, folder: Path) -> Path:
    """Random weights and their graph, in a folder of their own."""
    from posepipe.trt_build.engine.graphs import make_graphs, plan_for
    from posepipe.trt_build.small import network_of, write_random

    out = folder / e.name.replace(":", "-")
    out.mkdir(parents=True)
    checkpoint = write_random(out / "small.safetensors", e, network_of(e))
    return make_graphs(plan_for(e, checkpoint, {}), out, "fp32", lambda text: None).full


def _engines(e: Entry, graph: Path, precision: str) -> Path:
    from posepipe.trt_build.engine.engines import find_tensorrt, make_engines
    from posepipe.trt_build.engine.graphs import make_graphs, plan_for

    trt, gpu = find_tensorrt()
    plan = plan_for(e, graph.parent / "small.safetensors", {})
    graphs = make_graphs(plan, graph.parent, precision, lambda text: None)
    made = list(make_engines(graphs, graph.parent, (1, 4), trt=trt, gpu=gpu, poses=40))
    return made[0].path


def _measured(e: Entry, weights: str, backend: str, graph: Path, precision: str) -> Row:
    engine = _engines(e, graph, precision) if backend == "tensorrt" else None
    with load(Choice(backend, "self test", engine), graph) as runner:
        contract = runner.contract
        count = contract.fixed_hypotheses or min(contract.hypotheses, 20)
        keypoints, confidence = people(contract.space, PEOPLE)
        keys = [NoiseKey(1, "selftest", 2**32 + i, i) for i in range(PEOPLE)]
        runner.warm_up(PEOPLE, count)
        got = runner.sample(keypoints, confidence, keys, count)
        with _reference(backend, graph) as reference:
            expected = reference.sample(keypoints, confidence, keys, count) if reference else None
        half = backend == "tensorrt" and precision == "fp16"
        difference = _distance(got, expected, half) if expected is not None else None
        one = (keypoints[:1], confidence[:1], keys[:1])
        times = _timed(lambda: runner.sample(*one, count))
        same = _graph_is_plain(runner, *one) if backend == "tensorrt" else None
        name = runner.backend
    middle, late = (float(np.percentile(times, q)) for q in (50, 99))
    limit = FP16_P99 if half else FP32_MAX
    return Row(e.name, weights, name, difference, limit, same, middle, late)


@contextmanager
def _reference(backend: str, graph: Path) -> Iterator[Runner | None]:
    """ONNX Runtime on the processor; for ONNX Runtime itself torch, where it is installed."""
    if backend != "onnxruntime":
        with OrtRunner(graph) as runner:
            yield runner
    elif _can_make_small():
        from posepipe.trt_build.runners.torch_runner import TorchRunner

        with TorchRunner(graph, "cpu") as runner:
            yield runner
    else:
        yield None


def _distance(got: tuple[NDArray, NDArray], expected: tuple[NDArray, NDArray], half: bool) -> float:
    if not (np.isfinite(got[0]).all() and np.isfinite(got[1]).all()):
        return float("inf")
    scale = max(1.0, float(np.abs(expected[0]).max()))
    distances = np.linalg.norm((got[0] - expected[0]).astype(np.float64), axis=-1) / scale
    return float(np.percentile(distances, 99) if half else distances.max())


def _timed(work: Callable[[], object]) -> list[float]:
    """Milliseconds of wall-clock time of each call."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - began))
    return times


def _graph_is_plain(runner: Any, keypoints: NDArray, confidence: NDArray, keys: Sequence[NoiseKey]) -> bool:
    bucket = runner.bucket(1, runner.contract.hypotheses)
    by_graph = [a.copy() for a in bucket.run(keypoints, confidence, keys)]
    plainly = bucket.run_plainly(keypoints, confidence, keys)
    return all(np.array_equal(one, other) for one, other in zip(by_graph, plainly, strict=True))


def _noise_on_device(backend: str) -> str:
    """The device's noise against the host's, in words; empty for backends that take the host's."""
    if backend == "onnxruntime":
        return ""
    from posepipe.trt_build.noise_check import check_cuda, check_torch

    try:
        return check_cuda() if backend == "tensorrt" else check_torch()
    except PosepipeError as error:
        return f"FAILED: {error}"
