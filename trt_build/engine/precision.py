"""The float16 variant of a sampler graph. Needs onnx.

TensorRT 11 has no precision flags: networks are strongly typed, and the types stand in the ONNX graph. So the graph is
rewritten here, for TensorRT 10 and 11 alike: matrix products in float16, everything else in float32.

In float16: MatMul, Gemm and Conv with weights that the checkpoint stores as float16 (lifters/build.py, stored_type: the
large matrices of networks), also where a norm is folded into them when they are loaded, with constant matrices that
the exporter folded (17 x 17 and larger), and the two products of attention. What only moves numbers (Reshape,
Transpose, Slice ...) stays in the type that it is given.
In float32: norms, softmax, activations, residual sums, small layers, learned adjacencies, the mixture's covariance,
statistics, and all arithmetic of diffusion and sampling. Inputs and outputs stay float32.

With `ends` False, the first and the last products stay in float32, too: those to which a way leads from the inputs, or
from which one leads to the outputs, that meets no other product. They are small, and what is rounded there reaches the
poses as it is: keypoints, beside which PRPose's noise may be small, and coordinates.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

PRODUCTS = frozenset({"MatMul", "Gemm", "Conv"})
# Take and give whatever type they are given, number by number; Relu is exact.
MOVES = frozenset({"Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Expand", "Gather", "Split", "Concat",
                   "Identity", "Relu"})  # fmt: skip
# Between the first product of attention and its softmax, or between the softmax and the second product.
_SCALES = MOVES | {"Mul", "Div", "Add", "Where"}
_LARGE = 256  # numbers; smaller folded constants are not worth a cast
_LOSS = 2**-10  # as lifters/build.py, stored_type: a matrix that float16 would lose digits of stays
_FLOAT, _FLOAT16 = 1, 10  # TensorProto


def to_float16(model: Any, ends: bool = True) -> Any:
    """A copy of an onnx.ModelProto that calculates its matrix products in float16; see above. The model is as exported:
    a weight whose values are in the checkpoint is known by being external."""
    import onnx

    half = onnx.ModelProto()
    half.CopyFrom(model)
    _Rewriter(half, ends).run()
    del half.graph.value_info[:]
    return half


def write_float16(graph: Path, out: Path, ends: bool = True) -> Path:
    """Write the float16 variant of a graph file beside it. Weights stay where they are, in the checkpoint."""
    import onnx

    half = to_float16(onnx.load(str(graph), load_external_data=False), ends)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        onnx.save_model(half, str(temporary))
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


def layer_precisions(model: Any) -> dict[str, dict[str, int]]:
    """Operator -> {element type of its first output: how many}, of a model with inferred shapes."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for node in graph.node:
        counts[node.op_type][onnx.TensorProto.DataType.Name(kinds.get(node.output[0], 0))] += 1
    return {operator: dict(sorted(types.items())) for operator, types in sorted(counts.items())}


