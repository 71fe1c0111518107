"""A sampler graph with its shapes fixed: what TensorRT is given. Needs onnx.

The exported graph leaves persons and hypotheses open. Engines do not (one per bucket, so that one CUDA graph can be
recorded for it), and once the numbers are known, every shape calculation in the graph is a constant: what is left has
no integer arithmetic, no shape that TensorRT would have to find out, and no choice to be made while it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posepipe.errors import CheckpointError, EngineError
from posepipe.trt_build.fold import fold_constants

MAX_BYTES = 2**31 - 1  # of a protobuf message, and so of the graph with its weights


def load_with_weights(graph: Path) -> Any:
    """The onnx.ModelProto of a graph, its weights read from the checkpoint beside it. Raises CheckpointError if they
    are not there.

    onnx's own reader refuses weights that are a hard link, which is how build-engines puts them beside a graph."""
    import onnx

    model = onnx.load(str(graph), load_external_data=False)
    files: dict[str, bytes] = {}
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        name, begin, length = place["location"], int(place["offset"]), int(place["length"])
        if name not in files:
            files[name] = _bytes_of(graph.parent / Path(name).name)
        tensor.raw_data = files[name][begin : begin + length]
        if len(tensor.raw_data) != length:
            raise CheckpointError(f"{name} is too short for {graph}.", "Rebuild the graph with `build-engines`.")
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return model


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"The weights {path} cannot be read ({error}).", "Put them beside the graph.") from None


def fix_shapes(model: Any, persons: int, hypotheses: int) -> Any:
    """A copy with the dimensions `batch` and `hypotheses` given. What follows from shapes alone is calculated, and
    every tensor that is left has a known shape. Raises EngineError if one has not."""
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    sizes = {"batch": persons, "hypotheses": hypotheses}
    for value in (*fixed.graph.input, *fixed.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    _without_integers(fixed)
    keep = {t.name for t in fixed.graph.initializer if t.data_type in _FLOATS and len(t.dims)}
    before = -1
    while len(fixed.graph.node) != before:
        before = len(fixed.graph.node)
        del fixed.graph.value_info[:]  # they still speak of the open dimensions
        fixed = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True)
        _answer_shapes(fixed)
        fold_constants(fixed, keep=keep)
    del fixed.graph.value_info[:]
    fixed = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True)
    if unknown := open_shapes(fixed):
        raise EngineError(f"The graph's shapes stay open at {unknown[0]} with {persons} persons.")
    return fixed


_FLOATS = (1, 10)  # TensorProto.FLOAT, FLOAT16
_INT64 = 7


def shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
    """Name of a tensor -> its shape; None for a dimension that is not known."""
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return {
        v.name: tuple(d.dim_value if d.HasField("dim_value") else None for d in v.type.tensor_type.shape.dim)
        for v in values
        if v.type.tensor_type.HasField("shape")
    }


def open_shapes(model: Any) -> list[str]:
    """Tensors that nodes make and whose shape is not wholly known."""
    known = shapes(model)
    made = (name for node in model.graph.node for name in node.output if name)
    return [name for name in made if None in known.get(name, (None,))]


def integer_arithmetic(model: Any) -> list[str]:
    """Nodes that calculate with INT64 while the graph runs, as `operator -> tensor`; none after fix_shapes."""
    values = (*model.graph.output, *model.graph.value_info)
    integers = {v.name for v in values if v.type.tensor_type.elem_type == _INT64}
    return [f"{node.op_type} -> {name}" for node in model.graph.node for name in node.output if name in integers]


def _without_integers(model: Any) -> None:
    """torch's `any` is exported as BOOL -> INT64 -> ReduceMax -> BOOL. Zeros and ones are as exact in FLOAT."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in model.graph.node:
        if node.op_type != "Cast" or node.attribute[0].i != _INT64:
            continue
        reduced = readers.get(node.output[0], [])
        if reduced and all(r.op_type == "ReduceMax" and _only_cast(readers, r.output[0]) for r in reduced):
            node.attribute[0].i = _FLOATS[0]


def _only_cast(readers: dict[str, list[Any]], name: str) -> bool:
    found = readers.get(name, [])
    return bool(found) and all(node.op_type == "Cast" for node in found)


def _answer_shapes(model: Any) -> None:
    """Replace Shape nodes whose answer is known by the answer."""
    import numpy as np
    from onnx import helper, numpy_helper

    known = shapes(model)
    for node in model.graph.node:
        if node.op_type != "Shape" or None in known.get(node.input[0], (None,)):
            continue
        dims = known[node.input[0]]
        attributes = {a.name: a.i for a in node.attribute}
        answer = np.array(dims[attributes.get("start", 0) : attributes.get("end", len(dims))], np.int64)
        node.CopyFrom(helper.make_node("Constant", [], list(node.output), value=numpy_helper.from_array(answer)))
