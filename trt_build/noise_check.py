"""A device's noise against the host's: the uniform stream bit by bit, the normals within one float32 step."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import EngineError
from posepipe.noise import NoiseKey, held_key, normal, uniform
from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason
from posepipe.trt_build.runners.noise_keys import pack

COUNT = 40_001
KEYS = (NoiseKey(0, "", 0, 0), NoiseKey(-5, "film", 2**40 + 1, 2**31), held_key(3, "film", 9.1, 7, 2.0))


def check_cuda(index: int = 0) -> str:
    """The kernel of noise.cu on the GPU, in words that begin with FAILED where it is wrong. Raises EngineError."""
    from posepipe.trt_build.runners.cuda import Cuda
    from posepipe.trt_build.runners.noise_cuda import NoiseKernel

    gpu = gpu_or_reason(index)
    if not isinstance(gpu, GpuInfo):
        raise EngineError(f"{gpu}.")
    drawn = []
    with ExitStack() as owner:
        cuda = Cuda(owner, index)
        packed = pack(KEYS)
        keys, out = cuda.pin(owner, packed.nbytes), cuda.pin(owner, 4 * COUNT * len(KEYS))
        keys.array[:] = packed.view(np.uint8)
        here, there = cuda.allocate(owner, packed.nbytes), cuda.allocate(owner, out.array.nbytes)
        for name in ("fill_uniforms", "fill_normals"):
            kernel = NoiseKernel(cuda, owner, gpu.sm, name)
            cuda.to_device(here, keys)
            kernel.fill(there, here, len(KEYS), COUNT)
            cuda.to_host(out, there)
            cuda.synchronise()
            drawn.append(out.array.view(np.float32).reshape(len(KEYS), COUNT).copy())
    return verdict(*drawn)


def check_torch() -> str:
    """The torch operations, on the GPU where torch has one. Needs torch."""
    import torch

    from posepipe.trt_build.runners.noise_torch import key_tensors, normals, uniforms

    device = "cuda" if torch.cuda.is_available() else "cpu"
    words, weights = (t.to(device) for t in key_tensors(KEYS))
    drawn = uniforms(words[:, 0:2], words[:, 2], words[:, 3:5], COUNT)[:, :COUNT]
    return verdict(drawn.cpu().numpy(), normals(words, weights, COUNT).cpu().numpy())


def verdict(uniforms: NDArray[np.float32], normals: NDArray[np.float32]) -> str:
    wrong = int((uniforms != np.stack([uniform(key, COUNT) for key in KEYS])).sum())
    steps = _steps(normals, np.stack([normal(key, (COUNT,)) for key in KEYS]))
    text = f"{wrong} of {uniforms.size:,} uniforms differ from the host's, normals by at most {steps} float32 steps"
    return text if wrong == 0 and steps <= 1 else f"FAILED: {text}"


def _steps(got: NDArray[np.float32], expected: NDArray[np.float32]) -> int:
    """Largest distance, in neighbouring float32 numbers."""
    bits = (np.ascontiguousarray(a).view(np.int32).astype(np.int64) for a in (got, expected))
    one, other = (np.where(b < 0, -(b & 0x7FFFFFFF), b) for b in bits)
    return int(np.abs(one - other).max())
