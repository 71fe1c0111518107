"""CUDA through cuda-python (`cuda.bindings`): memory, one stream, captured graphs. The only file that calls it.

The driver interface, because it is the same in CUDA 12 and 13, and the *primary* context, because it is the one that
TensorRT and torch use. PyCUDA has no graph interface and makes contexts of its own; its streams can be used all the
same, see `Cuda`.

Seen with cuda-bindings 13.5.0 on a machine without a GPU: importing works; the first call raises
cuda.pathfinder's DynamicLibNotFoundError (a RuntimeError) when there is no driver, and the same for NVRTC when its
library is not installed. So ask engine/probe.py first.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import EngineError, MissingDependencyError

INSTALL = "Install it with `pip install 'posepipe[tensorrt]'`."


class CaptureError(EngineError):
    """Work could not be recorded as a CUDA graph; the stream is usable as before."""


@dataclass(frozen=True)
class Pinned:
    """Page-locked host memory: `array` is a view of it, `address` where it begins. Gone when its owner closes."""

    array: NDArray[np.uint8]
    address: int


class Cuda:
    """One GPU: its primary context and one stream; whatever is made is freed by the ExitStack that is handed in.

    stream: the handle of a stream to use, for instance pycuda's `Stream.handle` (after `import pycuda.autoprimaryctx`);
    it stays its owner's. By default a new one. Use from one thread at a time; `enter` before use from another.
    Raises MissingDependencyError without cuda-python, EngineError when the driver refuses.
    """

    def __init__(self, owner: ExitStack, index: int = 0, stream: int | None = None) -> None:
        try:
            from cuda.bindings import driver
        except ImportError:
            raise MissingDependencyError("Running on the GPU needs cuda-python.", INSTALL) from None
        self._driver: Any = driver
        self._call(driver.cuInit, 0)
        device = self._call(driver.cuDeviceGet, index)
        self._context = self._call(driver.cuDevicePrimaryCtxRetain, device)
        owner.callback(self._call, driver.cuDevicePrimaryCtxRelease, device)
        self.enter()
        if stream is None:
            made = self._call(driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
            owner.callback(self._call, driver.cuStreamDestroy, made)
            self._stream, self.stream = made, int(made)
        else:
            self._stream = self.stream = stream

    def enter(self) -> None:
        """Make the context current in the calling thread."""
        self._call(self._driver.cuCtxSetCurrent, self._context)

    def allocate(self, owner: ExitStack, size: int) -> int:
        """Address of `size` bytes on the GPU."""
        pointer = self._call(self._driver.cuMemAlloc, size)
        owner.callback(self._call, self._driver.cuMemFree, pointer)
        return int(pointer)

    def pin(self, owner: ExitStack, size: int) -> Pinned:
        """`size` bytes of host memory that the GPU can copy from and to by itself; zero at first."""
        address = self._call(self._driver.cuMemHostAlloc, size, 0)
        owner.callback(self._call, self._driver.cuMemFreeHost, address)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))
        array[:] = 0
        return Pinned(array, int(address))

    def to_device(self, device: int, host: Pinned) -> None:
        self._call(self._driver.cuMemcpyHtoDAsync, device, host.address, host.array.nbytes, self._stream)

    def to_host(self, host: Pinned, device: int) -> None:
        self._call(self._driver.cuMemcpyDtoHAsync, host.address, device, host.array.nbytes, self._stream)

    def load_kernel(self, owner: ExitStack, image: bytes, name: str) -> Any:
        """A kernel of a compiled image (`compile_source`)."""
        held = np.frombuffer(image, np.uint8)
        module = self._call(self._driver.cuModuleLoadData, held.ctypes.data)
        owner.callback(self._call, self._driver.cuModuleUnload, module)
        return self._call(self._driver.cuModuleGetFunction, module, name.encode())

    def launch(
        self, kernel: Any, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: tuple[int, Any]
    ) -> None:
        """Start a kernel; arguments are (value, ctypes type)."""
        values, types = tuple(v for v, _ in arguments), tuple(t for _, t in arguments)
        self._call(self._driver.cuLaunchKernel, kernel, *grid, *block, 0, self._stream, (values, types), 0)

    def capture(self, owner: ExitStack, work: Callable[[], None]) -> Any:
        """Record what `work` starts on the stream as a graph for `replay`. Raises CaptureError.

        Thread-local capture: other threads of a pipeline go on using CUDA meanwhile."""
        driver = self._driver
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        try:
            try:
                self._call(driver.cuStreamBeginCapture, self._stream, mode)
                work()
                graph = self._call(driver.cuStreamEndCapture, self._stream)
            except BaseException:
                self._end_capture()
                raise
            try:
                executable = self._call(driver.cuGraphInstantiate, graph, 0)
                owner.callback(self._call, driver.cuGraphExecDestroy, executable)
            finally:
                self._call(driver.cuGraphDestroy, graph)
        except EngineError as error:
            raise CaptureError(error.message) from None
        return executable

    def _end_capture(self) -> None:
        """A stream left in capture mode can do nothing else. What it gives back is thrown away; that it was not (or no
        longer) capturing does not matter."""
        code, graph = self._driver.cuStreamEndCapture(self._stream)
        if not int(code):
            self._call(self._driver.cuGraphDestroy, graph)

    def replay(self, graph: Any) -> None:
        """One launch of everything that was recorded."""
        self._call(self._driver.cuGraphLaunch, graph, self._stream)

    def synchronise(self) -> None:
        """Wait for the stream. Raises EngineError for what went wrong in anything started before."""
        self._call(self._driver.cuStreamSynchronize, self._stream)

    def milliseconds(self, work: Callable[[], None], repeats: int) -> list[float]:
        """How long the GPU takes for each of `repeats` calls of `work`, by events on the stream."""
        driver, times = self._driver, []
        with ExitStack() as owner:
            begin, end = (self._event(owner) for _ in range(2))
            for _ in range(repeats):
                self._call(driver.cuEventRecord, begin, self._stream)
                work()
                self._call(driver.cuEventRecord, end, self._stream)
                self._call(driver.cuEventSynchronize, end)
                times.append(float(self._call(driver.cuEventElapsedTime, begin, end)))
        return times

    def _event(self, owner: ExitStack) -> Any:
        event = self._call(self._driver.cuEventCreate, 0)
        owner.callback(self._call, self._driver.cuEventDestroy, event)
        return event

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the driver; returns its value, raises EngineError with the driver's own words."""
        name = function.__name__
        try:
            code, *values = function(*arguments)
        except RuntimeError as error:  # cuda.pathfinder: there is no driver
            raise EngineError(
                f"There is no NVIDIA driver ({name}: {_first_line(error)}).", "See `posepipe doctor`."
            ) from None
        if int(code):
            what = self._driver.cuGetErrorName(code)[1]
            text = what.decode() if isinstance(what, bytes) else f"error {int(code)}"
            hint = "Close other programs on the GPU, or use fewer hypotheses." if "MEMORY" in text else ""
            raise EngineError(f"The GPU refused {name} ({text}).", hint)
        return values[0] if len(values) == 1 else (tuple(values) or None)


