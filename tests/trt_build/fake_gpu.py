"""A recording double of TensorRT and CUDA, installed as the modules `tensorrt` and `cuda.bindings`.

It does what a GPU does, on the processor: memory is real memory, work waits on the stream until somebody synchronises,
a stream that captures only records, kernels draw the noise that they shall, and an engine is a graph in ONNX Runtime
reading and writing the addresses that it was given. So what the runner does with buffers is tested by its results.
Everything is recorded in `calls`; any call can be made to fail; what was made and not freed stays in `alive`.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from posepipe.hashing import file_sha256
from posepipe.noise import philox4x32
from posepipe.trt_build.engine.names import engine_name
from posepipe.trt_build.engine.probe import GpuInfo
from posepipe.trt_build.engine.sidecar import EngineInfo, write_sidecar
from posepipe.trt_build.runners.noise_keys import KEY_DTYPE
from posepipe.trt_build.runners.ort import OrtRunner

GPU = GpuInfo("NVIDIA Fake", "9.0", "580.65.06", "13.0", 80 << 30)
OUT_OF_MEMORY = 2
CAPTURE_INVALIDATED = 901


class Code(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = OUT_OF_MEMORY
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = CAPTURE_INVALIDATED


class Handle:
    """What the bindings give back: not a number, but turned into one by int()."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value


