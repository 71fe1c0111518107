"""Our HRNet, crops, flip test and heatmap readers against MMPose 1.3.2, on the same narrow network with seeded weights.

The numbers of MMPose are in fixtures/mmpose.npz (make_fixture.py). Where a Python with MMPose is at hand, MMPose itself
is asked, too: on the full HRNet-w32, over the pipe that `--detector` uses.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from posepipe.errors import CheckpointError  # noqa: E402
from posepipe.pipeline.detect.mmpose import MmposeProcess, find_python  # noqa: E402
from posepipe.pipeline.detect.topdown import HeatmapEstimator  # noqa: E402
from posepipe.trt_build.detector.catalogue import entry  # noqa: E402
from posepipe.trt_build.detector.graph import example_crops, torch_heatmaps, write_detector  # noqa: E402
from posepipe.trt_build.detector.hrnet.net import HrNet  # noqa: E402
from posepipe.trt_build.detector.hrnet.weights import load_weights, random_weights  # noqa: E402
from posepipe.trt_build.engine.static import fix_shapes, load_with_weights  # noqa: E402
from posepipe.trt_build.runners.heatmaps import OrtHeatmaps  # noqa: E402
from posepipe.trt_build.tensorrt_check import problems  # noqa: E402

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


recipe = load("recipe")


@pytest.fixture(scope="module")
def net() -> HrNet:
    return random_weights({"width": recipe.WIDTH}, recipe.SEED)


@pytest.fixture(scope="module")
def graphs(net, tmp_path_factory) -> dict[str, Path]:
    """The narrow network as a graph, once per codec."""
    folder = tmp_path_factory.mktemp("graphs")
    made = {}
    for codec in recipe.CODECS:
        contract = entry(f"hrnet-w32{'' if codec == 'msra' else '-' + codec}").contract
        contract = dataclasses.replace(contract, network={"width": recipe.WIDTH})
        made[codec] = folder / f"{codec}.onnx"
        write_detector(net, contract, made[codec])
    return made


@pytest.fixture(scope="module")
def mmpose():
    with np.load(HERE / "fixtures" / "mmpose.npz") as held:
        return dict(held)


@pytest.mark.parametrize("codec", recipe.CODECS)
def test_keypoints_are_mmposes_to_a_tenth_of_a_pixel(graphs, mmpose, codec):
    with OrtHeatmaps(graphs[codec], device="cpu") as runner:
        keypoints, scores = HeatmapEstimator(runner).poses(recipe.picture(), recipe.BOXES)
    expected = mmpose[f"{codec}_keypoints"]
    found = mmpose[f"{codec}_scores"] > 0  # elsewhere MMPose gives the corner, and we nothing
    assert found.sum() > 30
    np.testing.assert_array_equal(np.isfinite(keypoints).all(-1), found)
    distance = np.linalg.norm(keypoints - expected, axis=-1)[found]
    assert distance.max() < 0.1, np.sort(distance)[-5:]
    np.testing.assert_allclose(scores, mmpose[f"{codec}_scores"], atol=1e-4)


@pytest.mark.parametrize("codec", recipe.CODECS)
def test_flip_averaged_heatmaps_are_mmposes(graphs, mmpose, codec):
    seen = {}
    with OrtHeatmaps(graphs[codec], device="cpu") as runner:

        class Spy:
            contract, backend = runner.contract, runner.backend

            def run(self, crops):
                seen["maps"] = runner.run(crops)
                return seen["maps"]

        HeatmapEstimator(Spy()).poses(recipe.picture(), recipe.BOXES)
    expected = mmpose[f"{codec}_heatmaps"]
    assert expected.std() > 0.1
    np.testing.assert_allclose(seen["maps"][:, :, 3::9, 2::9], expected, atol=2e-4)


def test_the_graph_says_what_the_network_says_with_and_without_the_mirrored_crop(net, graphs, tmp_path):
    with OrtHeatmaps(graphs["msra"], device="cpu") as runner:
        contract = runner.contract
        crops = example_crops(contract, 3, 4)
        np.testing.assert_allclose(runner.run(crops), torch_heatmaps(net, contract, crops), atol=1e-4)
    plain = dataclasses.replace(contract, flip=False)
    write_detector(net, plain, tmp_path / "plain.onnx")
    with OrtHeatmaps(tmp_path / "plain.onnx", device="cpu") as runner:
        alone = runner.run(crops)
        np.testing.assert_allclose(alone, torch_heatmaps(net, plain, crops), atol=1e-4)
        assert np.abs(alone - torch_heatmaps(net, contract, crops)).max() > 0.01


@pytest.mark.parametrize("people", [1, 8])
def test_tensorrt_can_read_the_graph_with_its_shapes_fixed(graphs, people):
    assert problems(fix_shapes(load_with_weights(graphs["msra"]), people, 1)) == []


@pytest.mark.parametrize("prefix", ["", "module.", "mmpose"])
def test_files_of_mmpose_and_of_the_authors_load_with_numpy_notes_in_them(net, tmp_path, prefix):
    state = net.state_dict()
    if prefix == "mmpose":
        state = {("head." if k.startswith("final") else "backbone.") + k: v for k, v in state.items()}
        content = {"state_dict": state, "meta": {"dataset_meta": {"sigmas": np.arange(3.0), "n": np.float64(1)}}}
    else:
        content = {prefix + k: v for k, v in state.items()}
    torch.save(content, tmp_path / "x.pth")
    again = load_weights(tmp_path / "x.pth", {"width": recipe.WIDTH}, "narrow").state_dict()
    assert all(torch.equal(again[k], v) for k, v in net.state_dict().items())


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_files_of_another_network_or_with_something_else_in_them_are_refused(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(net.state_dict(), "narrow.pth")
    with pytest.raises(CheckpointError, match=r"does not hold the weights of hrnet-w32: .* has the size"):
        load_weights(Path("narrow.pth"), {"width": 32}, "hrnet-w32")
    torch.save({"other": torch.zeros(1)}, "other.pth")
    with pytest.raises(CheckpointError, match="is missing"):
        load_weights(Path("other.pth"), {"width": 4}, "narrow")
    torch.save({"state_dict": Evil()}, "evil.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(Path("evil.pth"), {"width": 4}, "narrow")
    assert not Path("touched-by-a-pickle").exists()
    Path("cut.pth").write_bytes(Path("narrow.pth").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(Path("cut.pth"), {"width": 4}, "narrow")
    with pytest.raises(CheckpointError, match="no weights at"):
        load_weights(Path("none.pth"), {"width": 4}, "narrow")


def test_the_full_network_has_the_papers_number_of_parameters():
    """Sun et al. 2019, table 1: 28.5 M and 63.6 M."""
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in HrNet(w).parameters()) / 1e6 for w in (32, 48)]
    assert sizes == [pytest.approx(28.5, abs=0.05), pytest.approx(63.6, abs=0.05)]


@pytest.mark.slow
@pytest.mark.skipif(find_python() is None, reason="no Python with MMPose (docs/detectors.md)")
def test_mmpose_itself_over_the_pipe_says_the_same_of_the_whole_hrnet_w32(tmp_path):
    found = entry("hrnet-w32")
    net = random_weights(found.contract.network)
    state = {("head." if k.startswith("final") else "backbone.") + k: v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w32.pth")
    write_detector(net, found.contract, tmp_path / "w32.onnx")
    with OrtHeatmaps(tmp_path / "w32.onnx", device="cpu") as runner:
        keypoints, _ = HeatmapEstimator(runner).poses(recipe.picture(), recipe.BOXES)
    process = MmposeProcess(found.mmpose, str(tmp_path / "w32.pth"))
    try:
        expected, scores = process.poses(recipe.picture(), recipe.BOXES)
    finally:
        process.close()
    assert np.linalg.norm(keypoints - expected, axis=-1)[scores > 0].max() < 0.1
