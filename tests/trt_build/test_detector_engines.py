"""`build-engines --detector` over the double of TensorRT: what is built, named, compared and refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

from posepipe.__main__ import main
from posepipe.errors import CheckpointError, EngineError, UsageError
from posepipe.trt_build.detector.catalogue import ENTRIES, entry, graph_paths
from posepipe.trt_build.detector.hrnet.weights import random_weights
from posepipe.trt_build.detector.make import DetectorGraphs, make_detector_engine, make_detector_graphs
from posepipe.trt_build.detector.sidecar import check_engine, family, read_sidecar
from posepipe.trt_build.engine.probe import GpuInfo
from posepipe.trt_build.engine.progress import Phases
from posepipe.trt_build.engine.sidecar import engines_in
from posepipe.trt_build.runners.heatmaps import OrtHeatmaps, open_heatmaps

GPU = GpuInfo("NVIDIA Fake", "9.0", "580.65.06", "13.0", 80 << 30)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fake_builder = load("fake_builder")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> DetectorGraphs:
    found = entry("hrnet-w32")
    contract = dataclasses.replace(found.contract, network={"width": 2}, weights="w.pth", weights_sha256="ab" * 32)
    out = tmp_path_factory.mktemp("engines")
    said: list[str] = []
    graphs = make_detector_graphs(found, random_weights({"width": 2}), contract, out, "fp32", said.append)
    assert "from torch" in said[0]
    return graphs


class Played:
    """What the double's plan, which is a graph, gives: people one bucket at a time. off: what it is wrong by."""

    def __init__(self, plan: Path, off: float = 0.0) -> None:
        info = read_sidecar(plan)  # was written before the engine is opened
        file = plan.with_suffix(".onnx")
        file.write_bytes(plan.read_bytes())
        self._runner, self._people, self._off, self._file = OrtHeatmaps(file, device="cpu"), info.persons, off, file
        self.contract, self.backend = info.contract, "played"

    def run(self, crops: np.ndarray) -> np.ndarray:
        parts = [crops[i : i + self._people] for i in range(0, len(crops), self._people)]
        return np.concatenate([self._runner.run(p) for p in parts]) + self._off

    def close(self) -> None:
        self._runner.close()


def build(graphs: DetectorGraphs, persons: int, out: Path, opened: Any = Played, fake: Any = None) -> Path:
    fake = fake or fake_builder.FakeBuilder("11.4.0.106")
    settings = {"trt": fake.module(), "gpu": GPU, "phases": Phases(None), "opened": opened}
    return make_detector_engine(graphs, persons, out, **settings)[0]


def test_an_engine_per_bucket_with_its_side_car(narrow: DetectorGraphs, tmp_path: Path) -> None:
    engines = [build(narrow, persons, tmp_path) for persons in (1, 4)]
    assert [e.name for e in engines] == [f"hrnet-w32-abababab-sm90-11.4.0.106-b{n}-fp32.engine" for n in (1, 4)]
    assert fake_builder.graph_of(engines[1].read_bytes()).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    info = read_sidecar(engines[1])
    assert (info.persons, info.gpu, info.contract.detector) == (4, "NVIDIA Fake", "hrnet-w32")
    assert 0 <= info.difference < 1e-4
    assert list(family(engines[1])) == [1, 4]
    assert engines_in(tmp_path) == [], "lifters do not take it for one of theirs"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".building")]


def test_an_engine_that_is_wrong_gets_no_name(narrow: DetectorGraphs, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="differs from ONNX Runtime by"):
        build(narrow, 1, tmp_path, lambda plan: Played(plan, off=1.0))
    fake = fake_builder.FakeBuilder()
    fake.builds = False
    with pytest.raises(EngineError, match="could not build"):
        build(narrow, 1, tmp_path, fake=fake)
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".timing-cache"] == []


def test_engines_of_another_machine_or_changed_by_hand_are_refused(narrow: DetectorGraphs, tmp_path: Path) -> None:
    engine = build(narrow, 1, tmp_path)
    info = read_sidecar(engine)
    with pytest.raises(
        EngineError, match=r"built by TensorRT 11.4.0.106, not 10.*--detector hrnet-w32 --detector-weigh"
    ):
        check_engine(info, engine, GPU.name, "9.0", "10.16.1.11")
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(EngineError, match="not those that were built"):
        check_engine(info, engine, GPU.name, "9.0", "11.4.0.106")
    sidecar = Path(f"{engine}.json") if Path(f"{engine}.json").is_file() else engine.with_suffix(".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"persons": 2}))
    with pytest.raises(EngineError, match="changed after it was written"):
        read_sidecar(engine)
    with pytest.raises(EngineError, match="cannot run here"):
        open_heatmaps(engine)


def test_names_are_mmposes_and_what_is_asked_for_wrongly_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry("hrnet-w48-udp-384x288").mmpose == "td-hm_hrnet-w48_udp-8xb32-210e_coco-384x288"
    assert len(ENTRIES) == 12
    assert [p.name for p in graph_paths("hrnet-w32")] == ["hrnet-w32.onnx"] * 2
    with pytest.raises(UsageError, match="Did you mean 'hrnet-w32'"):
        entry("hrnet-w33")
    for arguments, text in (
        (["--detector", "hrnet-w32"], "Give --detector-weights FILE"),
        (["--detector", "hrnet-w32", "--lifter", "mdn"], "one after the other"),
        (["--lifter", "mdn", "--detector-weights", "x"], "go with --detector"),
    ):
        assert main(["build-engines", *arguments]) == 2
        assert text in capsys.readouterr().err


def test_a_lifters_graph_is_no_detector(narrow: DetectorGraphs, tmp_path: Path) -> None:
    from posepipe.lifters.catalogue import entry as lifter

    with pytest.raises(CheckpointError, match="is not a detector's graph"):
        OrtHeatmaps(lifter("martinez").graph_path)
    with pytest.raises(CheckpointError, match="no detector graph"):
        OrtHeatmaps(tmp_path / "none.onnx")
    with OrtHeatmaps(narrow.full) as runner, pytest.raises(UsageError, match="crops have the shape"):
        runner.run(np.zeros((1, 3, 8, 8), np.float32))
