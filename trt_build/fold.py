"""Constant folding that leaves a checkpoint's weights alone, and operators as runtimes know them. Needs onnx.

TensorRT's parser takes axes and the like only as constants, and torch exports them as small computations. The
exporter's own optimiser would fold them, but it also folds norms into weights, whose bytes have to stay the
checkpoint's (export_onnx.py).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from posepipe.trt_build.tensorrt_operators import DYNAMIC


def fold_constants(model: Any, keep: Container[str]) -> None:
    """Replace, in an onnx.ModelProto, everything that can be computed from constants by its value. Initialisers whose
    names are in `keep` do not count as constants."""
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    graph = model.graph
    known = {t.name for t in graph.initializer if t.name not in keep} | {""}
    constant, rest = [], []
    for node in graph.node:
        foldable = node.op_type == "Constant" or (node.input and all(name in known for name in node.input))
        if foldable and node.op_type not in DYNAMIC:
            constant.append(node)
            known.update(node.output)
        else:
            rest.append(node)
    used = {name for node in rest for name in node.input} | {value.name for value in graph.output}
    wanted = [name for node in constant for name in node.output if name in used]
    read = {name for node in constant for name in node.input}
    part = helper.make_graph(
        constant,
        "constants",
        [],
        [helper.make_empty_tensor_value_info(name) for name in wanted],
        [t for t in graph.initializer if t.name in read],
    )
    values = ReferenceEvaluator(helper.make_model(part, opset_imports=model.opset_import)).run(None, {})
    left = [t for t in graph.initializer if t.name in used or t.name in keep]
    left += [numpy_helper.from_array(value, name) for name, value in zip(wanted, values, strict=True)]
    alive = {name for node in rest for name in node.output}
    described = [v for v in graph.value_info if v.name in alive]
    for field, content in ((graph.node, rest), (graph.initializer, left), (graph.value_info, described)):
        copies = [type(item).FromString(item.SerializeToString()) for item in content]
        del field[:]
        field.extend(copies)


def name_casts(model: Any) -> None:
    """CastLike as Cast to the type that it stands for. ONNX Runtime learns that type after it has folded constants, so
    that what follows from one (Martinez' norm clipping of whole matrices) would be calculated in every run."""
    import onnx
    from onnx import helper

    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {v.name: v.type.tensor_type.elem_type for v in values} | {t.name: t.data_type for t in graph.initializer}
    for node in model.graph.node:
        if node.op_type == "CastLike" and types.get(node.input[1]):
            node.CopyFrom(helper.make_node("Cast", node.input[:1], node.output, node.name, to=types[node.input[1]]))


def order_gelu(model: Any) -> None:
    """torch's GELU, x (0.5 (1 + erf(x / sqrt 2))), as (x (1 + erf(x / sqrt 2))) 0.5: an order in which ONNX Runtime
    recognises it and puts one kernel in the place of five. Halving is exact, so no number changes."""
    from onnx import numpy_helper

    graph = model.graph
    halves = {t.name for t in graph.initializer if not t.dims and float(numpy_helper.to_array(t)) == 0.5}
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type != "Mul" or not set(node.input) & halves:
            continue
        half, inner = sorted(node.input, key=lambda name: name not in halves)
        outer = readers.get(node.output[0], [])
        if len(outer) != 1 or outer[0].op_type != "Mul" or not _is_erf_plus_one(makers, inner):
            continue
        (x,) = (name for name in outer[0].input if name != node.output[0])
        # The two products change places: (x inner) first, then the half.
        node.input[:], outer[0].input[:] = [x, inner], [node.output[0], half]


def _is_erf_plus_one(makers: dict[str, Any], name: str) -> bool:
    node = makers.get(name)
    return (
        node is not None
        and node.op_type == "Add"
        and any(source in makers and makers[source].op_type == "Erf" for source in node.input)
    )
