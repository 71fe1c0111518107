"""Heatmap detectors at work: the graph in ONNX Runtime, or the engines in TensorRT. No torch."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import CheckpointError, EngineError, UsageError
from posepipe.trt_build.detector.contract import INPUT, METADATA, OUTPUT, REBUILD, HeatmapContract, parse
from posepipe.trt_build.runners.ort import CPU, CUDA, cuda_provider, open_session

Maps = NDArray[np.float32]


class HeatmapRunner(Protocol):
    """`run` takes crops (B, 3, height, width) float32 RGB 0..255, any B, and gives heatmaps (B, J, h, w)."""

    contract: HeatmapContract
    backend: str

    def run(self, crops: Maps) -> Maps: ...

    def close(self) -> None: ...


class OrtHeatmaps:
    """A detector's graph in ONNX Runtime: on an NVIDIA GPU where this onnxruntime has one, otherwise on the processor.

    threads: of the processor. Raises CheckpointError for a graph that is missing or no detector's."""

    def __init__(self, graph: Path, threads: int = 1, device: str = "auto") -> None:
        providers = [CUDA, CPU] if device == "cuda" or (device == "auto" and cuda_provider()) else [CPU]
        session = open_session(Path(graph), threads, providers, what="detector")
        self._session = session
        self.contract = _contract(session.get_modelmeta().custom_metadata_map, str(graph))
        self.backend = f"onnxruntime[{'cuda' if CUDA in session.get_providers() else 'cpu'}]"

    def run(self, crops: Maps) -> Maps:
        if self._session is None:
            raise EngineError("The detector is closed.")
        wanted = (3, self.contract.height, self.contract.width)
        if crops.ndim != 4 or crops.shape[1:] != wanted or not len(crops):
            raise UsageError(f"The detector's crops have the shape {crops.shape}, not (people, {wanted}).")
        heatmaps: Maps = self._session.run([OUTPUT], {INPUT: crops})[0]
        return heatmaps

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OrtHeatmaps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_heatmaps(file: Path, threads: int = 1) -> HeatmapRunner:
    """The runner of a detector's graph (.onnx) or engine (.engine).

    Raises CheckpointError, EngineError, MissingDependencyError."""
    if file.suffix == ".engine":
        module = importlib.import_module("posepipe.trt_build.runners.heatmaps_tensorrt")
        runner: HeatmapRunner = module.TensorRtHeatmaps(file)
        return runner
    return OrtHeatmaps(file, threads)


def _contract(metadata: dict[str, str], where: str) -> HeatmapContract:
    if METADATA not in metadata:
        raise CheckpointError(f"{where} is not a detector's graph.", REBUILD.format(name="NAME"))
    return parse(metadata[METADATA], where)
