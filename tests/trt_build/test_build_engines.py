"""`posepipe build-engines` and `posepipe lifters`, called as the command line calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from posepipe.__main__ import main  # noqa: E402
from posepipe.lifters.build import build_sampler, save  # noqa: E402
from posepipe.lifters.catalogue import LIFTERS  # noqa: E402
from posepipe.lifters.checkpoint import Checkpoint  # noqa: E402
from posepipe.noise import NoiseKey  # noqa: E402
from posepipe.trt_build.runners.ort import OrtRunner  # noqa: E402

FIRST = {"lifter": "martinez", "width": 8}
NETWORK = {"first": FIRST, "steps": 2, "channels": 8, "layers": 1, "heads": 2, "refinement_hidden": 8}
HEADER = Checkpoint("drpose", NETWORK, "screen", "h36m17@1", (2, 17, 3), 20, steps=2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save(path, build_sampler(HEADER).eval(), HEADER)
    return path


def test_another_number_of_steps_gives_another_graph_of_the_same_weights(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["build-engines", "--lifter", "drpose:martinez", "--checkpoint", str(weights), "-o", str(tmp_path)]
    assert main([*command, "--steps", "3", "--hypotheses", "7", "--no-faithful"]) == 0
    assert "drpose:martinez: " in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drpose-martinez.onnx", "small.safetensors"]
    with OrtRunner(tmp_path / "drpose-martinez.onnx") as runner:
        contract = runner.contract
        assert (contract.steps, contract.network["steps"], contract.noise_shape) == (3, 3, (3, 17, 3))
        assert (contract.hypotheses, contract.network["faithful"]) == (7, False)
        keypoints, confidence = np.zeros((2, 17, 2), np.float32), np.ones((2, 17), np.float32)
        poses, _ = runner.sample(keypoints, confidence, [NoiseKey(0, "x", 0, i) for i in range(2)], 5)
    assert poses.shape == (2, 5, 17, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--lifter", "drpose:htnet"], 1, "holds weights of 'drpose', not of 'drpose:htnet'. Use --lifter drpose"),
        (["--lifter", "mdn"], 1, "holds weights of 'drpose', not of 'mdn'"),
        (["--lifter", "drpose:martinez", "--steps", "0"], 2, "0 diffusion steps are not possible"),
        (["--lifter", "drpose:martinez", "--steps", "999"], 2, "999 diffusion steps are not possible"),
        (["--lifter", "drpose:martinez", "--hypotheses", "-1"], 2, "-1 hypotheses are not possible"),
        (["--lifter", "drpos"], 2, "Did you mean drpose"),
        (["--lifter", "mdn", "--lifter", "htnet"], 2, "exactly one --lifter"),
    ],
)
def test_wrong_calls_are_one_sentence(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    assert main(["build-engines", "--checkpoint", str(weights), "-o", str(tmp_path), *arguments]) == code
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_found_before_anything_is_exported(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posepipe.trt_build.engine.graphs.make_graphs", lambda *_: pytest.fail("exported"))
    (tmp_path / "file").touch()
    build = ["build-engines", "--lifter", "drpose:martinez", "--checkpoint", str(weights), "-o"]
    assert main([*build, str(tmp_path / "file" / "folder")]) == 1
    error = capsys.readouterr().err
    assert "Cannot write to" in error
    assert error.count("\n") == 1


def test_absent_weights_and_folders_are_one_sentence(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ["build-engines", "--lifter"]
    assert main([*build, "drpose:dcgct", "-o", str(tmp_path)]) == 1
    assert "import-checkpoint --from drpose" in capsys.readouterr().err
    assert main([*build, "htnet", "--checkpoint", str(tmp_path / "none"), "-o", str(tmp_path)]) == 1
    assert "Check the path" in capsys.readouterr().err
    assert main([*build, "drpose:martinez", "--checkpoint", str(weights)]) == 2
    assert "Give -o DIR" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([*build, "drpose:martinez", "--checkpoint", str(weights), "-o", str(tmp_path / "file")]) == 1
    assert "Cannot write to" in capsys.readouterr().err
    (tmp_path / "text").write_text("hello")
    assert main([*build, "htnet", "--checkpoint", str(tmp_path / "text"), "-o", str(tmp_path)]) == 1
    assert "Cannot read the checkpoint" in capsys.readouterr().err


def test_the_list_says_everything_of_every_lifter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lifters"]) == 0
    text = capsys.readouterr().out
    for e in LIFTERS:
        for word in (e.name, e.paper, f"{e.parameters:,}", e.noise, e.numbers):
            assert word in text, (e.name, word)
    unshipped = next(e for e in LIFTERS if e.source and not e.checkpoint)
    assert f"none: import-checkpoint --from {unshipped.source}" in text


def test_one_lifter_is_described_with_the_provenance_of_its_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lifters", "mdn"]) == 0
    text = capsys.readouterr().out
    assert "Li & Lee, CVPR 2019" in text
    assert "mdn.safetensors" in text
    assert main(["lifters", "drpose:htnet"]) == 0
    assert "arXiv 2401.04921" in capsys.readouterr().out
    assert main(["lifters", "nothing"]) == 2
