"""The TensorRT backend: engines of `posepipe build-engines`, each replayed as one CUDA graph.

Needs the `tensorrt` extra and a GPU. The driver is asked before TensorRT is: without one, deserialising an engine ends
the process. Engines are checked against their side-cars before they are deserialised, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import EngineError
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.noise import NoiseKey
from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason
from posepipe.trt_build.engine.sidecar import EngineInfo, check_engine, engines_in, read_sidecar
from posepipe.trt_build.engine.versions import Messages, load_tensorrt, make_logger
from posepipe.trt_build.runners.buckets import Result, in_buckets, up_to
from posepipe.trt_build.runners.contract import check_hypotheses, check_people
from posepipe.trt_build.runners.cuda import Cuda
from posepipe.trt_build.runners.noise_cuda import NoiseKernel
from posepipe.trt_build.runners.tensorrt_bucket import TensorRtBucket, Tools

if TYPE_CHECKING:
    import tensorrt as trt


class TensorRtRunner:
    """The engines of one lifter in one folder; see `Runner` for the methods.

    engine: any one of them; those beside it that differ from it in people and hypotheses alone belong to it. `warm_up`
    loads the engines of an H, and `sample` takes no other. index: the GPU, as CUDA numbers them. stream: see `Cuda`.
    captured: False launches piece by piece, to measure what the graph brings.

    Raises MissingDependencyError without TensorRT or cuda-python; EngineError without a GPU, or when the engine is
    damaged or was built for another GPU or version: with the command that builds it again.
    """

    _logger: trt.ILogger

    def __init__(self, engine: Path, index: int = 0, stream: int | None = None, captured: bool = True) -> None:
        engine = Path(engine)
        gpu = gpu_or_reason(index)
        if not isinstance(gpu, GpuInfo):
            raise EngineError(f"TensorRT cannot run here: {gpu}.", "Use --backend onnxruntime.")
        trt = load_tensorrt()
        info = read_sidecar(engine)
        self._gpu, self._version = gpu, trt.__version__
        self._check(info, engine)
        self._engines = family(engine, info)
        self.contract: Checkpoint = info.contract
        self.checkpoint_sha256 = info.checkpoint_sha256
        self.backend = f"tensorrt[{info.precision}]"
        self._ready: dict[int, dict[int, TensorRtBucket]] = {}
        messages = Messages()
        with ExitStack() as owner:
            cuda = Cuda(owner, index, stream)
            kernel = NoiseKernel(cuda, owner, gpu.sm)
            self._logger = make_logger(trt, messages)
            runtime = trt.Runtime(self._logger)
            self._tools: Tools | None = Tools(trt, runtime, messages, cuda, kernel, captured)
            self._owner = owner.pop_all()

    def warm_up(self, persons: int, hypotheses: int) -> None:
        """Load, launch and record the engines that lift up to `persons` people with this H. Those that are ready stay.

        Raises EngineError when there is no engine for it, with the command that builds one."""
        check_hypotheses(self.contract, hypotheses)
        self._open()
        found = [i.persons for _, i in self._engines if i.hypotheses == hypotheses]
        if not found:
            path, info = self._engines[0]
            check_engine(info, path, hypotheses=hypotheses)  # raises
        for people in up_to(persons, found):
            if people not in self._ready.get(hypotheses, {}):
                self._load(people, hypotheses)

    def _load(self, persons: int, hypotheses: int) -> None:
        tools = self._open()
        path, info = next((p, i) for p, i in self._engines if (i.persons, i.hypotheses) == (persons, hypotheses))
        self._check(info, path)
        bucket = TensorRtBucket(tools, path, info)
        self._ready.setdefault(hypotheses, {})[persons] = bucket
        if tools.captured and not bucket.captured:  # it has warned; the others would fail the same way
            self._tools = dataclasses.replace(tools, captured=False)

    def sample(
        self,
        keypoints: NDArray[np.float32],
        confidence: NDArray[np.float32],
        keys: Sequence[NoiseKey],
        hypotheses: int,
    ) -> Result:
        self._open()
        check_hypotheses(self.contract, hypotheses)
        check_people(keypoints, confidence, keys)
        return in_buckets(self._ready, keypoints, confidence, keys, hypotheses)

    def run(
        self, keypoints: NDArray[np.float32], confidence: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> Result:
        """As OrtRunner.run: the bare engine that the runner was opened with, noise given, for exactly its number of
        people and hypotheses. What the accuracy gate compares; not for speed."""
        _, info = self._engines[0]
        if info.persons not in self._ready.get(info.hypotheses, {}):
            self._load(info.persons, info.hypotheses)
        joints, log_weights = self.bucket(info.persons, info.hypotheses).run_with_noise(keypoints, confidence, noise)
        return joints.copy(), log_weights.copy()

    def bucket(self, persons: int, hypotheses: int) -> TensorRtBucket:
        """One engine that `warm_up` made ready, for checks and timing."""
        self._open()
        return self._ready[hypotheses][persons]

    def close(self) -> None:
        """Free everything; a second time does nothing. What refuses to be freed is reported after the rest was."""
        if self._tools is None:
            return
        with self._owner:
            self._close_buckets(self._tools)
            self._tools = None  # TensorRT's runtime goes before the context does

    def _close_buckets(self, tools: Tools) -> None:
        with ExitStack() as buckets:
            for ready in self._ready.values():
                for bucket in ready.values():
                    buckets.callback(bucket.close)
            self._ready = {}
            buckets.callback(tools.cuda.enter)  # comes first

    def __enter__(self) -> TensorRtRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Tools:
        """The tools, the context current in whichever thread calls."""
        if self._tools is None:
            raise EngineError("The runner is closed.")
        self._tools.cuda.enter()
        return self._tools

    def _check(self, info: EngineInfo, engine: Path) -> None:
        gpu = self._gpu
        check_engine(info, engine, gpu=gpu.name, compute_capability=gpu.compute_capability, tensorrt=self._version)


def family(engine: Path, info: EngineInfo) -> list[tuple[Path, EngineInfo]]:
    """The engine and those in its folder that differ from it in people and hypotheses alone."""
    others = [(path, i) for path, i in engines_in(engine.parent) if path != engine and _kin(i) == _kin(info)]
    return [(engine, info), *others]


def _kin(info: EngineInfo) -> tuple[object, ...]:
    contract = dataclasses.replace(info.contract, hypotheses=0)
    return (contract, info.checkpoint_sha256, info.precision, info.gpu, info.compute_capability, info.tensorrt)
