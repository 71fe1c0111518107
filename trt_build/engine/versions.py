"""TensorRT as a module, and everything in which versions 10 and 11 differ for us.

Nothing here, and nothing that is called here, touches a GPU; `trt.Runtime` may only be made after probe.py found one.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from posepipe.errors import EngineError, MissingDependencyError

if TYPE_CHECKING:
    import tensorrt as trt

SUPPORTED = (10, 11)


def load_tensorrt() -> ModuleType:
    """The `tensorrt` module. Raises MissingDependencyError without one, EngineError for a version that is neither 10
    nor 11."""
    try:
        import tensorrt as trt
    except ImportError as error:
        raise MissingDependencyError(
            f"TensorRT does not load ({_first_line(error)}).", "Install it with `pip install 'posepipe[tensorrt]'`."
        ) from None
    if major(trt) not in SUPPORTED:
        raise EngineError(f"This is TensorRT {trt.__version__}; posepipe knows 10 and 11.", "Install one of these.")
    return trt  # type: ignore[no-any-return, unused-ignore]


def major(trt: Any) -> int:
    return int(trt.__version__.split(".")[0])


def network_flags(trt: Any) -> int:
    """What create_network is given, so that the types of the ONNX graph are the types of the engine: a flag in 10, the
    only kind of network in 11."""
    if major(trt) >= 11:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


class Messages:
    """What TensorRT said: errors and warnings, in order. The last error is what a person is told."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def last_error(self, otherwise: str) -> str:
        return _first_line(self.errors[-1]) if self.errors else otherwise


def make_logger(trt: Any, messages: Messages) -> trt.ILogger:
    """A TensorRT logger that keeps errors and warnings and prints nothing. It must outlive all that is made with it."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                messages.errors.append(msg)
            elif severity == trt.ILogger.WARNING:
                messages.warnings.append(msg)

    return Logger()


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
