"""Is there an NVIDIA GPU? Asked of the driver alone, through ctypes.

This must come before anything touches `trt.Runtime`: without a driver TensorRT creates a runtime object all the same,
and deserialising an engine with it ends the process (segmentation fault; seen with the lean runtime 11.4).
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

# CUdevice_attribute, cuda.h
_MAJOR, _MINOR = 75, 76
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NVML = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"


@dataclass(frozen=True)
class GpuInfo:
    """name: as the driver calls it. compute_capability: `9.0`. driver: its version, `580.65.06`, or "" where NVML does
    not say it. cuda: newest CUDA version that the driver serves, `13.0`. memory: bytes in all. index: CUDA's."""

    name: str
    compute_capability: str
    driver: str
    cuda: str
    memory: int
    index: int = 0

    @property
    def sm(self) -> str:
        """`sm90`: the architecture as engine names have it."""
        return "sm" + self.compute_capability.replace(".", "")


def probe_gpu(index: int = 0) -> GpuInfo | None:
    """The GPU that CUDA numbers `index` (CUDA_VISIBLE_DEVICES counts), or None. Never raises, starts no context."""
    found = gpu_or_reason(index)
    return found if isinstance(found, GpuInfo) else None


def gpu_or_reason(index: int = 0) -> GpuInfo | str:
    """As probe_gpu, but says in a few words why there is none."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return f"there is no NVIDIA driver ({_DRIVER} does not load)"
    try:
        return _ask(driver, index)
    except AttributeError as error:
        return f"{_DRIVER} is not a CUDA driver ({error})"


def _ask(driver: ctypes.CDLL, index: int) -> GpuInfo | str:
    number, device = ctypes.c_int(0), ctypes.c_int(0)
    if code := driver.cuInit(0):
        return f"the NVIDIA driver does not start (cuInit: error {code})"
    if driver.cuDeviceGetCount(ctypes.byref(number)) or number.value <= index:
        return f"the NVIDIA driver shows {number.value} GPUs" + (f", not a GPU {index}" if number.value else "")
    if code := driver.cuDeviceGet(ctypes.byref(device), index):
        return f"GPU {index} cannot be opened (cuDeviceGet: error {code})"
    name = ctypes.create_string_buffer(256)
    major, minor, version = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    memory = ctypes.c_size_t(0)
    codes = (
        driver.cuDeviceGetName(name, len(name), device),
        driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device),
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device),
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
        driver.cuDriverGetVersion(ctypes.byref(version)),
    )
    if any(codes):
        return f"GPU {index} does not answer (error {max(codes)})"
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    capability = f"{major.value}.{minor.value}"
    return GpuInfo(name.value.decode(errors="replace"), capability, _driver_version(), cuda, memory.value, index)


def _driver_version() -> str:
    """From NVML, which comes with the driver; "" where it does not answer."""
    try:
        nvml = ctypes.CDLL(_NVML)
        text = ctypes.create_string_buffer(96)
        if nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(text, len(text)):
            return ""
        nvml.nvmlShutdown()
    except (OSError, AttributeError):
        return ""
    return text.value.decode(errors="replace")
