"""The float16 rewriting on graphs made by hand, its imitation by rounding against numpy's float16, and fixed shapes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from posepipe.errors import CheckpointError, EngineError  # noqa: E402
from posepipe.trt_build.engine.precision import layer_precisions, to_float16  # noqa: E402
from posepipe.trt_build.engine.rounded import rounded  # noqa: E402
from posepipe.trt_build.engine.static import (  # noqa: E402
    fix_shapes,
    integer_arithmetic,
    load_with_weights,
    open_shapes,
    shapes,
)

RNG = np.random.default_rng(0)
WIDTH = 40


def node(kind: str, *inputs: str, out: str, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), [out], name=out, **attributes)


def graph(nodes: list[Any], shape: list[Any], tensors: dict[str, np.ndarray], out: list[Any] | None = None) -> Any:
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def matrix(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def stored(name: str) -> Any:
    """The Cast of a weight that lies in the checkpoint as float16."""
    return node("Cast", f"{name}.f16", out=name, to=TensorProto.FLOAT)


def kinds(model: Any) -> dict[str, str]:
    """Name of a node -> element type of its output, in the strictly checked graph."""
    complete = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(complete)
    inferred = complete.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output)}
    return {n.name: TensorProto.DataType.Name(types[n.output[0]]) for n in model.graph.node}


def attention() -> Any:
    """LayerNorm, q, k, v from one stored matrix, softmax, a projection, the residual sum."""
    nodes = [
        stored("qkv"),
        stored("proj"),
        node("Transpose", "proj", out="proj_t", perm=[1, 0]),
        node("LayerNormalization", "x", "scale", out="norm"),
        node("MatMul", "norm", "qkv", out="all"),
        helper.make_node("Split", ["all"], ["q", "k", "v"], name="split", axis=2, num_outputs=3),
        node("Transpose", "k", out="kt", perm=[0, 2, 1]),
        node("MatMul", "q", "kt", out="scores"),
        node("Mul", "scores", "factor", out="scaled"),
        node("Softmax", "scaled", out="soft", axis=2),
        node("MatMul", "soft", "v", out="mixed"),
        node("MatMul", "mixed", "proj_t", out="out"),
        node("Add", "out", "x", out="y"),
    ]
    tensors = {
        "qkv.f16": matrix(WIDTH, 3 * WIDTH).astype(np.float16),
        "proj.f16": matrix(WIDTH, WIDTH).astype(np.float16),
        "scale": np.ones(WIDTH, np.float32),
        "factor": np.float32(WIDTH**-0.5),
    }
    return graph(nodes, ["batch", 17, WIDTH], tensors, ["batch", 17, WIDTH])


def test_attention_has_its_products_in_float16_and_the_rest_in_float32() -> None:
    found = kinds(to_float16(attention()))
    half = {name for name, kind in found.items() if kind == "FLOAT16" and not name.startswith("cast/")}
    assert half == {"proj_t", "all", "split", "kt", "scores", "mixed", "out"}
    for name in ("norm", "scaled", "soft", "y"):
        assert found[name] == "FLOAT"
    counts = layer_precisions(to_float16(attention()))
    assert counts["MatMul"] == {"FLOAT16": 4}
    assert counts["Softmax"] == {"FLOAT": 1}


def test_the_weights_are_used_as_they_are_stored() -> None:
    half = to_float16(attention())
    assert next(n for n in half.graph.node if n.name == "all").input[1] == "qkv.f16"
    assert not any(n.op_type == "Cast" and n.input[0].endswith(".f16") for n in half.graph.node)
    before, after = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (attention(), half))
    assert before.keys() == after.keys()


def test_the_first_and_the_last_products_can_stay_in_float32() -> None:
    """Three products behind each other, the middle one within a residual sum; a shape of the input is used at the end,
    and is not a way by which the last two products would be first ones."""
    nodes = [
        *(stored(name) for name in "abc"),
        node("Shape", "x", out="shape"),
        node("MatMul", "x", "a", out="first"),
        node("Relu", "first", out="relu"),
        node("MatMul", "relu", "b", out="middle"),
        node("Add", "middle", "relu", out="sum"),
        node("Reshape", "sum", "shape", out="same"),
        node("MatMul", "same", "c", out="last"),
        node("Softplus", "last", out="y"),
    ]
    tensors = {f"{name}.f16": matrix(WIDTH, WIDTH).astype(np.float16) for name in "abc"}
    model = graph(nodes, ["batch", WIDTH], tensors, ["batch", WIDTH])
    both = [kinds(to_float16(model, ends)) for ends in (True, False)]
    assert [[found[name] for name in ("first", "middle", "last")] for found in both] == [
        ["FLOAT16", "FLOAT16", "FLOAT16"],
        ["FLOAT", "FLOAT16", "FLOAT"],
    ]
    x = RNG.normal(size=(64, WIDTH)).astype(np.float32)
    exact, all_half, inner = (ReferenceEvaluator(m).run(None, {"x": x})[0] for m in (
        model, to_float16(model), to_float16(model, ends=False)
    ))  # fmt: skip
    assert 0 < np.abs(inner - exact).mean() < 0.9 * np.abs(all_half - exact).mean()


@pytest.mark.parametrize(("errors_mm", "said"), [
    ([0.9], "p99 0.9 mm on 1,000 poses x 1 (limit: p99 1 mm)"),
    ([1.1, 0.5], "p99 0.5 mm on 1,000 poses x 1 (limit: p99 1 mm), first and last products in float32"),
    ([1.2, 1.1], None),
])  # fmt: skip
def test_what_is_beyond_the_limit_is_tried_with_float32_at_both_ends(
    errors_mm: list[float], said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped lifter, with the gate's answers given."""
    from posepipe.lifters.catalogue import entry
    from posepipe.trt_build.engine import gate, graphs

    martinez, left = entry("martinez"), list(errors_mm)
    shutil.copy(martinez.checkpoint_path, tmp_path)
    shutil.copy(martinez.graph_path, tmp_path)

    def answer(*_: Any) -> gate.Difference:
        return gate.Difference(1.0, left.pop(0) * 1e-3, 0.0, 0.0, 0.0, 1000, 1)

    monkeypatch.setattr(gate, "compare", answer)
    full, used = tmp_path / martinez.graph_path.name, tmp_path / "half.onnx"
    if said is None:
        with pytest.raises(CheckpointError, match=r"does not bear fp16: .* 1\.2 mm .* float32 at both ends .* 1\.1 mm"):
            graphs.write_float16_checked("martinez", full, used)
        assert not used.exists()
    else:
        assert graphs.write_float16_checked("martinez", full, used).endswith(said)
        counts = layer_precisions(onnx.load(str(used), load_external_data=False))["Gemm"]
        assert counts["FLOAT16"]
        assert counts.get("FLOAT", 0) == (0 if len(errors_mm) == 1 else 2)  # mirror images share a pass
    assert not left
    assert {p.name for p in tmp_path.iterdir()} <= {full.name, used.name, martinez.checkpoint_path.name}


