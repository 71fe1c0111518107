"""What `posepipe doctor` looks at: every function returns findings and never raises, whatever is broken.

The one place outside the rooms that looks into them (the lifters' catalogue, the ONNX Runtime backend), because the
best check of a shipped graph is to load it the way a run does.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from posepipe.system_check import fix, missing_libraries

OK, OFF, BAD = "ok", "off", "bad"
CPU_FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
# distribution, module, what for; the inference install
RUNTIME = (
    ("numpy", "numpy", "arrays"),
    ("opencv-contrib-python", "cv2", "drawing, webcams"),
    ("mediapipe", "mediapipe", "2D detector"),
    ("av", "av", "video in and out"),
    ("onnxruntime", "onnxruntime", "lifters on the CPU"),
    ("h5py", "h5py", "result files"),
    ("safetensors", "safetensors", "weights"),
    ("rich", "rich", "progress and tables"),
)
# The BlazePose models inside the mediapipe 0.10.21 wheel.
MODELS = {
    "modules/pose_detection/pose_detection.tflite": "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "modules/pose_landmark/pose_landmark_full.tflite": (
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
    ),
}
# What importing a broken installation raises: a library that does not load, two versions that do not fit.
UNIMPORTABLE = (ImportError, OSError, AttributeError, RuntimeError, TypeError, ValueError)
REINSTALL = "pip install --force-reinstall --no-deps"


@dataclass(frozen=True)
class Finding:
    """One line of the report. state: ok, off (does not work, and nothing needs it) or bad (the main job needs it).
    fix: what to do about it, empty when there is nothing to do."""

    group: str
    name: str
    state: str
    detail: str
    fix: str = ""


def machine() -> list[Finding]:
    """Python, operating system, C library, processor."""
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    advice = "" if fits else "Use Python 3.10, 3.11 or 3.12."
    libc = " ".join(platform.libc_ver()).strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        Finding("machine", "Python", OK if fits else BAD, f"{version} ({sys.executable})", advice),
        Finding("machine", "system", OK, ", ".join(filter(None, (_os_name(), platform.machine(), libc)))),
        Finding("machine", "processor", OK, f"{cores} cores; {' '.join(_cpu_flags()) or 'flags unknown'}"),
    ]


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform(terse=True)


def _cpu_flags() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line.lower().startswith(("flags", "features"))]
    present = set(lines[0].split(":", 1)[1].split()) if lines else set()
    return [flag for flag in CPU_FLAGS if flag in present]


def system_libraries() -> list[Finding]:
    """What the wheels expect from the system."""
    missing = missing_libraries()
    if missing:
        names = ", ".join(library.soname for library in missing)
        return [Finding("machine", "system libraries", BAD, f"missing {names}", fix(missing))]
    return [Finding("machine", "system libraries", OK, "all there")]


def libraries() -> list[Finding]:
    """Versions of the runtime libraries; each is really imported."""
    return [_library(*entry) for entry in RUNTIME]


def _library(distribution: str, module: str, purpose: str) -> Finding:
    install = f"pip install {_requirement(distribution)}"
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    try:
        imported = importlib.import_module(module)
    except UNIMPORTABLE as error:
        why = f"{version} does not import: {error}" if version else "not installed"
        advice = "See the system libraries above." if missing_libraries() and version else install
        return Finding("libraries", distribution, BAD, f"{why} ({purpose})", advice)
    version = version or str(getattr(imported, "__version__", "version unknown"))
    return Finding("libraries", distribution, OK, f"{version} ({purpose})")


def _requirement(distribution: str) -> str:
    """The requirement as posepipe states it, quoted for a shell."""
    try:
        wanted = importlib.metadata.requires("posepipe") or []
    except importlib.metadata.PackageNotFoundError:
        wanted = []
    for requirement in wanted:
        text = requirement.split(";")[0].strip()
        if text.startswith(distribution) and text[len(distribution) :][:1] in ("", "=", ">", "<", "!", "~"):
            return f"'{text}'"
    return distribution


def models() -> list[Finding]:
    """The BlazePose models: mediapipe 0.10.21 is the last wheel that carries them."""
    found = importlib.util.find_spec("mediapipe")
    folders = list(found.submodule_search_locations or []) if found else []
    if not folders:
        return [Finding("detector", "BlazePose models", BAD, "mediapipe is not installed", "See mediapipe above.")]
    result = []
    for name, digest in MODELS.items():
        path = Path(folders[0]) / name
        state, detail = OK, f"{path.stat().st_size / 1e6:.1f} MB, checksum right" if path.is_file() else ""
        if not path.is_file():
            state, detail = BAD, "not in the installed mediapipe wheel"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            state, detail = BAD, "another file than the one in mediapipe 0.10.21"
        advice = "" if state == OK else f"{REINSTALL} mediapipe==0.10.21"
        result.append(Finding("detector", path.stem, state, detail, advice))
    return result


def detectors() -> list[Finding]:
    """Detectors of several people: the tracker that they all need, HRNet's graph, MMPose."""
    from posepipe.trt_build.detector.catalogue import ENTRIES, graph_paths

    result = []
    if importlib.util.find_spec("norfair") is None:
        advice = "pip install 'posepipe[people]'"
        result.append(Finding("detector", "several people", OFF, "norfair, which keeps them apart, is missing", advice))
    else:
        version = importlib.metadata.version("norfair")
        result.append(Finding("detector", "several people", OK, f"norfair {version} keeps them apart"))
    graphs = [path for e in ENTRIES for path in graph_paths(e.name) if path.is_file()]
    if graphs:
        result.append(Finding("detector", "HRNet", OK, ", ".join(str(path) for path in graphs)))
    else:
        advice = "posepipe build-engines --detector hrnet-w32 --detector-weights FILE.pth (docs/detectors.md)"
        result.append(Finding("detector", "HRNet", OFF, f"no graph at {graph_paths('hrnet-w32')[-1]}", advice))
    return [*result, _mmpose()]


