"""The check that stands in for TensorRT's parser, on graphs that are wrong in one way each, and constant folding."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from posepipe.trt_build.fold import fold_constants  # noqa: E402
from posepipe.trt_build.tensorrt_check import problems  # noqa: E402
from posepipe.trt_build.tensorrt_operators import BUILD_TIME_INPUTS, DYNAMIC, OPERATORS  # noqa: E402


def graph(*nodes, kind=TensorProto.FLOAT, constants=(), out=None, opset=18):
    inputs = [helper.make_tensor_value_info("x", kind, ["n", 3])]
    outputs = [out or helper.make_tensor_value_info("y", kind, None)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    body = helper.make_graph(list(nodes), "g", inputs, outputs, tensors)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])


def node(kind, *inputs, out="y", **attributes):
    return helper.make_node(kind, list(inputs), [out], **attributes)


AXES = ("axes", np.array([1], np.int64))


def test_a_graph_of_supported_operators_has_no_problems():
    model = graph(
        node("IsNaN", "x", out="bad"),
        node("Where", "bad", "zero", "x", out="clean"),
        node("ReduceSum", "clean", "axes"),
        constants=[AXES, ("zero", np.zeros(1, np.float32))],
    )
    assert problems(model) == []


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (graph(node("Det", "x")), "Det .* not among the operators"),
        (graph(node("SplitToSequence", "x", out="s", axis=1), node("SequenceAt", "s", "i"),
               constants=[("i", np.array(0, np.int64))]), "SplitToSequence .* not among"),
        (graph(node("Relu", "x"), kind=TensorProto.DOUBLE), "x is DOUBLE"),
        (graph(node("Cast", "x", out="d", to=TensorProto.DOUBLE), node("Cast", "d", to=TensorProto.FLOAT)),
         "d is DOUBLE"),
        (graph(node("MatMul", "x", "x"), kind=TensorProto.INT64), "MatMul .* x is INT64"),
        (graph(node("NonZero", "x"), out=helper.make_tensor_value_info("y", TensorProto.INT64, None)), "depends on"),
        (graph(node("Relu", "x"), opset=21), "opset 21"),
        (graph(node("Identity", "axes", out="a"), node("ReduceSum", "x", "a"), constants=[AXES]), "a must be constant"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_what_tensorrt_cannot_read_is_named(model, text):
    import re

    assert [p for p in problems(model) if re.search(text, p)]


def test_the_list_speaks_of_onnxs_own_operators():
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    others = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # of ONNX's experimental times, kept by TensorRT
    assert OPERATORS.keys() - known == others
    assert len(OPERATORS) == 150
    assert BUILD_TIME_INPUTS.keys() | DYNAMIC <= OPERATORS.keys()
    for absent in ("SplitToSequence", "Det", "Unique", "BitwiseAnd", "DFT"):
        assert absent in known
        assert absent not in OPERATORS


def test_constants_are_folded_and_weights_are_not():
    weights = np.arange(9, dtype=np.float32).reshape(3, 3)
    model = graph(
        node("Constant", out="one", value=numpy_helper.from_array(np.array(1, np.int64))),
        node("Reshape", "one", "shape", out="axes"),
        node("Transpose", "net.w", out="t"),
        node("MatMul", "x", "t", out="p"),
        node("ReduceSum", "p", "axes", keepdims=0),
        constants=[("shape", np.array([-1], np.int64)), ("net.w", weights), ("net.unused", weights)],
    )
    assert problems(model) != []
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    before = ReferenceEvaluator(model).run(None, {"x": x})[0]
    fold_constants(model, keep={"net.w", "net.unused"})
    assert [n.op_type for n in model.graph.node] == ["Transpose", "MatMul", "ReduceSum"]
    assert {t.name for t in model.graph.initializer} == {"net.w", "net.unused", "axes"}
    assert problems(model) == []
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {"x": x})[0], before)
