"""The ONNX Runtime backend: the sampler graph on the CPU, or on an NVIDIA GPU where onnxruntime-gpu is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import CheckpointError, EngineError, UsageError
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.noise import NoiseKey, normal
from posepipe.trt_build.engine.probe import probe_gpu
from posepipe.trt_build.runners.contract import (
    CONTRACT,
    REBUILD,
    WEIGHTS,
    WEIGHTS_SHA256,
    GraphInfo,
    check_hypotheses,
    check_people,
    graph_info,
)

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["CONTRACT", "WEIGHTS", "WEIGHTS_SHA256", "OrtRunner", "check_hypotheses", "read_graph"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OrtRunner:
    """A sampler graph in ONNX Runtime; see `Runner` for the methods.

    threads: intra-op threads. 1 is the default because detector, renderer and encoder want the other cores: with as
    many threads as cores ONNX Runtime is slowest whenever anything else runs.
    device: `cpu`; `cuda`; or `auto`, the GPU where there is one that this onnxruntime can use.
    Raises CheckpointError when the graph, or the weights it points into, are missing or do not belong together,
    EngineError when `cuda` was asked for and cannot be had.
    """

    def __init__(self, graph: Path, threads: int = 1, device: str = "cpu") -> None:
        graph = Path(graph)
        providers = [CPU] if device == "cpu" or (device == "auto" and not cuda_provider()) else [CUDA, CPU]
        self._session: onnxruntime.InferenceSession | None = open_session(graph, threads, providers)
        on_gpu = CUDA in self._session.get_providers()
        if device == "cuda" and not on_gpu:
            raise EngineError("This ONNX Runtime cannot use the GPU.", "Install onnxruntime-gpu, or use the CPU.")
        info = graph_info(graph, _metadata(self._session, graph))
        self._graph = graph
        self.contract: Checkpoint = info.contract
        self.checkpoint_sha256 = info.weights_sha256
        self.backend = f"onnxruntime[{'cuda' if on_gpu else 'cpu'}]"

    def warm_up(self, persons: int, hypotheses: int) -> None:
        shape = (persons, 17)
        keys = [NoiseKey(0, "warm-up", 0, i) for i in range(persons)]
        self.sample(np.zeros((*shape, 2), np.float32), np.ones(shape, np.float32), keys, hypotheses)

    def sample(
        self,
        keypoints: NDArray[np.float32],
        confidence: NDArray[np.float32],
        keys: Sequence[NoiseKey],
        hypotheses: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        check_hypotheses(self.contract, hypotheses)
        check_people(keypoints, confidence, keys)
        shape = (hypotheses, *self.contract.noise_shape)
        noise = np.stack([normal(key, shape) for key in keys])
        return self.run(keypoints, confidence, noise)

    def run(
        self, keypoints: NDArray[np.float32], confidence: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The bare graph, noise given: what parity checks compare. Raises UsageError for arrays of another shape."""
        if self._session is None:
            raise EngineError("The runner is closed.")
        people, noise_shape = len(keypoints), self.contract.noise_shape
        count = self.contract.fixed_hypotheses or (noise.shape[1] if noise.ndim > 1 else 0)
        wanted = {"keypoints": (people, 17, 2), "confidence": (people, 17), "noise": (people, count, *noise_shape)}
        for name, array in (("keypoints", keypoints), ("confidence", confidence), ("noise", noise)):
            if array.shape != wanted[name]:
                raise UsageError(f"The lifter's input '{name}' has the shape {array.shape}, not {wanted[name]}.")
        feeds = {"keypoints": keypoints, "confidence": confidence, "noise": noise}
        try:
            hypotheses, log_weights = self._session.run(["hypotheses", "log_weights"], feeds)
        except Exception as error:
            if not _is_its_own(error):
                raise
            raise CheckpointError(f"ONNX Runtime cannot run {self._graph} ({_reason(error)}).", REBUILD) from None
        if hypotheses.shape != (people, count, 17, 3) or log_weights.shape != (people, count):
            raise CheckpointError(f"{self._graph} gives arrays of other shapes than its header says.", REBUILD)
        return hypotheses, log_weights

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OrtRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_graph(graph: Path) -> GraphInfo:
    """What a graph says of itself, for runners that do not run it. Raises CheckpointError as OrtRunner does."""
    session = open_session(Path(graph), 1, [CPU], optimise=False)
    return graph_info(Path(graph), _metadata(session, Path(graph)))


def cuda_provider() -> bool:
    """Whether this onnxruntime has a CUDA provider and there is a GPU for it."""
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers() and probe_gpu() is not None


def open_session(
    graph: Path, threads: int, providers: list[str], optimise: bool = True, what: str = "sampler"
) -> onnxruntime.InferenceSession:
    """A graph in ONNX Runtime. what: kind of graph, for the error. Raises CheckpointError when it is missing or cannot
    be loaded."""
    import onnxruntime

    if not graph.is_file():
        raise CheckpointError(f"There is no {what} graph at {graph}.", REBUILD)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:
        if not _is_its_own(error):
            raise
        raise CheckpointError(f"ONNX Runtime cannot load {graph} ({_reason(error)}).", REBUILD) from None


def _metadata(session: onnxruntime.InferenceSession, graph: Path) -> dict[str, str]:
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeDecodeError as error:
        raise CheckpointError(f"The header of {graph} is damaged ({error}).", REBUILD) from None


def _is_its_own(error: Exception) -> bool:
    """Whether a failure is ONNX Runtime's. Its texts quote the graph; those of a damaged one may be no UTF-8."""
    return type(error).__module__.split(".")[0] == "onnxruntime" or isinstance(error, UnicodeDecodeError)


def _reason(error: Exception) -> str:
    return "the file is damaged" if isinstance(error, UnicodeDecodeError) else (str(error).splitlines() or ["?"])[0]