class FakeGpu:
    """calls: (name, arguments) of every call, CUDA's and TensorRT's. fail: name -> (which call of that name, counted
    from 1, what happens: a code, or an exception). fail_at: the same for the n-th call of all. alive: kind ->
    handles."""

    def __init__(self, version: str = "11.4.0") -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.fail: dict[str, tuple[int, Any]] = {}
        self.fail_at: tuple[int, Any] | None = None
        self.alive: dict[str, dict[int, Any]] = {}
        self.version = version
        self.profiles = 1
        self.shape_of: Callable[[str, tuple[int, ...]], tuple[int, ...]] = lambda name, shape: shape
        self.takes_plans = True
        self.runs_engines = True
        self.current: dict[int, bool] = {}
        self._pending: list[Callable[[], None]] = []
        self._recording: list[Callable[[], None]] | None = None
        self._broken_capture = False
        self._next = 0x1000

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def leaked(self) -> dict[str, int]:
        return {kind: len(handles) for kind, handles in self.alive.items() if handles}

    def install(self, patch: pytest.MonkeyPatch) -> None:
        bindings, cuda = ModuleType("cuda.bindings"), ModuleType("cuda")
        driver, nvrtc = self._driver(), self._nvrtc()
        cuda.bindings, bindings.driver, bindings.nvrtc = bindings, driver, nvrtc  # type: ignore[attr-defined]
        modules = {"cuda": cuda, "cuda.bindings": bindings, "cuda.bindings.driver": driver}
        modules |= {"cuda.bindings.nvrtc": nvrtc, "tensorrt": self._tensorrt()}
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        patch.setattr("posepipe.trt_build.runners.tensorrt.gpu_or_reason", lambda index=0: GPU)

    def happen(self, name: str, *arguments: Any) -> Any:
        """Record a call; returns the code that it is to fail with, or 0. Raises if it is to raise."""
        self.calls.append((name, arguments))
        which, what = self.fail.get(name, (0, 0))
        if self.fail_at is not None and self.fail_at[0] == len(self.calls):
            which, what = self.names().count(name), self.fail_at[1]
        if which and self.names().count(name) == which:
            if isinstance(what, type) and issubclass(what, BaseException):
                raise what("injected")
            return Code(what)
        return Code(0)

    def make(self, kind: str, thing: Any = None) -> Handle:
        self._next += 0x10
        self.alive.setdefault(kind, {})[self._next] = thing
        return Handle(self._next)

    def free(self, kind: str, handle: Any) -> None:
        del self.alive[kind][int(handle)]  # KeyError: freed twice

    def do(self, work: Callable[[], None]) -> None:
        """On the stream: now recorded, or when somebody waits."""
        (self._pending if self._recording is None else self._recording).append(work)

    def finish(self) -> None:
        work, self._pending = self._pending, []
        for step in work:
            step()

    def memory(self, address: int, size: int) -> np.ndarray:
        """`size` bytes at an address that has to lie within something allocated."""
        for kind in ("device", "pinned"):
            for start, array in self.alive.get(kind, {}).items():
                if start <= address and address + size <= start + array.nbytes:
                    return array[address - start : address - start + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not allocated")

    def _driver(self) -> ModuleType:
        driver = ModuleType("cuda.bindings.driver")
        driver.CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)  # type: ignore[attr-defined]
        mode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
        driver.CUstreamCaptureMode = mode  # type: ignore[attr-defined]

        def add(name: str, effect: Callable[..., Any]) -> None:
            def call(*arguments: Any) -> tuple[Any, ...]:
                if code := self.happen(name, *arguments):
                    if name == "cuStreamEndCapture":
                        self._recording = None
                        return code, Handle(0)
                    return (code, None)
                value = effect(*arguments)
                if isinstance(value, Code):
                    return (value, Handle(0))
                return (Code(0),) if value is None else (Code(0), value)

            call.__name__ = name
            setattr(driver, name, call)

        for name, effect in self._effects().items():
            add(name, effect)
        driver.cuGetErrorName = lambda code: (Code(0), code.name.encode())  # type: ignore[attr-defined]
        return driver

    def _effects(self) -> dict[str, Callable[..., Any]]:
        import threading

        def allocate(kind: str) -> Callable[..., Any]:
            def effect(size: int, flags: int = 0) -> Any:
                array = np.full(size, 0xAB, np.uint8)  # never zero by itself
                self.alive.setdefault(kind, {})[array.ctypes.data] = array
                return Handle(array.ctypes.data) if kind == "device" else array.ctypes.data

            return effect

        def copy(target: Any, source: Any, size: int, stream: Any) -> None:
            int(stream)

            def work() -> None:
                self.memory(int(target), size)[:] = self.memory(int(source), size)

            self.do(work)

        def begin(stream: Any, mode: int) -> None:
            assert mode == 1
            self._recording = []

        def end(stream: Any) -> Any:
            recorded, self._recording = self._recording, None
            if self._broken_capture or recorded is None:
                self._broken_capture = False
                return Code(CAPTURE_INVALIDATED)
            return self.make("graph", recorded)

        def replay(graph: Any, stream: Any) -> None:
            assert self._recording is None
            self._pending += self.alive["executable"][int(graph)]

        def make_current(context: Any) -> None:
            self.current[threading.get_ident()] = True

        def retain(device: Any) -> Handle:
            return self.make("context")

        def release(device: Any) -> None:
            self.alive["context"].popitem()

        def wait(stream: Any) -> Any:
            if self._recording is not None:
                self._broken_capture = True
                return Code(CAPTURE_INVALIDATED)
            self.finish()
            return None

        return {
            "cuInit": lambda flags: None,
            "cuDeviceGet": lambda index: Handle(index),
            "cuDevicePrimaryCtxRetain": retain,
            "cuDevicePrimaryCtxRelease": release,
            "cuCtxSetCurrent": make_current,
            "cuStreamCreate": lambda flags: self.make("stream"),
            "cuStreamDestroy": lambda stream: self.free("stream", stream),
            "cuStreamSynchronize": wait,
            "cuMemAlloc": allocate("device"),
            "cuMemFree": lambda pointer: self.free("device", pointer),
            "cuMemHostAlloc": allocate("pinned"),
            "cuMemFreeHost": lambda pointer: self.free("pinned", pointer),
            "cuMemcpyHtoDAsync": copy,
            "cuMemcpyDtoHAsync": copy,
            "cuModuleLoadData": lambda image: self.make("module", ctypes.string_at(image, 4)),
            "cuModuleUnload": lambda module: self.free("module", module),
            "cuModuleGetFunction": lambda module, name: SimpleNamespace(name=name),
            "cuLaunchKernel": self._kernel,
            "cuStreamBeginCapture": begin,
            "cuStreamEndCapture": end,
            "cuGraphInstantiate": lambda graph, flags: self.make("executable", self.alive["graph"][int(graph)]),
            "cuGraphDestroy": lambda graph: self.free("graph", graph),
            "cuGraphExecDestroy": lambda graph: self.free("executable", graph),
            "cuGraphLaunch": replay,
            "cuEventCreate": lambda flags: self.make("event"),
            "cuEventDestroy": lambda event: self.free("event", event),
            "cuEventRecord": lambda event, stream: None,
            "cuEventSynchronize": lambda event: self.finish(),
            "cuEventElapsedTime": lambda begin, end: 0.25,
        }

    def _kernel(self, kernel: Any, *rest: Any) -> None:
        blocks, people, _, threads, _, _, shared, stream, (values, types), extra = rest
        draw = {b"fill_normals": _normals, b"fill_uniforms": _uniforms}[kernel.name]
        assert types == (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
        assert (shared, extra) == (0, 0)
        int(stream)
        out, keys, count = values
        assert blocks * threads * 4 >= count > (blocks - 1) * threads * 4

        def work() -> None:
            packed = self.memory(keys, people * KEY_DTYPE.itemsize).view(KEY_DTYPE)
            drawn = np.stack([draw(row, count) for row in packed])
            self.memory(out, drawn.nbytes)[:] = drawn.view(np.uint8).ravel()

        self.do(work)

    def _nvrtc(self) -> ModuleType:
        nvrtc = ModuleType("cuda.bindings.nvrtc")

        def compiled(program: Any, number: int, options: list[bytes]) -> tuple[Any]:
            assert number == len(options)
            return (self.happen("nvrtcCompileProgram", tuple(options)),)

        def fill(text: bytes) -> Callable[..., tuple[Any]]:
            def effect(program: Any, buffer: bytearray) -> tuple[Any]:
                buffer[:] = text
                return (Code(0),)

            return effect

        def create(source: bytes, name: bytes, *headers: Any) -> tuple[Any, Any]:
            assert b'extern "C" __global__ void fill_normals' in source
            code = self.happen("nvrtcCreateProgram", name)
            return code, None if code else self.make("program")

        def destroy(program: Any) -> tuple[Any]:
            self.free("program", program)
            return (Code(0),)

        nvrtc.nvrtcCreateProgram = create  # type: ignore[attr-defined]
        nvrtc.nvrtcCompileProgram = compiled  # type: ignore[attr-defined]
        nvrtc.nvrtcGetProgramLogSize = lambda program: (Code(0), 4)  # type: ignore[attr-defined]
        nvrtc.nvrtcGetProgramLog = fill(b"log\0")  # type: ignore[attr-defined]
        nvrtc.nvrtcGetCUBINSize = lambda program: (Code(0), 4)  # type: ignore[attr-defined]
        nvrtc.nvrtcGetCUBIN = fill(b"\x7fELF")  # type: ignore[attr-defined]
        nvrtc.nvrtcDestroyProgram = destroy  # type: ignore[attr-defined]
        return nvrtc

    def _tensorrt(self) -> ModuleType:
        trt = ModuleType("tensorrt")
        gpu = self

        class ILogger:
            INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2
            Severity = int

        class Runtime:
            def __init__(self, logger: ILogger) -> None:
                gpu.happen("Runtime")
                self._logger: Any = logger

            def deserialize_cuda_engine(self, plan: bytes) -> Any:
                if gpu.happen("deserialize_cuda_engine", len(plan)) or not gpu.takes_plans:
                    self._logger.log(1, "The plan is incompatible.\nmore")
                    return None
                return Engine(gpu, trt, json.loads(plan), self._logger)

        trt.__version__ = self.version  # type: ignore[attr-defined]
        trt.ILogger, trt.Runtime = ILogger, Runtime  # type: ignore[attr-defined]
        trt.TensorIOMode = SimpleNamespace(INPUT=1, OUTPUT=2)  # type: ignore[attr-defined]
        trt.float32, trt.float16 = "float32", "float16"  # type: ignore[attr-defined]
        return trt


class Engine:
    def __init__(self, gpu: FakeGpu, trt: Any, plan: dict[str, Any], logger: Any) -> None:
        self._gpu, self._trt, self._plan, self.logger = gpu, trt, plan, logger
        self.num_optimization_profiles = gpu.profiles
        self.runner = _loaded(Path(plan["graph"]))
        people, count, noise = plan["persons"], plan["hypotheses"], self.runner.contract.noise_shape
        self.shapes = {"keypoints": (people, 17, 2), "confidence": (people, 17), "noise": (people, count, *noise)}
        self.outputs = {"hypotheses": (people, count, 17, 3), "log_weights": (people, count)}
        self._names = [n for n in (*self.shapes, *self.outputs) if n not in plan.get("without", ())]
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> int:
        return 1 if name in self.shapes else 2

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._gpu.shape_of(name, {**self.shapes, **self.outputs}[name])

    def get_tensor_dtype(self, name: str) -> str:
        return self._plan.get("types", {}).get(name, "float32")

    def create_execution_context(self) -> Any:
        if self._gpu.happen("create_execution_context"):
            self.logger.log(1, "Error Code 2: OutOfMemory")
            return None
        return Context(self._gpu, self)


class Context:
    def __init__(self, gpu: FakeGpu, engine: Engine) -> None:
        self._gpu, self._engine, self._addresses = gpu, engine, dict[str, int]()

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._gpu.happen("set_tensor_address", name):
            return False
        assert memory % 256 == self._gpu.memory(memory, 1).ctypes.data % 256
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert isinstance(stream_handle, int)
        if self._gpu.happen("execute_async_v3", stream_handle) or not self._gpu.runs_engines:
            if self._gpu._recording is not None:
                self._gpu._broken_capture = True
            self._engine.logger.log(1, "Cuda failure")
            return False

        def work() -> None:
            given = {}
            for name, shape in self._engine.shapes.items():
                size = 4 * int(np.prod(shape))
                absent = name not in self._addresses
                raw = np.zeros(size, np.uint8) if absent else self._gpu.memory(self._addresses[name], size)
                given[name] = raw.view(np.float32).reshape(shape).copy()
            results = self._engine.runner.run(given["keypoints"], given["confidence"], given["noise"])
            for name, result in zip(self._engine.outputs, results, strict=True):
                self._gpu.memory(self._addresses[name], result.nbytes)[:] = result.view(np.uint8).ravel()

        self._gpu.do(work)
        return True


def _normals(key: Any, count: int) -> np.ndarray:
    """One packed key -> its normals, from the words of the struct alone."""
    here = _tensor(key["frame"], key, count)
    if key["there"] == 0:
        return here.astype(np.float32)
    return (key["here"] * here + key["there"] * _tensor(key["following"], key, count)).astype(np.float32)


def _uniforms(key: Any, count: int) -> np.ndarray:
    return _stream(key["frame"], key, count)[:count]


def _stream(frame: Any, key: Any, count: int) -> np.ndarray:
    blocks = -(-count // 4)
    counter = np.zeros((blocks, 4), np.uint32)
    counter[:, 0], counter[:, 1], counter[:, 2], counter[:, 3] = np.arange(blocks), frame[0], frame[1], key["track"]
    words = philox4x32(counter, (int(key["key"][0]), int(key["key"][1]))).ravel()
    return ((words >> 9).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def _tensor(frame: Any, key: Any, count: int) -> np.ndarray:
    u = _stream(frame, key, count).astype(float).reshape(-1, 2)
    radius = np.sqrt(-2.0 * np.log(u[:, 0]))
    pairs = np.stack([radius * np.cos(2 * np.pi * u[:, 1]), radius * np.sin(2 * np.pi * u[:, 1])], axis=1)
    return pairs.ravel()[:count]


@lru_cache(maxsize=8)  # tests load the same few engines hundreds of times
def _loaded(graph: Path) -> OrtRunner:
    return OrtRunner(graph)


def write_engine(
    folder: Path, graph: Path, lifter: str, persons: int, hypotheses: int, version: str = "11.4.0", **plan: Any
) -> Path:
    """An engine that the double takes, with its side-car. plan: `types`, `without` (see Engine)."""
    contract, weights = _loaded(graph).contract, _loaded(graph).checkpoint_sha256
    path = folder / engine_name(lifter, weights, GPU.sm, version, persons, hypotheses, contract.steps, "fp32")
    path.write_text(json.dumps({"graph": str(graph), "persons": persons, "hypotheses": hypotheses, **plan}))
    info = EngineInfo(
        lifter,
        contract,
        f"{lifter}.safetensors",
        weights,
        file_sha256(graph),
        persons,
        hypotheses,
        "fp32",
        GPU.name,
        GPU.compute_capability,
        version,
        GPU.driver,
        GPU.cuda,
        shapes={},
        layer_precisions={},
        gate={},
        engine_sha256=file_sha256(path),
        engine_bytes=path.stat().st_size,
        posepipe="0",
    )
    write_sidecar(path, info)
    return path
