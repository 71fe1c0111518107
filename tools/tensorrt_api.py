"""Dump the part of TensorRT's Python interface that posepipe may call: names and signatures, as the bindings tell them.

    python -m venv V && V/bin/pip install --no-deps tensorrt-cu13-bindings==11.4.0.106
    python tools/tensorrt_api.py stubs STUBS --major 11
    LD_LIBRARY_PATH=STUBS V/bin/python tools/tensorrt_api.py dump > tests/trt_build/tensorrt_api_11.json

The bindings are a small wheel; the libraries that they are linked to are gigabytes, want a GPU's driver, and are stood
in for by empty functions here (`stubs`, needs gcc). So the names are real, and nothing can be run. Needs nothing of
posepipe and nothing but the standard library.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

CLASSES = (
    "Builder", "BuilderFlag", "DataType", "Dims", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory",
    "ILogger", "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor", "ITimingCache", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "Runtime", "TensorIOMode",
)  # fmt: skip
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvinfer_lean", "nvinfer_dispatch")
_POINTERS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getPluginRegistry",
)  # fmt: skip
_NUMBERS = ("getNvOnnxParserVersion", "getInferLibVersion", "initLibNvInferPlugins")


def build_stubs(folder: Path, major: int) -> None:
    """Write libraries with the names that the bindings load, in which every entry point returns nothing. Raises
    CalledProcessError or FileNotFoundError without a compiler."""
    folder.mkdir(parents=True, exist_ok=True)
    code = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in _POINTERS)
    code += "".join(f"int {name}(void) {{ return 0; }}\n" for name in _NUMBERS)
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "nothing.c"
        source.write_text(code)
        for name in _LIBRARIES:
            file = f"lib{name}.so.{major}"
            flags = ["-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", str(folder / file)]
            subprocess.run(["gcc", *flags, str(source)], check=True, capture_output=True)


def dump(trt: ModuleType) -> dict[str, Any]:
    """{"version", "names": of the module, "classes": {class: {member: {"kind", "signatures"}}}}. kind is `method`,
    `property`, `settable` or `value` (of an enumeration)."""
    classes = {name: _members(getattr(trt, name)) for name in CLASSES}
    classes["ILogger.Severity"] = _members(trt.ILogger.Severity)
    names = sorted(name for name in dir(trt) if not name.startswith("_"))
    return {"version": trt.__version__, "names": names, "classes": classes}


def _members(cls: type) -> dict[str, Any]:
    found = {}
    values = getattr(cls, "__members__", {})
    for name in dir(cls):
        if (name.startswith("_") and name != "__init__") or name.startswith("add_"):
            continue
        member = inspect.getattr_static(cls, name)
        if name in values or isinstance(getattr(cls, name), getattr(cls, "Severity", ())):
            found[name] = {"kind": "value", "signatures": []}
        elif isinstance(member, property):
            kind = "settable" if member.fset else "property"
            found[name] = {"kind": kind, "signatures": _signatures(member.fget.__doc__ if member.fget else "")}
        else:
            found[name] = {"kind": "method", "signatures": _signatures(getattr(cls, name).__doc__)}
    return found


def _signatures(text: str | None) -> list[str]:
    """pybind writes the signature into the first line of a docstring, or, of overloads, into numbered lines."""
    lines = [line.strip() for line in (text or "").splitlines()]
    found = [re.sub(r"^\d+\. ", "", line) for line in lines if re.match(r"(\d+\. )?\w*\(.*\) -> ", line)]
    return [re.sub(r"\b\w+\.tensorrt\.|nvinfer1::(v_1_0::)?|nvonnxparser::", "", line) for line in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    verbs = parser.add_subparsers(dest="verb", required=True)
    stubs = verbs.add_parser("stubs")
    stubs.add_argument("folder", type=Path)
    stubs.add_argument("--major", type=int, required=True)
    dumped = verbs.add_parser("dump")
    dumped.add_argument("--module", default="tensorrt_bindings")
    args = parser.parse_args()
    if args.verb == "stubs":
        build_stubs(args.folder, args.major)
    else:
        json.dump(dump(importlib.import_module(args.module)), sys.stdout, indent=0, sort_keys=True)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
