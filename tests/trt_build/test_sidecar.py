"""Engines that do not fit, and side-cars that were tampered with: refused in one sentence that says what to do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from pathlib import Path

import pytest

from posepipe.errors import EngineError, OutputError
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.trt_build.cli_engines import _parser
from posepipe.trt_build.engine.names import engine_name, graph_name, sidecar_path
from posepipe.trt_build.engine.sidecar import EngineInfo, check_engine, engines_in, read_sidecar, write_sidecar

PLAN = b"plan" * 1000
CONTRACT = Checkpoint("drpose", {"steps": 10}, "person", "blazepose33-h36m17@1", (10, 17, 3), 200, steps=10)
INFO = EngineInfo(
    lifter="drpose:htnet",
    contract=CONTRACT,
    checkpoint="my weights.safetensors",
    checkpoint_sha256="c0ffee" * 10 + "abcd",
    onnx_sha256="0" * 64,
    persons=4,
    hypotheses=200,
    precision="fp16",
    gpu="NVIDIA H200",
    compute_capability="9.0",
    tensorrt="11.4.0.106",
    driver="580.65.06",
    cuda="13.0",
    shapes={"keypoints": (4, 17, 2), "hypotheses": (4, 200, 17, 3)},
    layer_precisions={"MatMul": {"FLOAT16": 3}},
    gate={"p99_m": 1e-4},
    engine_sha256=hashlib.sha256(PLAN).hexdigest(),
    engine_bytes=len(PLAN),
    posepipe="0.1.0",
    settings={"steps": 10, "scheduler": "ddim", "faithful": False},
)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / engine_name("drpose:htnet", INFO.checkpoint_sha256, "sm90", INFO.tensorrt, 4, 200, 10, "fp16")
    path.write_bytes(PLAN)
    write_sidecar(path, INFO)
    return path


def test_names() -> None:
    name = engine_name("drpose:htnet", "c0ffee11" + "0" * 56, "sm90", "11.4.0.106", 4, 200, 10, "fp16")
    assert name == "drpose-htnet-c0ffee11-sm90-11.4.0.106-b4-h200-k10-fp16.engine"
    assert engine_name("mdn", "c0ffee11", "sm89", "10.16.1.11", 1, 5, None, "fp32").endswith("-b1-h5-k1-fp32.engine")
    assert sidecar_path(Path("a") / name) == Path("a") / name.replace(".engine", ".json")
    assert (graph_name("mdn:means"), graph_name("mdn", "fp16")) == ("mdn-means.onnx", "mdn-fp16.onnx")


def test_what_is_written_is_read(engine: Path) -> None:
    assert read_sidecar(engine) == read_sidecar(sidecar_path(engine)) == INFO
    assert (INFO.skeleton, INFO.conversion, INFO.steps) == ("h36m17", "blazepose33-h36m17@1", 10)
    check_engine(INFO, engine, gpu="NVIDIA H200", compute_capability="9.0", persons=4, hypotheses=200, steps=10)
    check_engine(INFO, engine, persons=1)
    assert sorted(p.name for p in engine.parent.iterdir()) == sorted([engine.name, sidecar_path(engine).name])


def test_the_rebuild_command_is_understood(engine: Path) -> None:
    words = shlex.split(INFO.rebuild_command(Path("my engines")))
    args = _parser().parse_args(words[2:])
    assert words[:2] == ["posepipe", "build-engines"]
    assert (args.lifter, args.persons, args.hypotheses, args.steps) == (["drpose:htnet"], [4], 200, 10)
    assert (args.scheduler, args.faithful, args.precision, args.backend) == ("ddim", False, "fp16", "tensorrt")
    assert (args.checkpoint, args.out) == (Path("my engines/my weights.safetensors"), Path("my engines"))


@pytest.mark.parametrize(
    ("wanted", "text", "command"),
    [
        ({"gpu": "NVIDIA L4"}, "for the GPU NVIDIA H200, not NVIDIA L4", "--hypotheses 200"),
        ({"compute_capability": "8.9"}, "compute capability 9.0, not 8.9", "--hypotheses 200"),
        ({"tensorrt": "10.16.1.11"}, "by TensorRT 11.4.0.106, not 10.16.1.11", "--precision fp16"),
        ({"checkpoint_sha256": "beef" * 16}, "from the weights c0ffeec0ffee, not beefbeefbeef", "--checkpoint"),
        ({"skeleton": "coco17"}, "for the skeleton h36m17, not coco17", "--lifter drpose:htnet"),
        ({"conversion": "coco17-h36m17@1"}, "for the conversion blazepose33-h36m17@1, not coco17", "--lifter"),
        ({"steps": 5}, "takes 10 diffusion steps, not 5", "--steps 5"),
        ({"hypotheses": 201}, "gives 200 hypotheses per launch, not 201", "--hypotheses 201"),
        ({"persons": 8}, "takes 1 to 4 persons per launch, not 8", "--persons 8"),
        ({"persons": 0}, "takes 1 to 4 persons per launch, not 0", ""),
    ],
)
def test_what_does_not_fit_is_refused_with_the_command(
    engine: Path, wanted: dict[str, object], text: str, command: str
) -> None:
    with pytest.raises(EngineError) as caught:
        check_engine(INFO, engine, **wanted)  # type: ignore[arg-type]
    assert text in caught.value.message
    assert "\n" not in str(caught.value)
    assert "posepipe build-engines" in caught.value.hint
    assert command in caught.value.hint


@pytest.mark.parametrize("damage", ["cut", "one bit", "gone"])
def test_damaged_engines_are_refused(engine: Path, damage: str) -> None:
    if damage == "cut":
        engine.write_bytes(PLAN[:-1])
    elif damage == "one bit":
        engine.write_bytes(PLAN[:-1] + b"o")
    else:
        engine.unlink()
    with pytest.raises(EngineError, match="Build it again: posepipe build-engines --lifter drpose:htnet"):
        check_engine(read_sidecar(sidecar_path(engine)), engine)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda data: {**data, "gpu": "NVIDIA L4"}, "was changed after it was written"),
        (lambda data: {**data, "persons": 8}, "was changed after it was written"),
        (lambda data: {**data, "contract": {**data["contract"], "steps": 1}}, "was changed after it was written"),
        (lambda data: {k: v for k, v in data.items() if k != "sidecar_sha256"}, "was changed after"),
        (lambda data: {k: v for k, v in data.items() if k != "shapes"}, "was changed after"),
        (lambda data: {**data, "format_version": 2}, "format version 2"),
        (lambda data: [data], "cannot be read"),
    ],
)
def test_side_cars_edited_by_hand_are_refused(engine: Path, edit: object, text: str) -> None:
    path = sidecar_path(engine)
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(EngineError, match=text) as caught:
        read_sidecar(engine)
    assert "build-engines" in str(caught.value)
    assert engines_in(engine.parent) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null"])
def test_side_cars_that_are_no_json_are_refused(engine: Path, content: bytes) -> None:
    sidecar_path(engine).write_bytes(content)
    with pytest.raises(EngineError, match="cannot be read"):
        read_sidecar(engine)


def test_a_side_car_of_other_fields_is_refused_although_its_hash_is_right(engine: Path) -> None:
    path = sidecar_path(engine)
    data = json.loads(path.read_text())
    data.pop("sidecar_sha256")
    data["colour"] = "red"
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**data, "sidecar_sha256": digest}))
    with pytest.raises(EngineError, match="not one of this posepipe"):
        read_sidecar(engine)


def test_without_a_side_car_there_is_no_engine(engine: Path) -> None:
    sidecar_path(engine).unlink()
    with pytest.raises(EngineError, match="no side-car"):
        read_sidecar(engine)
    assert engines_in(engine.parent) == []


def test_the_engines_of_a_folder(engine: Path) -> None:
    other = engine.with_name("another.engine")
    other.write_bytes(PLAN)
    write_sidecar(other, dataclasses.replace(INFO, persons=1))
    assert [(path.name, info.persons) for path, info in engines_in(engine.parent)] == [
        ("another.engine", 1),
        (engine.name, 4),
    ]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        write_sidecar(tmp_path / "absent" / "x.engine", INFO)
