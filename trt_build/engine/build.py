"""An ONNX graph with fixed shapes -> a serialised TensorRT engine ("plan")."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posepipe.errors import EngineError
from posepipe.trt_build.engine.progress import Phases, SignalsWait, make_monitor
from posepipe.trt_build.engine.versions import Messages, make_logger, network_flags

if TYPE_CHECKING:
    import tensorrt as trt

WORKSPACE = 4 << 30  # bytes that a tactic may use; the graphs are small, so this is a limit and not a need


@dataclass(frozen=True)
class BuildSettings:
    """workspace: bytes of GPU memory for TensorRT's tactics. timing_cache: file that is read and brought up to date, so
    that the next build need not measure again; None for no file."""

    workspace: int = WORKSPACE
    timing_cache: Path | None = None


def build_plan(trt: Any, graph: bytes, settings: BuildSettings, phases: Phases) -> bytes:
    """Build a plan from a serialised ONNX model whose weights are inside. Needs a GPU: ask probe.py first.

    Ctrl-C and SIGTERM stop the build at TensorRT's next step and then take effect. Raises EngineError with TensorRT's
    own last error when the graph cannot be parsed or the engine cannot be built."""
    messages = Messages()
    logger = make_logger(trt, messages)
    try:
        builder = trt.Builder(logger)
    except TypeError:  # pybind's word for a factory that returned nothing
        raise _failed("TensorRT cannot start", messages, "no reason given", "See `posepipe doctor`.") from None
    network = builder.create_network(network_flags(trt))
    parser = _parse(trt, network, logger, graph, messages)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    config.clear_flag(trt.BuilderFlag.TF32)  # a float32 engine is to be within 0.1 mm; TF32 keeps three digits
    _use_timing_cache(config, settings.timing_cache)
    with SignalsWait() as signals:
        monitor = make_monitor(trt, phases, lambda: signals.arrived is not None)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
    del parser  # it owns the network's weights, and had to live until here
    if plan is None:
        fix = "Close what else uses the GPU, or build fewer persons or hypotheses." if _out_of_memory(messages) else ""
        raise _failed("TensorRT could not build the engine", messages, "it gave no reason", fix)
    _keep_timing_cache(config, settings.timing_cache)
    return bytes(plan)


def _parse(
    trt: Any, network: trt.INetworkDefinition, logger: trt.ILogger, graph: bytes, messages: Messages
) -> trt.OnnxParser:
    parser = trt.OnnxParser(network, logger)
    if parser.parse(graph):
        return parser
    said = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    messages.errors += said[:1]
    raise _failed("TensorRT cannot read the graph", messages, "it gave no reason", "See `posepipe selftest`.")


def _use_timing_cache(config: trt.IBuilderConfig, path: Path | None) -> None:
    stored = b""
    if path is not None and path.is_file():
        stored = path.read_bytes()
    cache = config.create_timing_cache(stored)
    if not config.set_timing_cache(cache, False):  # of another GPU or version: begin a new one
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _keep_timing_cache(config: trt.IBuilderConfig, path: Path | None) -> None:
    """A cache that cannot be written costs time at the next build and nothing else."""
    cache = config.get_timing_cache()
    if path is None or cache is None:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(bytes(cache.serialize()))
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)


def _failed(what: str, messages: Messages, otherwise: str, fix: str) -> EngineError:
    return EngineError(f"{what} ({messages.last_error(otherwise)}).", fix)


def _out_of_memory(messages: Messages) -> bool:
    text = " ".join(messages.errors).lower()
    return "out of memory" in text or "outofmemory" in text or "insufficient memory" in text