class _Rewriter:
    """One pass over the nodes, in order. `half` maps a float32 tensor to its float16 twin where there is one; `full`
    holds the names of float32 tensors that exist in the new graph."""

    def __init__(self, model: Any, ends: bool) -> None:
        import onnx

        self.graph = model.graph
        graph = onnx.shape_inference.infer_shapes(model).graph
        values = (*graph.input, *graph.output, *graph.value_info)
        self.floats = {v.name for v in values if v.type.tensor_type.elem_type == _FLOAT}
        self.tensors = {t.name: t for t in self.graph.initializer}
        self.floats |= {t.name for t in self.graph.initializer if t.data_type == _FLOAT}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.half: dict[str, str] = {}
        self.full = {name for name in self.floats if name not in self.makers}
        self.nodes: list[Any] = []
        self.kept = set() if ends else self._ends()

    def run(self) -> None:
        for node in list(self.graph.node):
            if self._is_stored_weight(node):
                self.half[node.output[0]] = node.input[0]
            elif node.op_type in PRODUCTS and self._belongs_in_half(node):
                self._emit(node, half=node.output[0] not in self.kept)
            else:
                floats = [name for name in node.input if name in self.floats]
                moves = node.op_type in MOVES and bool(floats) and all(name in self.half for name in floats)
                self._emit(node, half=moves)
        for value in self.graph.output:
            self._as_full(value.name)
        alive = _needed(self.nodes, {value.name for value in self.graph.output})
        del self.graph.node[:]
        self.graph.node.extend(alive)

    def _ends(self) -> set[str]:
        """The first outputs of the first and of the last products; asked for before anything is changed."""
        products = {n.output[0]: n for n in self.graph.node if n.op_type in PRODUCTS and self._belongs_in_half(n)}
        # Tensors to which a way leads that meets no product; shapes are no way.
        early = {value.name for value in self.graph.input}
        for node in self.graph.node:
            if node.output[0] not in products and early.intersection(node.input):
                early.update(self.floats.intersection(node.output))
        late = {value.name for value in self.graph.output}  # tensors from which such a way leads to the outputs
        for node in reversed(self.graph.node):
            if node.output[0] not in products and late.intersection(node.output):
                late.update(node.input)
        return {name for name, n in products.items() if early.intersection(n.input) or name in late}

    def _emit(self, node: Any, half: bool) -> None:
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(node.input):
            if name in self.floats:
                copy.input[place] = self._as_half(name) if half else self._as_full(name)
        for place, name in enumerate(node.output):
            if half and name:
                self.half[name] = copy.output[place] = f"{name}.half"
            else:
                self.full.add(name)
        self.nodes.append(copy)

    def _as_half(self, name: str) -> str:
        if name not in self.half:
            self.half[name] = self._cast(self._as_full(name), f"{name}.half", _FLOAT16)
        return self.half[name]

    def _as_full(self, name: str) -> str:
        if name not in self.full and name in self.half:
            self._cast(self.half[name], name, _FLOAT)
            self.full.add(name)
        return name

    def _cast(self, source: str, target: str, kind: int) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node("Cast", [source], [target], name=f"cast/{target}", to=kind))
        return target

    def _is_stored_weight(self, node: Any) -> bool:
        tensor = self.tensors.get(node.input[0]) if node.op_type == "Cast" else None
        return tensor is not None and tensor.data_type == _FLOAT16 and node.output[0] in self.floats

    def _belongs_in_half(self, node: Any) -> bool:
        if any(self._is_large_weight(name) for name in node.input[:2]):
            return True
        constant = any(self._is_constant(name) for name in node.input[:2])
        return not constant and self._is_of_attention(node)

    def _is_large_weight(self, name: str) -> bool:
        """Whether a tensor is a matrix that the checkpoint stores as float16, or a large folded one, moved about."""
        while name in self.makers:
            node = self.makers[name]
            if self._is_stored_weight(node):
                return True
            if node.op_type == "Mul" and self._is_constant(name):  # a norm is folded into it when it is loaded
                return any(self._is_stored_matrix(source) for source in node.input)
            if node.op_type not in MOVES:
                return False
            name = node.input[0]
        tensor = self.tensors.get(name)
        if tensor is None or tensor.data_type != _FLOAT or tensor.data_location == tensor.EXTERNAL:
            return False
        return len(tensor.dims) >= 2 and math.prod(tensor.dims) >= _LARGE and _bears_float16(tensor)

    def _is_stored_matrix(self, name: str) -> bool:
        """Whether a tensor is one that the checkpoint stores as float16, or a product of such a one with constants."""
        node = self.makers.get(name)
        if node is None:
            return False
        if self._is_stored_weight(node):
            return True
        return node.op_type == "Mul" and any(self._is_stored_matrix(source) for source in node.input)

    def _is_constant(self, name: str) -> bool:
        """Whether a tensor follows from weights alone."""
        if name not in self.makers:
            return name in self.tensors or not name
        return all(self._is_constant(source) for source in self.makers[name].input)

    def _is_of_attention(self, node: Any) -> bool:
        return self._leads_to_softmax(node.output[0]) or any(self._is_softmax(name) for name in node.input[:2])

    def _leads_to_softmax(self, name: str) -> bool:
        for node in self.readers[name]:
            if node.op_type == "Softmax":
                return True
            if node.op_type in _SCALES and self._leads_to_softmax(node.output[0]):
                return True
        return False

    def _is_softmax(self, name: str) -> bool:
        node = self.makers.get(name)
        if node is None:
            return False
        return node.op_type == "Softmax" or (
            node.op_type in _SCALES and any(self._is_softmax(source) for source in node.input)
        )


def _bears_float16(tensor: Any) -> bool:
    import numpy as np
    from onnx import numpy_helper

    exact = numpy_helper.to_array(tensor).astype(np.float32)
    with np.errstate(over="ignore"):
        lost = np.linalg.norm(exact.astype(np.float16).astype(np.float32) - exact)
    return bool(lost <= _LOSS * np.linalg.norm(exact))


def _needed(nodes: list[Any], wanted: set[str]) -> list[Any]:
    """The nodes that the wanted tensors follow from, in order."""
    kept = []
    for node in reversed(nodes):
        if any(name in wanted for name in node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]
