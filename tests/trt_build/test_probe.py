"""The probe against drivers made for the purpose: C libraries with CUDA's and NVML's entry points."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from posepipe.trt_build.engine import probe
from posepipe.trt_build.engine.probe import GpuInfo, gpu_or_reason, probe_gpu

CUDA = r"""
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = 40 + index; return GET; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "NVIDIA Made Up", size); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 8 : which == 76 ? 9 : -1;
    return ATTRIBUTE;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = device == 40 ? 24000000000 : 1; return 0; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
"""
NVML = r"""
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "570.1", size); return 0; }
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")


def driver(folder: Path, source: str = CUDA, name: str = "cuda", **values: int) -> str:
    settings = {"INIT": 0, "COUNT": 1, "GET": 0, "ATTRIBUTE": 0, **values}
    (folder / f"{name}.c").write_text("#include <stddef.h>\n" + source)
    library = str(folder / f"lib{name}-{abs(hash(tuple(settings.items())))}.so")
    flags = [f"-D{key}={value}" for key, value in settings.items()]
    subprocess.run(["gcc", "-shared", "-fPIC", *flags, "-o", library, str(folder / f"{name}.c")], check=True)
    return library


def test_what_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_DRIVER", driver(tmp_path))
    monkeypatch.setattr(probe, "_NVML", driver(tmp_path, NVML, "nvml"))
    found = probe_gpu()
    assert found == GpuInfo("NVIDIA Made Up", "8.9", "570.1", "12.8", 24_000_000_000, 0)
    assert found.sm == "sm89"
    monkeypatch.setattr(probe, "_NVML", str(tmp_path / "none.so"))
    assert probe_gpu() == GpuInfo("NVIDIA Made Up", "8.9", "", "12.8", 24_000_000_000, 0)
    assert gpu_or_reason(1) == "the NVIDIA driver shows 1 GPUs, not a GPU 1"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"INIT": 100}, "the NVIDIA driver does not start (cuInit: error 100)"),
        ({"COUNT": 0}, "the NVIDIA driver shows 0 GPUs"),
        ({"GET": 101}, "GPU 0 cannot be opened (cuDeviceGet: error 101)"),
        ({"ATTRIBUTE": 3}, "GPU 0 does not answer (error 3)"),
    ],
)
def test_why_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, int], reason: str
) -> None:
    monkeypatch.setattr(probe, "_DRIVER", driver(tmp_path, **values))
    assert gpu_or_reason() == reason
    assert probe_gpu() is None


def test_libraries_that_are_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_DRIVER", driver(tmp_path, "int cuInit(unsigned f) { return 0; }"))
    assert "is not a CUDA driver" in str(gpu_or_reason())
    monkeypatch.setattr(probe, "_DRIVER", str(tmp_path / "libcuda.so.1"))
    assert "there is no NVIDIA driver" in str(gpu_or_reason())
    (tmp_path / "libcuda.so.1").write_text("not a library")
    assert probe_gpu() is None
