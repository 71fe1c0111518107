"""Weights of a heatmap detector -> graph -> TensorRT engines: `build-engines --detector`. Needs torch and onnx.

Every step is compared with the one before it gets its name: the graph with torch, float16 by rounding (rounded.py) and
engines with the float32 graph in ONNX Runtime. What is compared are heatmaps, as a share of their largest value, and
the keypoints that are read from them, in pixels of the crop.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posepipe import __version__
from posepipe.errors import CheckpointError, EngineError, OutputError
from posepipe.hashing import file_sha256
from posepipe.trt_build.detector.catalogue import Entry
from posepipe.trt_build.detector.contract import HeatmapContract
from posepipe.trt_build.detector.graph import example_crops, torch_heatmaps, write_detector
from posepipe.trt_build.detector.hrnet.net import HrNet
from posepipe.trt_build.detector.hrnet.weights import load_weights, random_weights
from posepipe.trt_build.detector.sidecar import DetectorEngine, write_sidecar
from posepipe.trt_build.engine.build import BuildSettings, build_plan
from posepipe.trt_build.engine.graphs import to_be_checked
from posepipe.trt_build.engine.make import hidden_folder, move, write_plan
from posepipe.trt_build.engine.names import sidecar_path
from posepipe.trt_build.engine.precision import layer_precisions, write_float16
from posepipe.trt_build.engine.probe import GpuInfo
from posepipe.trt_build.engine.progress import Phases
from posepipe.trt_build.engine.rounded import write_rounded
from posepipe.trt_build.engine.static import fix_shapes, load_with_weights
from posepipe.trt_build.runners.heatmaps import HeatmapRunner, OrtHeatmaps
from posepipe.trt_build.tensorrt_check import problems

RANDOM = "random"
LIMITS = {"fp32": 1e-4, "fp16": 2e-2}  # of the largest value of any heatmap
_CROPS = 8
Say = Callable[[str], None]
OpenHeatmaps = Callable[[Path], HeatmapRunner]


@dataclass(frozen=True)
class DetectorGraphs:
    """Files of one detector. full: float32. used: in `precision`."""

    entry: Entry
    full: Path
    used: Path
    precision: str


def load_detector(entry: Entry, weights: str, flip: bool) -> tuple[HrNet, HeatmapContract]:
    """The network and its contract. weights: a file, or "random" for measuring speed. Raises CheckpointError."""
    contract = dataclasses.replace(entry.contract, flip=flip)
    if weights == RANDOM:
        return random_weights(contract.network), contract
    net = load_weights(Path(weights), contract.network, entry.name)
    return net, dataclasses.replace(contract, weights=Path(weights).name, weights_sha256=file_sha256(Path(weights)))


def make_detector_graphs(
    entry: Entry, net: HrNet, contract: HeatmapContract, out: Path, precision: str, say: Say
) -> DetectorGraphs:
    """Write the graph into `out`, and its float16 variant if that is wanted. Raises CheckpointError when one differs
    too much from what it was made of, OutputError when the folder cannot be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write to {out} ({error}).", "Give a folder that you may write to.") from None
    full = out / entry.graph_name
    crops = example_crops(contract, 1, 1)
    with to_be_checked(full) as hidden:
        write_detector(net, contract, hidden)
        with OrtHeatmaps(hidden, device="cpu") as runner:
            difference = share(runner.run(crops), torch_heatmaps(net, contract, crops))
        if not difference <= LIMITS["fp32"]:
            raise CheckpointError(f"The graph of {entry.name} differs from torch by {difference:.1e} of its largest.")
    say(f"{entry.name}: {full} ({full.stat().st_size / 1e6:.0f} MB), {difference:.1e} from torch")
    if precision == "fp32":
        return DetectorGraphs(entry, full, full, precision)
    used = out / f"{full.stem}-{precision}.onnx"
    with to_be_checked(used) as hidden:
        write_float16(full, hidden)
        imitation = hidden.with_name(f"{hidden.name}.rounded")
        try:
            write_rounded(hidden, imitation)
            with OrtHeatmaps(full, device="cpu") as exact, OrtHeatmaps(imitation, device="cpu") as half:
                difference = share(half.run(crops), exact.run(crops))
        finally:
            imitation.unlink(missing_ok=True)
        if not difference <= LIMITS[precision]:
            raise CheckpointError(f"{entry.name} does not bear fp16: {difference:.1e} of the largest.", "Use fp32.")
    say(f"{entry.name}: {used}, float16 against float32: {difference:.1e} of the largest value")
    return DetectorGraphs(entry, full, used, precision)


def fixed_detector(graphs: DetectorGraphs, persons: int) -> Any:
    """The graph for so many crops, as TensorRT reads it. Raises EngineError if it could not."""
    model = fix_shapes(load_with_weights(graphs.used), persons, 1)
    if found := problems(model):
        raise EngineError(f"TensorRT could not read the graph of {graphs.entry.name}: {found[0]}.")
    return model


def make_detector_engine(
    graphs: DetectorGraphs,
    persons: int,
    out: Path,
    *,
    trt: Any,
    gpu: GpuInfo,
    phases: Phases,
    opened: OpenHeatmaps,
) -> tuple[Path, float]:
    """Build the engine for so many crops, compare it with the graph, and give it its name, its side-car beside it.

    Returns its path and the difference. Raises EngineError, OutputError."""
    model = fixed_detector(graphs, persons)
    with OrtHeatmaps(graphs.full, device="cpu") as reference:
        contract = reference.contract
        crops = example_crops(contract, _CROPS, 2)
        expected = np.concatenate([reference.run(crops[i : i + 1]) for i in range(_CROPS)])
    stem = contract.weights_sha256[:8] or RANDOM
    name = f"{graphs.entry.name}-{stem}-{gpu.sm}-{trt.__version__}-b{persons}-{graphs.precision}.engine"
    folder = hidden_folder(out)
    try:
        settings = BuildSettings(timing_cache=out / f"{gpu.sm}-{trt.__version__}.timing-cache")
        plan = build_plan(trt, model.SerializeToString(), settings, phases)
        engine = folder / name
        write_plan(engine, plan)
        info = DetectorEngine(
            contract,
            persons,
            graphs.precision,
            file_sha256(graphs.used),
            gpu.name,
            gpu.compute_capability,
            trt.__version__,
            gpu.driver,
            gpu.cuda,
            layer_precisions(model),
            math.nan,
            hashlib.sha256(plan).hexdigest(),
            len(plan),
            __version__,
        )
        write_sidecar(engine, dataclasses.replace(info, difference=0.0))
        runner = opened(engine)
        try:
            difference = share(runner.run(crops), expected)
        finally:
            runner.close()
        if not difference <= LIMITS[graphs.precision]:
            raise EngineError(
                f"The {graphs.precision} engine of {graphs.entry.name} differs from ONNX Runtime by {difference:.1e}.",
                "Use --precision fp32." if graphs.precision == "fp16" else "Please report it.",
            )
        sidecar = write_sidecar(engine, dataclasses.replace(info, difference=difference))
        move(sidecar, sidecar_path(out / name))
        move(engine, out / name)
    finally:
        with suppress(OSError):
            for file in folder.iterdir():
                os.unlink(file)
            folder.rmdir()
    return out / name, difference


def share(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, as a share of the largest expected value; infinite for what is no number."""
    difference = float(np.abs(got - expected).max()) / max(float(np.abs(expected).max()), 1e-30)
    return difference if math.isfinite(difference) else math.inf