def _mmpose() -> Finding:
    from posepipe.pipeline.detect.mmpose import HINT, find_python

    python = find_python()
    if python is None:
        return Finding("detector", "MMPose", OFF, "not installed (mspn50, rsn50 and its other models)", HINT)
    code = "from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in ('mmpose', 'mmdet', 'torch')))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("detector", "MMPose", OFF, f"{python} does not run ({error})", HINT)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Finding("detector", "MMPose", OFF, f"not complete in {python} ({why})", HINT)
    return Finding("detector", "MMPose", OK, f"{done.stdout.strip()} ({python})")


def video() -> list[Finding]:
    """The H.264 encoder inside PyAV, which overlay videos need, and a display, which only live views need."""
    result = []
    try:
        from av.codec import Codec

        names = [name for name in ("libx264", "libopenh264", "h264_nvenc") if _codec(Codec, name)]
        detail, advice = ", ".join(names), f"{REINSTALL} av"
    except UNIMPORTABLE:
        names, detail, advice = [], "PyAV does not import", "See av above."
    if names:
        result.append(Finding("video", "H.264 encoder", OK, detail))
    else:
        result.append(Finding("video", "H.264 encoder", BAD, detail or "PyAV has none", advice))
    display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if display or sys.platform in ("darwin", "win32"):
        result.append(Finding("video", "display", OK, display or "of the system"))
    else:
        result.append(Finding("video", "display", OFF, "none: files work, windows do not"))
    return result


def _codec(codec: type, name: str) -> bool:
    try:
        codec(name, "w")
    except ValueError:  # av.codec.codec.UnknownCodecError
        return False
    return True