def test_float16_calculates_what_numpy_does() -> None:
    """The rewritten graph in onnx's reference (real float16), its imitation in ONNX Runtime, and float32."""
    import onnxruntime

    model = attention()
    half = to_float16(model)
    imitation = onnxruntime.InferenceSession(rounded(half).SerializeToString(), providers=["CPUExecutionProvider"])
    x = RNG.normal(size=(5, 17, WIDTH)).astype(np.float32)
    exact, true = (ReferenceEvaluator(m).run(None, {"x": x})[0] for m in (model, half))
    imitated = imitation.run(None, {"x": x})[0]
    assert 1e-5 < np.abs(true - exact).max() < 5e-3
    # sums are rounded differently (numpy adds in float16), so the errors agree in size, not number by number
    sizes = [float(np.sqrt(np.mean((r - exact) ** 2))) for r in (true, imitated)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.5)


@pytest.mark.parametrize(
    ("nodes", "tensors", "half"),
    [
        ([node("MatMul", "x", "w", out="y")], {"w": matrix(WIDTH, WIDTH)}, True),  # folded by the exporter
        ([node("MatMul", "x", "w", out="y")], {"w": matrix(WIDTH, 3)}, False),  # small
        ([node("MatMul", "x", "w", out="y")], {"w": matrix(WIDTH, WIDTH) * 1e-7}, False),  # lost in float16
        ([node("MatMul", "x", "w", out="y")], {"w": matrix(WIDTH, WIDTH) * 1e6}, False),  # too large for it
        ([node("Softmax", "a", out="n", axis=1), node("MatMul", "x", "n", out="y")],
         {"a": matrix(WIDTH, WIDTH)}, False),  # a learned adjacency, normalised
        ([node("Transpose", "x", out="t", perm=[0, 2, 1]), node("MatMul", "t", "x", out="y")], {}, False),  # no softmax
        ([node("Mul", "x", "x", out="y")], {}, False),
    ],
)  # fmt: skip
def test_what_is_worth_float16(nodes: list[Any], tensors: dict[str, np.ndarray], half: bool) -> None:
    found = kinds(to_float16(graph(nodes, [2, 17, WIDTH], tensors)))
    last = [kind for name, kind in found.items() if name == "y"]
    assert last == ["FLOAT16" if half else "FLOAT"]


