"""One TensorRT engine, ready: its buffers, and one CUDA graph that holds copy in, noise, engine and copy home."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import EngineError
from posepipe.noise import NoiseKey
from posepipe.trt_build.engine.sidecar import EngineInfo
from posepipe.trt_build.engine.versions import Messages
from posepipe.trt_build.runners.buckets import Result, check_bucket
from posepipe.trt_build.runners.cuda import CaptureError, Cuda, Pinned
from posepipe.trt_build.runners.noise_cuda import NoiseKernel
from posepipe.trt_build.runners.noise_keys import KEY_DTYPE, pack

if TYPE_CHECKING:
    import tensorrt as trt

_ALIGNMENT = 256  # bytes; TensorRT asks for it
_OUTPUTS = ("hypotheses", "log_weights")
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Tools:
    """What all buckets of a runner share. captured: whether to record CUDA graphs."""

    trt: Any
    runtime: trt.Runtime
    messages: Messages
    cuda: Cuda
    kernel: NoiseKernel
    captured: bool = True


class Block:
    """Some arrays side by side in one piece of memory, on both sides, so that one copy moves them all."""

    def __init__(self, cuda: Cuda, owner: ExitStack, fields: Sequence[tuple[str, tuple[int, ...], Any]]) -> None:
        offsets, size = [], 0
        for _, shape, kind in fields:
            offsets.append(size)
            size += -(-math.prod(shape) * np.dtype(kind).itemsize // _ALIGNMENT) * _ALIGNMENT
        self.host: Pinned = cuda.pin(owner, size)
        self.device = cuda.allocate(owner, size)
        self.addresses = {name: self.device + at for (name, _, _), at in zip(fields, offsets, strict=True)}
        self.arrays = {
            name: self.host.array[at : at + math.prod(shape) * np.dtype(kind).itemsize].view(kind).reshape(shape)
            for (name, shape, kind), at in zip(fields, offsets, strict=True)
        }


class TensorRtBucket:
    """An engine with its buffers; see `Bucket`. Frees everything in `close`, also when it could not be made.

    Raises EngineError when TensorRT refuses the plan or it is not what its side-car says, and for memory."""

    _engine: trt.ICudaEngine
    _context: trt.IExecutionContext

    def __init__(self, tools: Tools, path: Path, info: EngineInfo) -> None:
        self._tools, self._info = tools, info
        self._graph: Any = None
        self._rebuild = f"Build it again: {info.rebuild_command(path.parent)}"
        with ExitStack() as owner:
            owner.callback(self._forget)
            self._engine = self._deserialise(path)
            self._check_shapes(path)
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise self._failed(f"{path.name} cannot be run", "Close other programs on the GPU.")
            self._allocate(owner)
            owner.callback(tools.cuda.synchronise)  # nothing is freed under a running launch
            self._first_launches(owner)
            self._owner = owner.pop_all()

    @property
    def captured(self) -> bool:
        """Whether a launch is the replay of one CUDA graph."""
        return self._graph is not None

    def run(self, keypoints: Array, confidence: Array, keys: Sequence[NoiseKey]) -> Result:
        check_bucket(keypoints, confidence, len(keys), self._info.persons)
        self._write(keypoints, confidence, keys)
        return self._launched()

    def run_plainly(self, keypoints: Array, confidence: Array, keys: Sequence[NoiseKey]) -> Result:
        """The same without the graph, launch by launch: what the graph is compared with, bit by bit."""
        check_bucket(keypoints, confidence, len(keys), self._info.persons)
        self._write(keypoints, confidence, keys)
        self._enqueue()
        return self._fetched()

    def run_with_noise(self, keypoints: Array, confidence: Array, noise: Array) -> Result:
        """The same with noise (people, H, *noise_shape) that is given and not drawn: what the accuracy gate compares.
        Not for speed."""
        check_bucket(keypoints, confidence, len(noise), self._info.persons)
        if noise.shape[1:] != (self._info.hypotheses, *self._info.noise_shape):
            raise EngineError(f"The noise has the shape {noise.shape}.")
        self._write(keypoints, confidence, [])
        with ExitStack() as owner:
            if self._noise is not None:
                staged = self._tools.cuda.pin(owner, noise.nbytes)
                staged.array[:] = np.ascontiguousarray(noise, np.float32).view(np.uint8).ravel()
                self._tools.cuda.to_device(self._noise, staged)
            self._enqueue(draw=False)
            return self._fetched()

    def milliseconds(self, repeats: int, plainly: bool = False) -> list[float]:
        """GPU time of launches with whatever the buffers hold, by CUDA events."""
        work = self._enqueue if plainly or self._graph is None else self._replay
        return self._tools.cuda.milliseconds(work, repeats)

    def close(self) -> None:
        self._owner.close()

    def _launched(self) -> Result:
        if self._graph is None:
            self._enqueue()
        else:
            self._replay()
        return self._fetched()

    def _fetched(self) -> Result:
        self._tools.cuda.synchronise()
        return self._out.arrays["hypotheses"], self._out.arrays["log_weights"]

    def _replay(self) -> None:
        self._tools.cuda.replay(self._graph)

    def _enqueue(self, draw: bool = True) -> None:
        """Everything of one launch onto the stream."""
        cuda, info = self._tools.cuda, self._info
        cuda.to_device(self._in.device, self._in.host)
        if draw and self._noise is not None:
            count = info.hypotheses * math.prod(info.noise_shape)
            self._tools.kernel.fill(self._noise, self._in.addresses["keys"], info.persons, count)
        if not self._context.execute_async_v3(cuda.stream):
            raise self._failed("TensorRT did not run the engine", "See `posepipe selftest --backend tensorrt`.")
        cuda.to_host(self._out.host, self._out.device)

    def _write(self, keypoints: Array, confidence: Array, keys: Sequence[NoiseKey]) -> None:
        self._in.arrays["keypoints"][:] = keypoints
        self._in.arrays["confidence"][:] = confidence
        if keys:
            self._in.arrays["keys"][:] = pack(keys)

    def _deserialise(self, path: Path) -> trt.ICudaEngine:
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise EngineError(f"The engine {path} cannot be read ({error}).", self._rebuild) from None
        runtime: trt.Runtime = self._tools.runtime
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self._failed(f"TensorRT does not take {path.name}", self._rebuild)
        return engine

    def _check_shapes(self, path: Path) -> None:
        """A graph is recorded for one shape: engines with open ones, without a profile, or with other shapes or types
        than ours are refused before anything is allocated for them."""
        engine, trt, info = self._engine, self._tools.trt, self._info
        if engine.num_optimization_profiles < 1:
            raise EngineError(f"{path.name} has no optimisation profile.", self._rebuild)
        inputs = {
            "keypoints": (info.persons, 17, 2),
            "confidence": (info.persons, 17),
            "noise": (info.persons, info.hypotheses, *info.noise_shape),
        }
        outputs = {
            "hypotheses": (info.persons, info.hypotheses, 17, 3),
            "log_weights": (info.persons, info.hypotheses),
        }
        self._names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        for name in self._names:
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            wanted, shape = (inputs if is_input else outputs).get(name), tuple(engine.get_tensor_shape(name))
            if wanted is None or shape != wanted or engine.get_tensor_dtype(name) != trt.float32:
                kind = "input" if is_input else "output"
                raise EngineError(f"{path.name} has the {kind} {name} {shape}, not {wanted or 'any'}.", self._rebuild)
        if missing := set(outputs) - set(self._names):
            raise EngineError(f"{path.name} has no output {missing.pop()}.", self._rebuild)

    def _allocate(self, owner: ExitStack) -> None:
        info, cuda = self._info, self._tools.cuda
        people, count = info.persons, info.hypotheses
        floats: Any = np.float32
        self._in = Block(
            cuda,
            owner,
            (
                ("keypoints", (people, 17, 2), floats),
                ("confidence", (people, 17), floats),
                ("keys", (people,), KEY_DTYPE),
            ),
        )
        outputs = (("hypotheses", (people, count, 17, 3), floats), ("log_weights", (people, count), floats))
        self._out = Block(cuda, owner, outputs)
        self._noise: int | None = None
        addresses = {**self._in.addresses, **self._out.addresses}
        if "noise" in self._names:
            self._noise = cuda.allocate(owner, 4 * people * count * math.prod(info.noise_shape))
            addresses["noise"] = self._noise
        for name in self._names:
            if not self._context.set_tensor_address(name, addresses[name]):
                raise self._failed(f"TensorRT does not take a buffer for {name}", self._rebuild)

    def _first_launches(self, owner: ExitStack) -> None:
        """Launch plainly first, since TensorRT does things at its first launch that no graph may hold; then record."""
        people = self._info.persons
        keys = [NoiseKey(0, "warm-up", 0, i) for i in range(people)]
        self._write(np.zeros((people, 17, 2), np.float32), np.ones((people, 17), np.float32), keys)
        for _ in range(2):
            self._enqueue()
        self._tools.cuda.synchronise()
        if not self._tools.captured:
            return
        try:
            self._graph = self._tools.cuda.capture(owner, self._enqueue)
        except CaptureError as error:
            text = f"{error.message} No CUDA graph: the engine runs launch by launch, slower."
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            self._enqueue()
            self._tools.cuda.synchronise()

    def _failed(self, what: str, hint: str) -> EngineError:
        return EngineError(f"{what} ({self._tools.messages.last_error('TensorRT gave no reason')}).", hint)

    def _forget(self) -> None:
        """In TensorRT's order: context before engine."""
        self._graph = None
        for name in ("_context", "_engine"):
            vars(self).pop(name, None)
