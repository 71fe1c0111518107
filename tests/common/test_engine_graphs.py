"""Every lifter's graph as TensorRT would be given it: shapes fixed for a bucket, in float32 and in float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, numpy_helper  # noqa: E402

from posepipe.trt_build.engine.gate import compare, reference  # noqa: E402
from posepipe.trt_build.engine.precision import write_float16  # noqa: E402
from posepipe.trt_build.engine.rounded import write_rounded  # noqa: E402
from posepipe.trt_build.engine.static import (  # noqa: E402
    MAX_BYTES,
    fix_shapes,
    integer_arithmetic,
    load_with_weights,
    open_shapes,
    shapes,
)
from posepipe.trt_build.runners.ort import OrtRunner  # noqa: E402
from posepipe.trt_build.tensorrt_check import problems  # noqa: E402
from posepipe.trt_build.tensorrt_operators import DYNAMIC  # noqa: E402

PEOPLE = 4
FULL = ("BatchNormalization", "Div", "Erf", "Exp", "LayerNormalization", "Log", "LogSoftmax", "Pow", "ReduceMean",
        "ReduceSum", "Sigmoid", "Softmax", "Sqrt", "Sub")  # fmt: skip


@pytest.fixture(params=["fp32", "fp16"])
def given(request: pytest.FixtureRequest, subject: Any, tmp_path: Path) -> tuple[str, Any, int]:
    """(precision, the graph with fixed shapes, H)."""
    graph = subject.graph
    if request.param == "fp16":
        (tmp_path / subject.checkpoint.name).symlink_to(subject.checkpoint)
        graph = write_float16(subject.graph, tmp_path / "half.onnx")
    count = subject.contract.fixed_hypotheses or 6
    return request.param, fix_shapes(load_with_weights(graph), PEOPLE, count), count


def test_tensorrt_could_read_it_and_a_cuda_graph_could_hold_it(given: tuple[str, Any, int], subject: Any) -> None:
    _, model, count = given
    assert problems(model) == []
    assert integer_arithmetic(model) == []
    assert open_shapes(model) == []
    assert model.ByteSize() < MAX_BYTES
    assert not {n.op_type for n in model.graph.node} & (DYNAMIC | {"Shape", "Size", "If", "Loop", "Scan"})
    assert not [n for n in model.graph.node for a in n.attribute if a.HasField("g") or a.graphs]
    known, noise = shapes(model), subject.contract.noise_shape
    assert [known[v.name] for v in (*model.graph.input, *model.graph.output)] == [
        (PEOPLE, 17, 2), (PEOPLE, 17), (PEOPLE, count, *noise), (PEOPLE, count, 17, 3), (PEOPLE, count)
    ]  # fmt: skip
    ends = {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    assert ends == {TensorProto.FLOAT}
    used = {name for n in model.graph.node for name in n.input}
    types = {t.data_type for t in model.graph.initializer if t.name in used}
    assert types <= {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL}
    assert all(-(2**31) <= int(v) < 2**63 for t in model.graph.initializer if t.data_type == TensorProto.INT64
               for v in numpy_helper.to_array(t).ravel())  # fmt: skip


def test_types_are_strong(given: tuple[str, Any, int]) -> None:
    """Every operator gets operands of one type: the strict check fails otherwise, and so would TensorRT."""
    precision, model, _ = given
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True))
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    half = [n for n in model.graph.node if kinds[n.output[0]] == TensorProto.FLOAT16]
    if precision == "fp32":
        assert half == []
        return
    assert not {n.op_type for n in half} & set(FULL)
    stored = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    large = [n for n in model.graph.node if n.op_type in ("MatMul", "Gemm", "Conv") and set(n.input) & stored]
    assert all(kinds[n.output[0]] == TensorProto.FLOAT16 for n in large)


def test_fixed_shapes_change_nothing(subject: Any) -> None:
    import onnxruntime

    count = subject.contract.fixed_hypotheses or 6
    model = fix_shapes(load_with_weights(subject.graph), PEOPLE, count)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(keypoints: np.ndarray, confidence: np.ndarray, noise: np.ndarray) -> Any:
        feeds = {"keypoints": keypoints, "confidence": confidence, "noise": noise}
        return session.run(["hypotheses", "log_weights"], feeds)

    expected = reference(subject.contract, subject.runner.run, 30, hypotheses=count)
    difference = compare(expected, run, PEOPLE, count)
    assert difference.maximum < 3e-5
    assert difference.passes("fp32")


def test_float16_stays_near_float32(subject: Any, tmp_path: Path) -> None:
    """As the gate sees it, whose limit is 1 mm. Weights that do not bear float16 are refused by it, by name; none of
    ours may be far from it: 2 mm."""
    import shutil

    shutil.copyfile(subject.checkpoint, tmp_path / subject.checkpoint.name)
    half = write_float16(subject.graph, tmp_path / "half.onnx")
    write_rounded(half, tmp_path / "rounded.onnx")
    expected = reference(subject.contract, subject.runner.run, 200)
    with OrtRunner(tmp_path / "rounded.onnx") as runner:
        difference = compare(expected, runner.run, 50, expected.count)
    products = [n for n in onnx.load(str(half), load_external_data=False).graph.node if n.output[0].endswith(".half")]
    assert difference.p99 < 2e-3
    assert products or difference.maximum == 0  # a random variance network may end in zeros and change nothing
