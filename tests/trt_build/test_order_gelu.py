"""GELU in the order that ONNX Runtime recognises: the same numbers, and one kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from posepipe.trt_build.fold import name_casts, order_gelu  # noqa: E402
from posepipe.trt_build.tensorrt_check import problems  # noqa: E402


def gelu_as_torch_exports_it(half: float = 0.5) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    constants = {"root": np.sqrt(np.float32(2)), "one": np.float32(1), "half": np.float32(half)}
    nodes = [
        helper.make_node("Div", ["x", "root"], ["scaled"]),
        helper.make_node("Erf", ["scaled"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["sum"]),
        helper.make_node("Mul", ["half", "sum"], ["halved"]),
        helper.make_node("Mul", ["x", "halved"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 64]) for name in "xy")
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "gelu", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def evaluate(model: Any, x: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def test_no_bit_changes() -> None:
    x = np.random.default_rng(0).normal(0, 3, (4, 64)).astype(np.float32)
    model = gelu_as_torch_exports_it()
    before, bytes_before = evaluate(model, x), model.SerializeToString()
    order_gelu(model)
    assert model.SerializeToString() != bytes_before
    onnx.checker.check_model(model, full_check=True)
    assert problems(model) == []
    np.testing.assert_array_equal(evaluate(model, x), before)


def test_onnx_runtime_puts_one_kernel_in_its_place(tmp_path: Path) -> None:
    import onnxruntime

    model, kernels = gelu_as_torch_exports_it(), []
    order_gelu(model)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kernels = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert kernels == ["Gelu"]


def test_other_factors_are_left_alone() -> None:
    model = gelu_as_torch_exports_it(half=0.25)
    before = model.SerializeToString()
    order_gelu(model)
    assert model.SerializeToString() == before


def test_a_cast_to_the_type_of_another_tensor_says_which(tmp_path: Path) -> None:
    """And ONNX Runtime then calculates what follows from constants once, while it loads the graph."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    nodes = [
        helper.make_node("ReduceSum", ["w"], ["sum"], keepdims=0),
        helper.make_node("CastLike", ["least", "sum"], ["floor"]),
        helper.make_node("Clip", ["sum", "floor"], ["norm"]),
        helper.make_node("Div", ["w", "norm"], ["clipped"]),
        helper.make_node("MatMul", ["x", "clipped"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [1, 2]), ("y", [1, 3]))
    )
    weights = [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(np.int64(1), "least")]
    graph = helper.make_graph(nodes, "clip", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    name_casts(model)
    (cast,) = (n for n in model.graph.node if n.output[0] == "floor")
    assert (cast.op_type, list(cast.input), cast.attribute[0].i) == ("Cast", ["least"], TensorProto.FLOAT)

    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "run")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": np.ones((1, 2), np.float32)})[0], [[3 / 15, 5 / 15, 7 / 15]])
    events = json.loads(Path(session.end_profiling()).read_text())
    assert {e["args"]["op_name"] for e in events if e["name"].endswith("kernel_time")} == {"MatMul"}