def cuda_driver() -> tuple[int, str]:
    """(devices, why there are none). Asks the driver alone: TensorRT's own runtime object crashes without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, "no NVIDIA driver (libcuda.so.1 is not there)"
    code = driver.cuInit(0)
    if code != 0:
        return 0, f"the NVIDIA driver does not start (cuInit says {code})"
    count = ctypes.c_int(0)
    code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code != 0 or count.value < 1:
        return 0, "the NVIDIA driver finds no GPU"
    return count.value, ""


def backends() -> list[Finding]:
    """onnxruntime, torch and tensorrt: usable, or why not."""
    devices, no_cuda = cuda_driver()
    return [_onnxruntime(devices), _torch(), _tensorrt(devices, no_cuda), _auto()]


def _auto() -> Finding:
    """What a run takes that is not told which backend to use, and why."""
    from posepipe.errors import PosepipeError
    from posepipe.lifters.catalogue import DEFAULT, entry

    try:
        from posepipe.trt_build.runners.load import choose

        choice = choose("auto", entry(DEFAULT).graph_path)
    except (*UNIMPORTABLE, PosepipeError) as error:
        return Finding("backends", "--backend auto", OFF, f"cannot choose: {error}", "See above.")
    return Finding("backends", "--backend auto", OK, f"takes {choice.backend}: {choice.why}")


def _onnxruntime(devices: int) -> Finding:
    try:
        import onnxruntime

        providers = ", ".join(p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers())
    except UNIMPORTABLE as error:
        return Finding("backends", "onnxruntime", BAD, f"does not import: {error}", "See onnxruntime above.")
    place = "CUDA" if devices and "CUDA" in providers else "CPU"
    return Finding("backends", "onnxruntime", OK, f"providers {providers}; runs use {place}")


def _torch() -> Finding:
    if importlib.util.find_spec("torch") is None:
        detail = "not installed; training, export and --backend torch need it"
        return Finding("backends", "torch", OFF, detail, "pip install 'posepipe[train]'")
    try:
        import torch
    except UNIMPORTABLE as error:
        return Finding("backends", "torch", OFF, f"does not import: {error}", "pip install 'posepipe[train]'")
    place = f"CUDA {torch.version.cuda}" if torch.cuda.is_available() else "CPU only"
    return Finding("backends", "torch", OK, f"{torch.__version__}, {place}")


def _tensorrt(devices: int, no_cuda: str) -> Finding:
    installed = "tensorrt" if importlib.util.find_spec("tensorrt") else ""
    reasons = [] if installed else ["its Python package is not installed"]
    reasons += [] if importlib.util.find_spec("cuda") else ["cuda-python is not installed"]
    reasons += [no_cuda] if no_cuda else []
    if reasons:
        advice = "" if no_cuda else "pip install 'posepipe[tensorrt]'"
        return Finding("backends", "tensorrt", OFF, "; ".join(reasons), advice)
    return Finding("backends", "tensorrt", OK, f"{installed} {importlib.metadata.version(installed)}, {devices} GPU(s)")


def lifters() -> list[Finding]:
    """The shipped weights and graphs, loaded as a run loads them (checksum, header, graph)."""
    from posepipe.errors import PosepipeError
    from posepipe.lifters.catalogue import DEFAULT, LIFTERS
    from posepipe.lifters.checkpoint import read_header

    try:
        from posepipe.trt_build.runners.ort import OrtRunner
    except UNIMPORTABLE as error:
        return [Finding("lifters", DEFAULT, BAD, f"cannot be loaded: {error}", "See the libraries above.")]
    result = []
    for entry in LIFTERS:
        failed = BAD if entry.name == DEFAULT else OFF
        if not entry.checkpoint:
            result.append(Finding("lifters", entry.name, OFF, "no weights are shipped for it"))
            continue
        try:
            header = read_header(entry.checkpoint_path)
            with OrtRunner(entry.graph_path) as runner:
                checksum = runner.checkpoint_sha256
        except (PosepipeError, ImportError) as error:
            result.append(Finding("lifters", entry.name, failed, str(error)))
            continue
        size = entry.checkpoint_path.stat().st_size / 1e6
        detail = f"{entry.checkpoint} {size:.1f} MB, sha256 {checksum[:12]}…, {header.space} space, {header.conversion}"
        result.append(Finding("lifters", entry.name, OK, detail))
    return result


def everything() -> list[Finding]:
    """All findings, in the order in which a person fixes them."""
    groups = (machine, system_libraries, libraries, models, detectors, video, backends, lifters)
    return [finding for group in groups for finding in group()]
