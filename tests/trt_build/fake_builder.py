"""A recording double of the half of TensorRT that builds engines. Its plans are the graphs that it was given."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from enum import IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import onnx


class FakeBuilder:
    """calls: (name, arguments), in order. Settings decide what fails. while_building: called by TensorRT's "thread"
    between two steps of the build, e.g. to press Ctrl-C."""

    def __init__(self, version: str = "11.4.0.106") -> None:
        self.version = version
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.starts = True
        self.parses = True
        self.builds = True
        self.cache_fits = True
        self.errors: list[str] = []
        self.while_building: Callable[[], None] = lambda: None
        self.steps_done: list[tuple[str, int]] = []
        self.parser_lived = False

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def arguments(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]

    def module(self) -> ModuleType:
        trt = ModuleType("tensorrt")
        fake = self

        def record(name: str, *arguments: Any) -> None:
            fake.calls.append((name, arguments))

        class ILogger:
            INTERNAL_ERROR, ERROR, WARNING, INFO = 0, 1, 2, 3
            Severity = int

        class IProgressMonitor:
            pass

        class BuilderFlag(IntEnum):
            TF32 = 6

        class MemoryPoolType(IntEnum):
            WORKSPACE = 0

        class NetworkDefinitionCreationFlag(IntEnum):
            STRONGLY_TYPED = 1 if int(fake.version.split(".")[0]) < 11 else 0

        class Network:
            graph = b""

        class Memory:
            def __init__(self, content: bytes) -> None:
                self._content = content

            def __bytes__(self) -> bytes:
                return self._content

        class Cache:
            def __init__(self, stored: bytes) -> None:
                self.stored = stored

            def serialize(self) -> Memory:
                return Memory(self.stored + b"+measured")

        class Config:
            progress_monitor: Any = None
            cache: Any = None

            def set_memory_pool_limit(self, pool: int, size: int) -> None:
                record("set_memory_pool_limit", pool, size)

            def clear_flag(self, flag: int) -> None:
                record("clear_flag", flag)

            def create_timing_cache(self, stored: bytes) -> Cache:
                record("create_timing_cache", stored)
                return Cache(stored)

            def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
                record("set_timing_cache", cache.stored, ignore_mismatch)
                if cache.stored and not fake.cache_fits:
                    return False
                self.cache = cache
                return True

            def get_timing_cache(self) -> Cache | None:
                return self.cache

        class Error:
            def desc(self) -> str:
                return "Unsupported operator Nonsense.\nIn node 3"

        class OnnxParser:
            def __init__(self, network: Network, logger: ILogger) -> None:
                record("OnnxParser")
                self.network, self.num_errors = network, 0
                fake.parser = weakref.ref(self)

            def parse(self, graph: bytes) -> bool:
                record("parse", len(graph))
                self.network.graph = graph
                self.num_errors = 0 if fake.parses else 1
                return fake.parses

            def get_error(self, index: int) -> Error:
                return Error()

        class Builder:
            def __init__(self, logger: Any) -> None:
                record("Builder")
                if not fake.starts:
                    raise TypeError("factory function returned nullptr")
                self.logger = logger

            def create_network(self, flags: int = 0) -> Network:
                record("create_network", flags)
                return Network()

            def create_builder_config(self) -> Config:
                record("create_builder_config")
                return Config()

            def build_serialized_network(self, network: Network, config: Config) -> Memory | None:
                record("build_serialized_network")
                fake.parser_lived = fake.parser() is not None
                for text in fake.errors:
                    self.logger.log(ILogger.ERROR, text)
                monitor = config.progress_monitor
                monitor.phase_start("Building Engine", None, 2)
                monitor.phase_start("Tactics", "Building Engine", 3)
                for step in range(3):
                    fake.while_building()
                    if not monitor.step_complete("Tactics", step):
                        monitor.phase_finish("Tactics")
                        monitor.phase_finish("Building Engine")
                        return None
                    fake.steps_done.append(("Tactics", step))
                monitor.phase_finish("Tactics")
                monitor.phase_finish("Building Engine")
                return Memory(network.graph) if fake.builds else None

        trt.__version__ = self.version
        trt.__spec__ = ModuleSpec("tensorrt", None)  # torch looks at it
        for thing in (ILogger, IProgressMonitor, BuilderFlag, MemoryPoolType, NetworkDefinitionCreationFlag):
            setattr(trt, thing.__name__, thing)
        trt.OnnxParser, trt.Builder = OnnxParser, Builder  # type: ignore[attr-defined]
        return trt


def press(signal_number: int) -> Callable[[], None]:
    """What a person does while an engine is built."""
    return lambda: os.kill(os.getpid(), signal_number)


def graph_of(plan: bytes) -> onnx.ModelProto:
    """The graph that a plan of this double is."""
    return onnx.ModelProto.FromString(plan)
