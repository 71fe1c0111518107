"""From a published file to poses, by the commands that a person types: import-checkpoint, build-engines, a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posepipe.__main__ import main
from posepipe.lifters.dcgct import authors as dcgct
from posepipe.lifters.dcgct.sampler import DCGCTSampler
from posepipe.noise import NoiseKey
from posepipe.trt_build.runners.ort import OrtRunner


def next_command(printed: str) -> list[str]:
    """The `posepipe ...` that import-checkpoint proposes."""
    (line,) = (line for line in printed.splitlines() if line.startswith("next: "))
    return line.removeprefix("next: posepipe ").split()


def built(printed: str, folder: Path, *more: str) -> Path:
    """Run the proposed command; the graph that it made."""
    command = next_command(printed)
    assert main([*command[:-1], str(folder), *more]) == 0
    (graph,) = folder.glob("*.onnx")
    assert graph.stem.replace("-", ":") == command[2]
    return graph


def dcgct_file(path: Path) -> DCGCTSampler:
    """A tiny DC-GCT in the authors' layout, as they save it from DataParallel."""
    torch.manual_seed(0)
    sampler = DCGCTSampler(channels=40, blocks=1).eval()
    file = {}
    for name, value in sampler.state_dict().items():
        for theirs in dcgct.rename()(name):
            convolution = ".gcn" in name and value.dim() == 2
            file[f"module.{theirs}"] = (value[..., None, None] if convolution else value).clone()
    torch.save(file, path)
    return sampler


def test_a_published_pth_becomes_poses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sampler = dcgct_file(tmp_path / "model.pth")
    out = tmp_path / "dcgct.safetensors"
    assert main(["import-checkpoint", "--from", "dcgct", str(tmp_path / "model.pth"), "-o", str(out)]) == 0
    graph = built(capsys.readouterr().out, tmp_path / "engines")
    random = np.random.default_rng(0)
    keypoints, confidence = random.normal(size=(2, 17, 2)).astype(np.float32), np.ones((2, 17), np.float32)
    with OrtRunner(graph) as runner:
        assert (runner.contract.space, runner.contract.conversion) == ("screen", "h36m17@1")
        poses, _ = runner.sample(keypoints, confidence, [NoiseKey(0, "x", 0, i) for i in range(2)], 1)
    with torch.no_grad():
        expected = sampler.pose(torch.from_numpy(keypoints), torch.from_numpy(confidence)).numpy()
    np.testing.assert_allclose(poses[:, 0, 1:], expected[:, 1:], atol=1e-5)


@pytest.mark.parametrize("system", ["htnet", "dcgct", "drpose", "martinez-tf", "mdn-tf", "wsgan-tf", "prpose"])
def test_a_file_of_another_system_is_one_sentence_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], system: str
) -> None:
    for name in ("avg_model.pth", "shhpe_model.pth"):
        torch.save({"blocks.0.weight": torch.ones(2, 2), "fcn.bias": torch.ones(3)}, tmp_path / name)
    out = tmp_path / "o.safetensors"
    assert main(["import-checkpoint", "--from", system, str(tmp_path / "avg_model.pth"), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("posepipe import-checkpoint: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert not out.exists()


def test_missing_misshaped_and_unexpected_entries_come_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dcgct_file(tmp_path / "model.pth")
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    del state["module.fcn.bias"]
    state["module.fcn.weight"] = torch.ones(3, 7)
    state["module.extra.thing"] = torch.ones(1)
    torch.save(state, tmp_path / "model.pth")
    out = tmp_path / "o.safetensors"
    assert main(["import-checkpoint", "--from", "dcgct", str(tmp_path / "model.pth"), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    for text in ("1 missing (fcn.bias)", "1 misshaped (fcn.weight (3, 7) where (3, 40)", "1 unexpected (extra.thing)"):
        assert text in error
    assert error.count("\n") == 1


def test_usage_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["import-checkpoint", "--from", "htnet", str(tmp_path / "none.pth"), "-o", str(tmp_path / "o.safetensors")]
    assert main(call) == 1
    assert "There is no file" in capsys.readouterr().err
    assert main([*call, "--conversion", "nonsense"]) in (1, 2)
    assert "nonsense" in capsys.readouterr().err
