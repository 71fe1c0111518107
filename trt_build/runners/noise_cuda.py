"""The noise kernel on the GPU: compiled once per process start, launched on the runner's stream."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from posepipe.trt_build.runners.cuda import Cuda, compile_source

SOURCE = Path(__file__).with_name("noise.cu")
_THREADS = 128


class NoiseKernel:
    """`fill` writes (people, count) float32 standard normals for packed keys (noise_keys.KEY_DTYPE).

    sm: `sm90`. name: `fill_normals`, or `fill_uniforms` to look at the uniform stream itself."""

    def __init__(self, cuda: Cuda, owner: ExitStack, sm: str, name: str = "fill_normals") -> None:
        image = compile_source(SOURCE.read_text(encoding="utf-8"), SOURCE.name, sm.replace("sm", "sm_"))
        self._cuda, self._kernel = cuda, cuda.load_kernel(owner, image, name)

    def fill(self, out: int, keys: int, people: int, count: int) -> None:
        """out, keys: addresses on the GPU."""
        blocks = -(-count // (4 * _THREADS))
        arguments: tuple[tuple[int, Any], ...] = (
            (out, ctypes.c_void_p),
            (keys, ctypes.c_void_p),
            (count, ctypes.c_uint32),
        )
        self._cuda.launch(self._kernel, (blocks, people, 1), (_THREADS, 1, 1), *arguments)
