"""The device's noise is the host's: noise.cu compiled as C++, and the torch version, against posepipe/noise.py and the
vectors that Random123 publishes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from posepipe.noise import NoiseKey, held_key, normal, uniform
from posepipe.trt_build.runners import noise_keys
from posepipe.trt_build.runners.noise_keys import KEY_DTYPE, pack

SOURCE = Path(noise_keys.__file__).with_name("noise.cu")
# What CUDA gives a kernel, for one thread after the other.
SHIM = r"""
#include <cmath>
struct Place { unsigned int x, y, z; };
static Place blockIdx, blockDim, threadIdx;
#define __global__
#define __device__
static unsigned int __umulhi(unsigned int a, unsigned int b) { return (unsigned long long)a * b >> 32; }
using std::cos; using std::log; using std::sin; using std::sqrt;
#include "noise.cu"
typedef void Kernel(float *, const NoiseKey *, unsigned int);
static void run(Kernel *kernel, float *out, const NoiseKey *keys, unsigned int people, unsigned int count) {
    blockDim.x = 32;
    for (blockIdx.y = 0; blockIdx.y < people; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < (count + 127) / 128; ++blockIdx.x)
            for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) kernel(out, keys, count);
}
extern "C" unsigned int key_bytes() { return sizeof(NoiseKey); }
extern "C" void normals(float *o, const NoiseKey *k, unsigned p, unsigned c) { run(fill_normals, o, k, p, c); }
extern "C" void uniforms(float *o, const NoiseKey *k, unsigned p, unsigned c) { run(fill_uniforms, o, k, p, c); }
extern "C" void words(const unsigned *c, const unsigned *k, unsigned *w) { philox(c[0], c + 1, c[3], k, w); }
"""
ZERO, ONES = (0,) * 4, (0xFFFFFFFF,) * 4
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
# Random123, kat_vectors: philox4x32 with 10 rounds.
PUBLISHED = [
    (ZERO, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (ONES, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
keys = st.builds(
    NoiseKey,
    seed=st.integers(-(2**63), 2**63),
    source=st.text(max_size=20),
    frame=st.integers(-(2**40), 2**40) | st.just(2**32 - 1),
    track=st.integers(0, 2**31),
    turn=st.just(0.0) | st.floats(0.0, 1.57),
)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "host.cpp").write_text(SHIM)
    library = folder / "noise.so"
    flags = ["-O2", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC", f"-I{SOURCE.parent}"]
    subprocess.run([compiler, *flags, str(folder / "host.cpp"), "-o", str(library)], check=True, capture_output=True)
    return ctypes.CDLL(str(library))


def filled(function: ctypes._CFuncPtr, wanted: list[NoiseKey], count: int) -> NDArray[np.float32]:
    out, packed = np.full((len(wanted) + 1, count), 99.0, np.float32), pack(wanted)
    function(out.ctypes.data_as(ctypes.c_void_p), packed.ctypes.data_as(ctypes.c_void_p), len(wanted), count)
    assert (out[-1] == 99.0).all()  # nothing behind the end
    return out[:-1]


def ulps(got: NDArray[np.float32], expected: NDArray[np.float32]) -> int:
    """Largest distance in float32 steps."""
    return int(np.abs(_ordered(got) - _ordered(expected)).max())


def _ordered(values: NDArray[np.float32]) -> NDArray[np.int64]:
    bits = np.ascontiguousarray(values).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def test_the_key_has_the_same_layout(kernel: ctypes.CDLL) -> None:
    assert kernel.key_bytes() == KEY_DTYPE.itemsize == 48


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED, ids=["zeros", "ones", "pi"])
def test_the_kernel_gives_the_published_vectors(kernel: ctypes.CDLL, counter, key, expected) -> None:
    words = (ctypes.c_uint32 * 4)()
    kernel.words((ctypes.c_uint32 * 4)(*counter), (ctypes.c_uint32 * 2)(*key), words)
    assert tuple(words) == expected


@settings(deadline=None, max_examples=60)
@given(wanted=st.lists(keys, min_size=1, max_size=4), count=st.integers(1, 300))
def test_the_kernel_draws_what_the_host_draws(kernel: ctypes.CDLL, wanted: list[NoiseKey], count: int) -> None:
    got = filled(kernel.uniforms, wanted, count)
    np.testing.assert_array_equal(got, [uniform(key, count) for key in wanted])
    expected = np.stack([normal(key, (count,)) for key in wanted])
    assert ulps(filled(kernel.normals, wanted, count), expected) <= 1


def test_a_million_normals_of_the_kernel(kernel: ctypes.CDLL) -> None:
    wanted = [NoiseKey(7, "file", 12, 3), held_key(7, "file", 1.9, 4, 0.5)]
    expected = np.stack([normal(key, (500_001,)) for key in wanted])
    assert ulps(filled(kernel.normals, wanted, 500_001), expected) <= 1


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED, ids=["zeros", "ones", "pi"])
def test_torch_gives_the_published_vectors(counter, key, expected) -> None:
    torch = pytest.importorskip("torch")
    from posepipe.trt_build.runners.noise_torch import philox4x32

    words = philox4x32(tuple(torch.tensor([c]) for c in counter), tuple(torch.tensor([k]) for k in key))
    assert tuple(int(w) for w in words) == expected


@settings(deadline=None, max_examples=60)
@given(wanted=st.lists(keys, min_size=1, max_size=4), count=st.integers(1, 300))
def test_torch_draws_what_the_host_draws(wanted: list[NoiseKey], count: int) -> None:
    pytest.importorskip("torch")
    from posepipe.trt_build.runners.noise_torch import key_tensors, normals, uniforms

    words, weights = key_tensors(wanted)
    got = uniforms(words[:, 0:2], words[:, 2], words[:, 3:5], count)[:, :count]
    np.testing.assert_array_equal(got.numpy(), [uniform(key, count) for key in wanted])
    expected = np.stack([normal(key, (count,)) for key in wanted])
    assert ulps(normals(words, weights, count).numpy(), expected) <= 1


def test_nvrtc_compiles_the_kernel_without_a_gpu() -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    from posepipe.errors import MissingDependencyError
    from posepipe.trt_build.runners.cuda import compile_source

    try:
        image = compile_source(SOURCE.read_text(), "noise.cu", "sm_90")
    except MissingDependencyError:
        pytest.skip("no NVRTC library")
    assert b"fill_normals" in image
    assert image[:4] == b"\x7fELF"
