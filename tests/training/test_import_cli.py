"""From a published file to poses, by the commands that a person types: import-checkpoint, build-engines, a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from posepipe.__main__ import main
from posepipe.lifters.dcgct import authors as dcgct
from posepipe.lifters.dcgct.sampler import DCGCTSampler
from posepipe.noise import NoiseKey
from posepipe.trt_build.runners.ort import OrtRunner

Arrays = dict[str, NDArray[np.float32]]
ALL = list(range(17))


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


# What the authors' own code gave, for the graph of the imported file: case -> (files, options of build-engines,
# fixture -> inputs of the graph and the hypotheses that they must give).
def plain(io: Arrays) -> Arrays:
    keypoints = io["input_2d"][:, 0]
    return {"keypoints": keypoints, "noise": np.zeros((len(keypoints), 1)), "out": io["output_3d_flip_avg"][:, :1]}


def standardised(io: Arrays, joints: list[int]) -> NDArray[np.float64]:
    keypoints = np.full((len(io["x"]), 17, 2), np.nan)
    keypoints[:, joints] = io["x"].reshape(-1, 16, 2)
    return keypoints


def martinez(io: Arrays) -> Arrays:
    keypoints = standardised(io, [j for j in ALL if j != 9])
    return {"keypoints": keypoints, "noise": np.zeros((len(keypoints), 1)), "out": _with_hip(io["out"][:, None])}


def mdn(io: Arrays) -> Arrays:
    keypoints = standardised(io, [j for j in ALL if j != 7])
    out = _with_hip(io["means"].reshape(-1, 48, 5).transpose(0, 2, 1))
    return {"keypoints": keypoints, "noise": np.zeros((len(keypoints), 5, 49)), "out": out}


def drpose(io: Arrays) -> Arrays:
    noise = np.stack([io[name][:, :, 0] for name in sorted(io) if name.startswith("noise_")], 2)
    return {"keypoints": io["input_2d"][:, 0], "noise": noise, "out": io["output"][:, -1, :, 0]}


def prpose(io: Arrays) -> Arrays:
    people, samples = io["output_3d"].shape[:2]
    noise = io["noise_000"].reshape(samples, people, 2, 17, 2).swapaxes(0, 1)
    return {"keypoints": io["input_2d"][:, 0, 0], "noise": noise, "out": io["output_3d"]}


def _with_hip(flat: NDArray) -> NDArray:
    joints = flat.reshape(*flat.shape[:2], 16, 3)
    return np.concatenate([np.zeros_like(joints[:, :, :1]), joints], 2)


TWO = "prpose_mgcn_avg/model.pth --lifter-file prpose_sampling_htnet/sh_model.pth"
LIGHT = "prpose_mlp_avg/model.pth --lifter-file prpose_mgcn_lw/model.pth"
PUBLISHED: dict[str, tuple[str, str, str, Callable[[Arrays], Arrays]]] = {
    "htnet": ("htnet htnet/model.pth", "", "htnet/io.npz", plain),
    "dcgct": ("dcgct dcgct/model.pth", "", "dcgct/io.npz", plain),
    "martinez": ("martinez-tf martinez", "", "martinez/io.npz", martinez),
    "mdn": ("mdn-tf mdn", "", "mdn/io.npz", mdn),
    "drpose K=2": ("drpose drpose_dcgct/model.pth", "--steps 2", "drpose_dcgct/sampling_K2_H3.npz", drpose),
    "drpose K=5": ("drpose drpose_htnet/model.pth", "", "drpose_htnet/sampling_K5_H20.npz", drpose),
    "prpose": (f"prpose {TWO}", "--faithful", "prpose_sampling_htnet/io.npz", prpose),
    "prpose:mgcn": (f"prpose {LIGHT}", "--faithful", "prpose_sampling_mgcn_lw/io.npz", prpose),
}


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("case", PUBLISHED)
def test_the_graph_of_a_published_file_gives_what_the_authors_code_gave(
    authors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    files, options, fixture, reading = PUBLISHED[case]
    system, *words = files.split()
    rest = [str(authors / word) if (authors / word).exists() else word for word in words]
    out = tmp_path / "imported.safetensors"
    assert main(["import-checkpoint", "--from", system, *rest, "-o", str(out)]) == 0
    graph = built(capsys.readouterr().out, tmp_path / "engines", *options.split())
    with np.load(authors / fixture) as file:
        given = {name: a.astype(np.float32) for name, a in reading({n: file[n] for n in file.files}).items()}
    confidence = np.ones(given["keypoints"].shape[:2], np.float32)
    with OrtRunner(graph) as runner:
        got, _ = runner.run(given["keypoints"], confidence, given["noise"])
    expected = given["out"].copy()
    expected[:, :, 0] = 0
    np.testing.assert_allclose(got, expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=0)


@pytest.mark.shared
@pytest.mark.slow
def test_the_graph_of_a_published_wsgan_is_torch(
    authors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.safetensors"
    assert main(["import-checkpoint", "--from", "wsgan-tf", str(authors / "bmvc"), "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "entries of the file are not needed" in printed
    with OrtRunner(built(printed, tmp_path / "engines")) as runner:
        poses, _ = runner.sample(
            np.random.default_rng(0).normal(size=(2, 17, 2)).astype(np.float32),
            np.ones((2, 17), np.float32), [NoiseKey(0, "x", 0, i) for i in range(2)], 4,
        )  # fmt: skip
    assert poses.shape == (2, 4, 17, 3)
