"""A detector's TensorRT engines, each replayed as one CUDA graph: copy in, network, copy home.

As TensorRtRunner: the driver is asked before TensorRT, engines are checked against their side-cars before they are
opened, people are padded up to a bucket and more than the largest are split.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import EngineError, UsageError
from posepipe.skeleton import skeleton
from posepipe.trt_build.detector.contract import INPUT, OUTPUT
from posepipe.trt_build.detector.sidecar import DetectorEngine, check_engine, family
from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason
from posepipe.trt_build.engine.versions import Messages, load_tensorrt, make_logger
from posepipe.trt_build.runners.cuda import CaptureError, Cuda
from posepipe.trt_build.runners.tensorrt_bucket import Block

if TYPE_CHECKING:
    import tensorrt as trt

Maps = NDArray[np.float32]


class TensorRtHeatmaps:
    """See `HeatmapRunner`. engine: any one of a detector's; those beside it that differ in the number of people alone
    belong to it. Raises MissingDependencyError without TensorRT or cuda-python, EngineError without a GPU or for an
    engine that is not for this machine."""

    _logger: trt.ILogger

    def __init__(self, engine: Path, index: int = 0) -> None:
        engine = Path(engine)
        gpu = gpu_or_reason(index)
        if not isinstance(gpu, GpuInfo):
            raise EngineError(f"TensorRT cannot run here: {gpu}.", "Give the detector's .onnx file.")
        trt = load_tensorrt()
        members = family(engine)
        for path, info in members.values():
            check_engine(info, path, gpu.name, gpu.compute_capability, trt.__version__)
        first = next(iter(members.values()))[1]
        self.contract, self.backend = first.contract, f"tensorrt[{first.precision}]"
        self._buckets: dict[int, _Bucket] = {}
        messages = Messages()
        with ExitStack() as owner:
            self._cuda = Cuda(owner, index)
            self._logger = make_logger(trt, messages)
            runtime = trt.Runtime(self._logger)
            for persons, (path, info) in members.items():
                tools = EngineTools(trt, runtime, messages, self._cuda)
                self._buckets[persons] = _Bucket(owner, tools, path, info)
            owner.callback(self._cuda.enter)
            self._owner = owner.pop_all()

    def run(self, crops: Maps) -> Maps:
        if not self._buckets:
            raise EngineError("The detector is closed.")
        wanted = (3, self.contract.height, self.contract.width)
        if crops.ndim != 4 or crops.shape[1:] != wanted or not len(crops):
            raise UsageError(f"The detector's crops have the shape {crops.shape}, not (people, {wanted}).")
        self._cuda.enter()
        done, sizes = [], sorted(self._buckets)
        start = 0
        while start < len(crops):
            left = len(crops) - start
            size = next((s for s in sizes if s >= left), sizes[-1])
            part = crops[start : start + size]
            done.append(self._buckets[size].run(part)[: len(part)].copy())
            start += len(part)
        return np.concatenate(done)

    def close(self) -> None:
        """Free everything; a second time does nothing."""
        self._buckets = {}
        self._owner.close()


@dataclass(frozen=True)
class EngineTools:
    trt: Any
    runtime: trt.Runtime
    messages: Messages
    cuda: Cuda


class _Bucket:
    """One engine with its buffers and its recorded launch."""

    _engine: trt.ICudaEngine
    _context: trt.IExecutionContext

    def __init__(self, owner: ExitStack, tools: EngineTools, path: Path, info: DetectorEngine) -> None:
        cuda = tools.cuda
        self._cuda, self._messages = cuda, tools.messages
        self._graph: Any = None
        c = info.contract
        shapes = {
            INPUT: (info.persons, 3, c.height, c.width),
            OUTPUT: (info.persons, len(skeleton(c.skeleton)), *c.heatmap),
        }
        owner.callback(self._forget)
        rebuild = f"Build it again: {info.rebuild_command(path.parent)}"
        runtime: trt.Runtime = tools.runtime
        self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise self._failed(f"TensorRT does not take {path.name}", rebuild)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        for name in names:
            shape = tuple(self._engine.get_tensor_shape(name))
            if shape != shapes.get(name) or self._engine.get_tensor_dtype(name) != tools.trt.float32:
                raise EngineError(f"{path.name} has the tensor {name} {shape}, not {shapes.get(name)}.", rebuild)
        if missing := set(shapes) - set(names):
            raise EngineError(f"{path.name} has no tensor {missing.pop()}.", rebuild)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._failed(f"{path.name} cannot be run", "Close other programs on the GPU.")
        floats: Any = np.float32
        self._in = Block(cuda, owner, ((INPUT, shapes[INPUT], floats),))
        self._out = Block(cuda, owner, ((OUTPUT, shapes[OUTPUT], floats),))
        for name, address in {**self._in.addresses, **self._out.addresses}.items():
            if not self._context.set_tensor_address(name, address):
                raise self._failed(f"TensorRT does not take a buffer for {name}", rebuild)
        owner.callback(cuda.synchronise)  # nothing is freed under a running launch
        for _ in range(2):  # TensorRT does things at its first launch that no graph may hold
            self._enqueue()
        cuda.synchronise()
        try:
            self._graph = cuda.capture(owner, self._enqueue)
        except CaptureError as error:
            text = f"{error.message} No CUDA graph: the detector runs launch by launch, slower."
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def run(self, crops: Maps) -> Maps:
        """crops: at most as many as the engine takes; the rest of the result means nothing."""
        self._in.arrays[INPUT][: len(crops)] = crops
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.replay(self._graph)
        self._cuda.synchronise()
        return self._out.arrays[OUTPUT]

    def _enqueue(self) -> None:
        self._cuda.to_device(self._in.device, self._in.host)
        if not self._context.execute_async_v3(self._cuda.stream):
            raise self._failed("TensorRT did not run the detector", "Build its engines again.")
        self._cuda.to_host(self._out.host, self._out.device)

    def _failed(self, what: str, hint: str) -> EngineError:
        return EngineError(f"{what} ({self._messages.last_error('TensorRT gave no reason')}).", hint)

    def _forget(self) -> None:
        """In TensorRT's order: context before engine."""
        self._graph = None
        for name in ("_context", "_engine"):
            vars(self).pop(name, None)
