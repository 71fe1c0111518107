"""What float16 costs, found out on a CPU: a float16 graph as a float32 graph that rounds. Needs onnx.

ONNX Runtime cannot be asked directly. It has no float16 matrix products on a CPU, puts casts around them, and then
removes pairs of casts that cancel out, ours among them: a float16 graph gives the float32 result there (seen with
1.31.1, at every level of optimisation). So every tensor that is float16 is rounded by arithmetic that no optimiser
touches: with c = (2^13 + 1) x, c - (c - x) is x rounded to 11 bits (Dekker 1971, "A floating-point technique for
extending the available precision", Numer. Math. 18, §4, after Veltkamp). What float16 cannot hold becomes infinite.
Products are summed in float32, as tensor cores do. Not imitated: numbers below 6e-5, which float16 holds with fewer
digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posepipe.trt_build.engine.precision import PRODUCTS

_FLOAT, _FLOAT16 = 1, 10  # TensorProto
_LARGEST = 65504.0
_CONSTANTS = {"round.splitter": 8193.0, "round.largest": _LARGEST, "round.infinity": float("inf")}


def rounded(half: Any) -> Any:
    """A float32 onnx.ModelProto that gives what the float16 one (precision.to_float16) would give."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(half)
    graph = model.graph
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in _CONSTANTS.items()
    )
    stored = [t.name for t in graph.initializer if t.data_type == _FLOAT16]
    names = {name: f"{name}.exact" for name in stored}
    nodes = [helper.make_node("Cast", [name], [names[name]], name=f"exact/{name}", to=_FLOAT) for name in stored]
    for node in half.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(node.input):
            copy.input[place] = names.get(name, name)
        if node.op_type == "Cast" and _to(node) == _FLOAT16:
            nodes += _round(copy.input[0], node.output[0])
        elif node.op_type == "Cast" and _to(node) == _FLOAT and (node.input[0] in stored or _is_half(node.input[0])):
            nodes.append(helper.make_node("Identity", [copy.input[0]], [node.output[0]], name=node.name))
        elif node.op_type in PRODUCTS and _is_half(node.output[0]):
            copy.output[0] = f"{node.output[0]}.sum"
            nodes += [copy, *_round(copy.output[0], node.output[0])]
        else:
            nodes.append(copy)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model


def _is_half(name: str) -> bool:
    return name.endswith(".half")


def _to(node: Any) -> int:
    return next(int(a.i) for a in node.attribute if a.name == "to")


def _round(source: str, target: str) -> Iterator[Any]:
    from onnx import helper

    split, part, near, size, outside = (f"{target}.{word}" for word in ("split", "part", "near", "size", "outside"))
    yield helper.make_node("Mul", [source, "round.splitter"], [split], name=f"{target}/split")
    yield helper.make_node("Sub", [split, source], [part], name=f"{target}/part")
    yield helper.make_node("Sub", [split, part], [near], name=f"{target}/near")
    yield helper.make_node("Abs", [near], [size], name=f"{target}/size")
    yield helper.make_node("Greater", [size, "round.largest"], [outside], name=f"{target}/outside")
    yield helper.make_node("Where", [outside, "round.infinity", near], [target], name=f"{target}/round")


def write_rounded(half: Path, out: Path) -> None:
    """Write the imitation of a float16 graph file beside it; weights stay where they are."""
    import onnx

    onnx.save_model(rounded(onnx.load(str(half), load_external_data=False)), str(out))