def compile_source(source: str, name: str, sm: str) -> bytes:
    """CUDA C -> machine code for one architecture (`sm_90`), by NVRTC; needs no GPU. Without fused multiply-add: the
    host rounds after every operation, and so shall the device.

    Raises MissingDependencyError without NVRTC, EngineError with its log when the source does not compile."""
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        raise MissingDependencyError("Compiling the noise kernel needs cuda-python.", INSTALL) from None
    try:
        code, program = nvrtc.nvrtcCreateProgram(source.encode(), name.encode(), 0, [], [])
    except RuntimeError as error:  # cuda.pathfinder's DynamicLibNotFoundError
        raise MissingDependencyError(f"NVRTC is not installed ({_first_line(error)}).", INSTALL) from None
    if int(code):
        raise EngineError(f"NVRTC does not start (error {int(code)}).", "See `posepipe doctor`.")
    try:
        options = [f"--gpu-architecture={sm}".encode(), b"--fmad=false"]
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(code):
            log = bytearray(nvrtc.nvrtcGetProgramLogSize(program)[1])
            nvrtc.nvrtcGetProgramLog(program, log)
            text = " ".join(bytes(log).rstrip(b"\0").decode(errors="replace").split())
            raise EngineError(f"NVRTC does not compile {name} for {sm} ({text or f'error {int(code)}'}).", INSTALL)
        image = bytearray(nvrtc.nvrtcGetCUBINSize(program)[1])
        (code,) = nvrtc.nvrtcGetCUBIN(program, image)
        if int(code) or not image:
            raise EngineError(f"NVRTC gives no machine code for {sm} (error {int(code)}).", INSTALL)
        return bytes(image)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
