"""What engine files are called. Everything that decides whether an engine fits stands in its name, so that a folder can
hold the engines of several GPUs, TensorRT versions and settings; what is checked when one is loaded is the side-car."""

from __future__ import annotations

from pathlib import Path

PRECISIONS = ("fp32", "fp16")
BUCKETS = (1, 2, 4, 8)  # persons per launch; fewer are padded up, more are split


def engine_name(
    lifter: str,
    checkpoint_sha256: str,
    sm: str,
    tensorrt: str,
    persons: int,
    hypotheses: int,
    steps: int | None,
    precision: str,
) -> str:
    """`<lifter>-<ckpt8>-<sm>-<trt>-b<persons>-h<H>-k<K>-<prec>.engine`; K is 1 for lifters without diffusion steps."""
    return (
        f"{file_stem(lifter)}-{checkpoint_sha256[:8]}-{sm}-{tensorrt}"
        f"-b{persons}-h{hypotheses}-k{steps or 1}-{precision}.engine"
    )


def file_stem(lifter: str) -> str:
    """A lifter's name as part of a file name: `drpose:htnet` -> `drpose-htnet`."""
    return lifter.replace(":", "-")


def graph_name(lifter: str, precision: str = "fp32") -> str:
    """The graph's file name: `<lifter>.onnx`, or `<lifter>-fp16.onnx`."""
    return f"{file_stem(lifter)}.onnx" if precision == "fp32" else f"{file_stem(lifter)}-{precision}.onnx"


def sidecar_path(engine: Path) -> Path:
    """The side-car of an engine: the same name with `.json` instead of `.engine`."""
    return Path(engine).with_suffix(".json")
