"""Whether TensorRT's ONNX parser could read a graph, without TensorRT: against tensorrt_operators.py. Needs onnx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from posepipe.trt_build.tensorrt_operators import BUILD_TIME_INPUTS, DYNAMIC, OPERATORS, OPSETS, TENSORRT


def problems(model: Any) -> list[str]:
    """One sentence for everything in an onnx.ModelProto that TensorRT could not read, or could not record in a CUDA
    graph: unknown operators, element types, control flow, inputs that have to be known when the engine is built.
    Empty if there is nothing."""
    import onnx

    found = [f"domain '{o.domain}' is not ONNX's own" for o in model.opset_import if o.domain not in ("", "ai.onnx")]
    found += [f"opset {o.version} is not one of {OPSETS}" for o in model.opset_import if o.version not in OPSETS]
    found += [f"function {f.name} is not inlined" for f in model.functions]
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = _element_types(graph)
    found += [f"{name} is DOUBLE" for name, kind in types.items() if kind == "DOUBLE"]
    fixed = {tensor.name for tensor in graph.initializer}
    fixed |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    for node in graph.node:
        found += (f"{node.op_type} ({node.name}): {text}" for text in _of_node(node, types, fixed))
    return found


def _of_node(node: Any, types: dict[str, str], fixed: set[str]) -> Iterator[str]:
    if node.op_type not in OPERATORS:
        yield f"not among the operators of TensorRT {TENSORRT}"
        return
    if node.op_type in DYNAMIC:
        yield "depends on the data"
    for name in filter(None, (*node.input, *node.output)):
        if name not in types:
            yield f"the type of {name} is not known"
        elif types[name] not in OPERATORS[node.op_type] and not _result_of_another_type(node, name):
            yield f"{name} is {types[name]}"
    position = BUILD_TIME_INPUTS.get(node.op_type)
    if position is not None and len(node.input) > position and node.input[position] not in {"", *fixed}:
        yield f"its input {node.input[position]} must be constant"


def _result_of_another_type(node: Any, name: str) -> bool:
    """The list gives the types of the operands; comparisons give BOOL, and ArgMax and the like give indices."""
    comparison = node.op_type in ("Equal", "Greater", "GreaterOrEqual", "IsNaN", "IsInf", "Less", "LessOrEqual")
    return comparison and name in node.output


def _element_types(graph: Any) -> dict[str, str]:
    """Name of a tensor -> ONNX name of its element type."""
    import onnx

    name_of = onnx.TensorProto.DataType.Name
    types = {t.name: name_of(t.data_type) for t in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.HasField("tensor_type"):
            types[value.name] = name_of(value.type.tensor_type.elem_type)
        else:
            types[value.name] = value.type.WhichOneof("value").upper()
    return types
