"""The authors' files through the commands that a person types, and what comes out of the graph in ONNX Runtime against
what the authors' own code gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from posepipe.__main__ import main
from posepipe.lifters.catalogue import names_of
from posepipe.lifters.checkpoint import read_header
from posepipe.noise import NoiseKey
from posepipe.trt_build.runners.ort import OrtRunner

pytestmark = [pytest.mark.shared, pytest.mark.slow]
Arrays = dict[str, NDArray]


def plain(io: Arrays) -> Arrays:
    keypoints = io["input_2d"][:, 0]
    return {"keypoints": keypoints, "noise": np.zeros((len(keypoints), 1)), "out": io["output_3d_flip_avg"][:, :1]}


def martinez(io: Arrays) -> Arrays:
    keypoints = _placed(io["x"], [j for j in range(17) if j != 9])
    return {"keypoints": keypoints, "noise": np.zeros((len(keypoints), 1)), "out": _with_hip(io["out"][:, None])}


def mdn(io: Arrays) -> Arrays:
    keypoints = _placed(io["x"], [j for j in range(17) if j != 7])
    out = _with_hip(io["means"].reshape(-1, 48, 5).transpose(0, 2, 1))
    return {"keypoints": keypoints, "noise": np.zeros((len(keypoints), 5, 49)), "out": out}


def drpose(io: Arrays) -> Arrays:
    noise = np.stack([io[name][:, :, 0] for name in sorted(io) if name.startswith("noise_")], 2)
    return {"keypoints": io["input_2d"][:, 0], "noise": noise, "out": io["output"][:, -1, :, 0]}


def prpose(io: Arrays) -> Arrays:
    people, samples = io["output_3d"].shape[:2]
    noise = io["noise_000"].reshape(samples, people, 2, 17, 2).swapaxes(0, 1)
    return {"keypoints": io["input_2d"][:, 0, 0], "noise": noise, "out": io["output_3d"]}


def _placed(x: NDArray, joints: list[int]) -> NDArray:
    """(B,32) standardised coordinates of 16 joints -> (B,17,2), NaN where the authors have no joint."""
    keypoints = np.full((len(x), 17, 2), np.nan)
    keypoints[:, joints] = x.reshape(-1, 16, 2)
    return keypoints


def _with_hip(flat: NDArray) -> NDArray:
    joints = flat.reshape(*flat.shape[:2], 16, 3)
    return np.concatenate([np.zeros_like(joints[:, :, :1]), joints], 2)


HEAVY = "prpose prpose_mgcn_avg/model.pth --lifter-file prpose_sampling_htnet/sh_model.pth"
LIGHT = "prpose prpose_mlp_avg/model.pth --lifter-file prpose_mgcn_lw/model.pth"
# (arguments of import-checkpoint, further ones of build-engines, fixture, fixture -> what goes in and must come out)
CASES: dict[str, tuple[str, str, str, Callable[[Arrays], Arrays]]] = {
    "martinez": ("martinez-tf martinez", "", "martinez/io.npz", martinez),
    "mdn:means": ("mdn-tf mdn", "", "mdn/io.npz", mdn),
    "htnet": ("htnet htnet/model.pth", "", "htnet/io.npz", plain),
    "dcgct": ("dcgct dcgct/model.pth", "", "dcgct/io.npz", plain),
    "drpose": ("drpose drpose_dcgct/model.pth", "--steps 2", "drpose_dcgct/sampling_K2_H3.npz", drpose),
    "drpose:htnet": ("drpose drpose_htnet/model.pth", "", "drpose_htnet/sampling_K5_H20.npz", drpose),
    "prpose": (HEAVY, "--faithful", "prpose_sampling_htnet/io.npz", prpose),
    "prpose:mgcn": (LIGHT, "--faithful", "prpose_sampling_mgcn_lw/io.npz", prpose),
}


def built(authors: Path, folder: Path, source: str, options: str = "") -> Path:
    """import-checkpoint, then build-engines; the graph."""
    system, *words = source.split()
    words = [str(authors / word) if (authors / word).exists() else word for word in words]
    weights = folder / "imported.safetensors"
    assert main(["import-checkpoint", "--from", system, *words, "-o", str(weights)]) == 0
    name = names_of(read_header(weights))[0]
    command = ["build-engines", "--lifter", name, "--checkpoint", str(weights), "-o", str(folder / "engines")]
    assert main([*command, *options.split()]) == 0
    return folder / "engines" / f"{name.replace(':', '-')}.onnx"


@pytest.mark.parametrize("name", CASES)
def test_the_graph_of_the_authors_file_gives_what_their_code_gave(
    authors: Path, tmp_path: Path, parity: Callable[..., None], name: str
) -> None:
    source, options, fixture, reading = CASES[name]
    with np.load(authors / fixture) as file:
        given = {key: a.astype(np.float32) for key, a in reading({n: file[n] for n in file.files}).items()}
    graph = built(authors, tmp_path, source, options)
    assert graph.stem == ("drpose" if name.startswith("drpose") else name.replace(":", "-"))  # its plain name
    with OrtRunner(graph) as runner:
        got, _ = runner.run(given["keypoints"], np.ones(given["keypoints"].shape[:2], np.float32), given["noise"])
    assert not got[:, :, 0].any()
    what = f"ONNX graph, H = {got.shape[1]}" + (f", K = {runner.contract.steps}" if runner.contract.steps else "")
    parity(name, what, got[:, :, 1:], given["out"][:, :, 1:], relative=name in ("martinez", "mdn:means"))


def test_the_graph_of_a_wsgan_file_runs(authors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its fixture holds no whole sampler, only its parts; build-engines has compared the graph with torch."""
    graph = built(authors, tmp_path, "wsgan-tf bmvc")
    assert "entries of the file are not needed" in capsys.readouterr().out
    keypoints = np.random.default_rng(0).normal(size=(2, 17, 2)).astype(np.float32)
    with OrtRunner(graph) as runner:
        keys = [NoiseKey(0, "x", 0, i) for i in range(2)]
        poses, _ = runner.sample(keypoints, np.ones((2, 17), np.float32), keys, 4)
    assert poses.shape == (2, 4, 17, 3)