def test_values_in_the_checkpoint_as_float32_stay() -> None:
    model = graph([node("MatMul", "x", "w", out="y")], [2, 17, WIDTH], {"w": matrix(WIDTH, WIDTH)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="weights.safetensors"))
    assert [n.op_type for n in to_float16(model).graph.node] == ["MatMul"]


def test_a_graph_without_products_is_left_alone() -> None:
    model = graph([node("Relu", "x", out="a"), node("Exp", "a", out="y")], [2, 3], {})
    assert list(to_float16(model).graph.node) == list(model.graph.node)


@pytest.fixture(scope="module")
def rounding() -> Any:
    """The imitation of a product of a number with one, in ONNX Runtime: the number, rounded twice."""
    import onnxruntime

    one = np.zeros((WIDTH, WIDTH), np.float32)
    np.fill_diagonal(one, 1)
    model = rounded(to_float16(graph([node("MatMul", "x", "w", out="y")], ["n", WIDTH], {"w": one})))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-65503, 65503, width=32).filter(lambda v: v == 0 or abs(v) > 6.2e-5), min_size=1, max_size=WIDTH)
)
def test_rounding_is_that_of_float16(rounding: Any, numbers: list[float]) -> None:
    x = np.zeros((1, WIDTH), np.float32)
    x[0, : len(numbers)] = numbers
    got = rounding.run(None, {"x": x})[0]
    np.testing.assert_array_equal(got, x.astype(np.float16).astype(np.float32))


def test_what_float16_cannot_hold_is_not_finite(rounding: Any) -> None:
    for number in (65_600.0, -1e6, 3e38, np.inf):
        x = np.zeros((1, WIDTH), np.float32)
        x[0, 0] = number
        assert not np.isfinite(rounding.run(None, {"x": x})[0]).all()


def shaped() -> Any:
    """What torch makes of x.reshape(batch, -1) and x.isnan().any(1): shape arithmetic and integers."""
    nodes = [
        node("Shape", "x", out="all", start=0, end=1),
        node("Concat", "all", "minus", out="target", axis=0),
        node("Reshape", "x", "target", out="flat"),
        node("IsNaN", "flat", out="bad"),
        node("Cast", "bad", out="number", to=TensorProto.INT64),
        node("ReduceMax", "number", "axis", out="worst", keepdims=1),
        node("Cast", "worst", out="any", to=TensorProto.BOOL),
        node("Where", "any", "zero", "flat", out="y"),
    ]
    tensors = {"minus": np.array([-1], np.int64), "axis": np.array([1], np.int64), "zero": np.float32(0)}
    return graph(nodes, ["batch", "hypotheses", 3], tensors, ["batch", "m"])


def test_fixed_shapes_leave_no_integers_and_the_same_results() -> None:
    model = shaped()
    fixed = fix_shapes(model, 4, 5)
    assert [n.op_type for n in fixed.graph.node if n.op_type in ("Shape", "Concat")] == []
    assert integer_arithmetic(fixed) == []
    assert open_shapes(fixed) == []
    assert shapes(fixed)["y"] == (4, 15)
    assert integer_arithmetic(onnx.shape_inference.infer_shapes(model)) != []
    x = RNG.normal(size=(4, 5, 3)).astype(np.float32)
    x[2, 1, 0] = np.nan
    before, after = (ReferenceEvaluator(m).run(None, {"x": x})[0] for m in (model, fixed))
    np.testing.assert_array_equal(before, after)
    assert np.all(after[2] == 0)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"  # the original is as it was


def test_a_shape_that_depends_on_values_is_refused() -> None:
    nodes = [node("NonZero", "x", out="places"), node("Cast", "places", out="y", to=TensorProto.FLOAT)]
    with pytest.raises(EngineError, match="stay open"):
        fix_shapes(graph(nodes, ["batch", 3], {}), 2, 1)


def test_weights_beside_the_graph(tmp_path: Any) -> None:
    weights = matrix(4, 4)
    model = graph([node("MatMul", "x", "w", out="y")], [2, 4], {"w": weights})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "8"), ("length", "64")):
        tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    path = tmp_path / "g.onnx"
    onnx.save_model(model, str(path))
    with pytest.raises(CheckpointError, match=r"w\.bin cannot be read"):
        load_with_weights(path)
    (tmp_path / "w.bin").write_bytes(b"12345678" + weights.tobytes()[:-1])
    with pytest.raises(CheckpointError, match="too short"):
        load_with_weights(path)
    (tmp_path / "original").write_bytes(b"12345678" + weights.tobytes() + b"more")
    (tmp_path / "w.bin").unlink()
    (tmp_path / "w.bin").hardlink_to(tmp_path / "original")  # as build-engines does it
    loaded = load_with_weights(path)
    np.testing.assert_array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), weights)
