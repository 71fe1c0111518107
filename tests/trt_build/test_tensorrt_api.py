"""Every class, method, flag and keyword of TensorRT that our source uses, against the interface of 10.16 and 11.4.

The interface is dumped by tools/tensorrt_api.py from the real bindings (facts, committed). Where these bindings and a
compiler are at hand, the dump itself is made anew and compared: POSEPIPE_TENSORRT_BINDINGS names folders that hold a
`tensorrt_bindings` (pip install --no-deps --target DIR tensorrt-cu13-bindings==...), separated like a search path.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOOL = ROOT / "tools" / "tensorrt_api.py"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


api_check = load(HERE / "api_check.py")


def api(major: int) -> dict[str, Any]:
    return dict(json.loads((HERE / f"tensorrt_api_{major}.json").read_text()))


@pytest.fixture(scope="module", params=[10, 11])
def interface(request: pytest.FixtureRequest) -> dict[str, Any]:
    return api(request.param)


def test_all_that_we_use_is_there(interface: dict[str, Any]) -> None:
    sources = api_check.sources_that_use_tensorrt(ROOT / "trt_build")
    found = api_check.check(sources, interface)
    assert found.problems == []
    assert {
        ("", "Builder"), ("Builder", "create_network"), ("Builder", "build_serialized_network"),
        ("OnnxParser", "parse"), ("ParserError", "desc"), ("IBuilderConfig", "set_memory_pool_limit"),
        ("IBuilderConfig", "progress_monitor"), ("IBuilderConfig", "set_timing_cache"), ("ITimingCache", "serialize"),
        ("BuilderFlag", "TF32"), ("IProgressMonitor", "step_complete"), ("ILogger", "log"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"), ("Runtime", "deserialize_cuda_engine"),
        ("ICudaEngine", "create_execution_context"), ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_tensor_address"), ("TensorIOMode", "INPUT"),
    } <= found.used  # fmt: skip


def test_the_rest_of_the_source_does_not_touch_tensorrt() -> None:
    for room in ("posepipe", "pipeline", "lifters", "training"):
        for path in (ROOT / room).rglob("*.py"):
            assert not re.search(r"^\s*(import tensorrt|from tensorrt)\b", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("trt.Bilder(logger)", "no trt.Bilder"),
        ("trt.BuilderFlag.FP8X", "BuilderFlag has no FP8X"),
        ("trt.Builder()", "Builder.__init__ does not take 0"),
        ("trt.Builder(1).create_network(0, 1)", "create_network does not take 2"),
        ("trt.Builder(1).create_network(flag=0)", "create_network does not take 0 arguments and .'flag'"),
        ("c = trt.Builder(1).create_builder_config()\nc.max_workspace_size = 1", "no max_workspace_size"),
        ("n = trt.Builder(1).create_network()\nn.num_layers = 1", "num_layers cannot be set"),
        ("def f(e: trt.ICudaEngine):\n  return [e.binding_is_input(i) for i in range(2)]", "no binding_is_input"),
        ("def f(e: trt.ICudaEngine):\n  c = e.create_execution_context()\n  c.execute_v2x([])", "no execute_v2x"),
        ("def g(e): pass\ndef f(e: trt.ICudaEngine):\n  g(e)", "passed to g, which does not say so"),
        ("def f(r: trt.Runtime):\n  return r.deserialize_cuda_engine(b'')", "returned by a function that does not"),
        ("class A:\n  def f(self, r: trt.Runtime):\n    self.e = r.deserialize_cuda_engine(b'')", "no class annotates"),
        ("class A:\n  e: trt.ICudaEngine\n  def f(self):\n    self.e.num_bindings", "no num_bindings"),
        ("class L(trt.ILogger):\n  def log(self, level, text): pass", "called with .'severity', 'msg'"),
        ("class L(trt.IProgressMonitor):\n  def step_done(self): pass", "no method step_done to override"),
        ("with x:\n  p = trt.Builder(1).build_engine(1, 2)", "Builder has no build_engine"),
        ("x = lambda: trt.init_plugins()", "no trt.init_plugins"),
        ("if trt.Builder(1).platform_has_fast_fp15: pass", "no platform_has_fast_fp15"),
        ("trt.LayerType.CAST", "not in the dump"),
    ],
)
def test_what_is_not_there_is_found(interface: dict[str, Any], source: str, problem: str) -> None:
    found = api_check.check({"x.py": source}, interface)
    assert len(found.problems) == 1
    assert re.search(problem, found.problems[0]), found.problems


def test_what_version_11_lost_is_found() -> None:
    source = "trt.BuilderFlag.FP16\ntrt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH\n"
    source += "trt.Builder(1).platform_has_fast_fp16\n"
    assert api_check.check({"x.py": source}, api(10)).problems == []
    assert len(api_check.check({"x.py": source}, api(11)).problems) == 3


def bindings() -> list[Path]:
    given = os.environ.get("POSEPIPE_TENSORRT_BINDINGS", "")
    return [Path(folder) for folder in given.split(os.pathsep) if folder]


needs_bindings = [
    pytest.mark.skipif(not bindings(), reason="POSEPIPE_TENSORRT_BINDINGS names no folder with tensorrt_bindings"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler for the stub libraries"),
]


@pytest.fixture(params=bindings() or [pytest.param(None, marks=needs_bindings)], ids=str)
def real(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, dict[str, str]]:
    """(TensorRT's major version, the environment in which its bindings can be imported)."""
    made = list(request.param.glob("tensorrt*_bindings-*.dist-info"))
    assert made, f"no bindings in {request.param}"
    major = int(made[0].name.split("-")[1].split(".")[0])
    load(TOOL).build_stubs(tmp_path, major)
    return major, {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(request.param)}


def test_the_dump_is_that_of_the_real_bindings(real: tuple[int, dict[str, str]]) -> None:
    major, environment = real
    done = subprocess.run([sys.executable, str(TOOL), "dump"], env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout) == api(major)


def test_our_classes_bear_the_real_bindings(real: tuple[int, dict[str, str]]) -> None:
    """Logger and monitor derive from TensorRT's classes; its builder cannot start over empty libraries, which is the
    failure that a person without a GPU's libraries would see."""
    code = """
import sys
import tensorrt_bindings as trt
sys.modules["tensorrt"] = trt
from posepipe.errors import EngineError
from posepipe.trt_build.engine.build import BuildSettings, build_plan
from posepipe.trt_build.engine.progress import Phases, make_monitor
from posepipe.trt_build.engine.versions import Messages, load_tensorrt, make_logger, network_flags
assert load_tensorrt() is trt
messages = Messages()
logger = make_logger(trt, messages)
logger.log(trt.ILogger.ERROR, "first line.\\nsecond")
logger.log(trt.ILogger.Severity.WARNING, "careful")
logger.log(trt.ILogger.Severity.VERBOSE, "nothing")
assert (messages.last_error(""), messages.warnings, len(messages.errors)) == ("first line", ["careful"], 1)
monitor = make_monitor(trt, Phases(None), lambda: True)
assert isinstance(monitor, trt.IProgressMonitor)
monitor.phase_start("a", None, 3)
assert monitor.step_complete("a", 0) is False
try:
    build_plan(trt, b"", BuildSettings(), Phases(None))
except EngineError as error:
    print(network_flags(trt), error)
"""
    major, environment = real
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    flags = 0 if major >= 11 else 2
    assert done.stdout.startswith(f"{flags} TensorRT cannot start (no reason given)."), done.stderr
