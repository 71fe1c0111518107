"""Choosing a detector and a conversion, MMPose over its pipe, and the example of docs/detectors.md."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.conversion import COCO17_H36M17, COCO17_MEASURED
from posepipe.errors import CheckpointError, EngineError, MissingDependencyError, UsageError
from posepipe.pipeline.detect.boxes import whole_picture
from posepipe.pipeline.detect.choose import check_name, conversion_for, conversion_line
from posepipe.pipeline.detect.mmpose import MmposeProcess
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.skeleton import BLAZEPOSE_33, COCO_17, H36M_17
from posepipe.types import Frame

ROOT = Path(__file__).resolve().parents[2]
BLAZE = "blazepose33-h36m17@1"
IMAGE = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
WORKER = """
import json, sys
asked = json.loads(sys.argv[-1])
print(json.dumps({"ready": True, "device": "cpu", "people": bool(asked["people"]), "note": "said"}), flush=True)
shown = 0
for line in sys.stdin.buffer:
    request = json.loads(line)
    if request["op"] == "frame":
        h, w, c = request["shape"]
        data = sys.stdin.buffer.read(h * w * c)
        shown += 1
    elif request["op"] == "people":
        print(json.dumps({"boxes": [[1, 2, 3, data[5], 0.9]]}), flush=True)
    elif request["boxes"][0][0] < 0:
        sys.exit("Segmentation fault, say")
    else:
        count = len(request["boxes"])
        answer = {"keypoints": [[[shown, len(data)]] * 17] * count, "scores": [[0.5] * 17] * count}
        print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def worker(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    process = MmposeProcess("any", people=True, command=[sys.executable, str(tmp_path / "worker.py")])
    yield process
    process.close()


def test_the_pipe_carries_pictures_once_and_answers_in_shape(worker):
    boxes = np.ones((2, 4), np.float32)
    assert (worker.device, worker.note, worker.finds_people) == ("cpu", "said", True)
    np.testing.assert_array_equal(worker.find(IMAGE), [[1, 2, 3, 5]])
    keypoints, scores = worker.poses(IMAGE, boxes)
    assert (keypoints.shape, scores.shape) == ((2, 17, 2), (2, 17))
    assert keypoints[0, 0].tolist() == [1, IMAGE.size], "the picture went over once for both questions"
    assert worker.poses(IMAGE.copy(), boxes)[0][0, 0, 0] == 2


def test_a_worker_that_dies_is_one_sentence_with_its_last_words(worker):
    with pytest.raises(EngineError, match=r"MMPose has ended \(Segmentation fault, say\)"):
        worker.poses(IMAGE, np.full((1, 4), -1, np.float32))
    worker.close()
    worker.close()


def test_without_mmpose_the_error_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("POSEPIPE_MMPOSE_PYTHON", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "posepipe.pipeline.detect.mmpose.find_spec", lambda name: None if name == "mmpose" else real(name)
    )
    with pytest.raises(MissingDependencyError, match=r"MMPose is not installed. Install it with .*docs/detectors.md"):
        MmposeProcess("td-hm_mspn50_8xb32-210e_coco-256x192")
    monkeypatch.setenv("POSEPIPE_MMPOSE_PYTHON", str(tmp_path / "none"))
    with pytest.raises(MissingDependencyError, match="does not start"):
        MmposeProcess("any")
    monkeypatch.delenv("POSEPIPE_MMPOSE_PYTHON")
    assert main(["run", "x.mp4", "--detector", "blazpose"]) == 2
    assert "Did you mean 'blazepose'?" in capsys.readouterr().err


def test_our_detector_without_a_graph_names_the_command_that_makes_it(monkeypatch, tmp_path):
    from posepipe.pipeline.detect.choose import open_detector

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("posepipe.pipeline.detect.mmpose.find_python", lambda: None)
    with pytest.raises(CheckpointError, match=r"build-engines --detector hrnet-w32 --detector-weights FILE"):
        open_detector(RunSettings(detector="hrnet-w32"))
    with pytest.raises(CheckpointError, match=r"my.pth has to become a graph first"):
        open_detector(RunSettings(detector="hrnet-w32", detector_weights="my.pth"))


def test_names():
    for name in ("blazepose", "hrnet-w48-udp", "mspn50", "human", "rtmpose-m_8xb256-420e_coco-256x192", "x/y.onnx"):
        check_name(name)
    for name in ("hrnet-w23", "blaze pose", "mspn-50"):
        with pytest.raises(UsageError):
            check_name(name)


def test_settings_that_contradict_each_other_are_refused():
    for wrong in (
        {"keypoints": Path("x.npz"), "detector": "hrnet-w32"},
        {"clip": "S9/Photo/0"},
        {"detector_weights": "x.pth"},
        {"boxes": "full"},
        {"detector": "hrnet-w32", "find_every": 0},
    ):
        with pytest.raises(UsageError):
            RunSettings(**wrong)


def test_the_conversion_follows_detector_and_lifter():
    hrnet = RunSettings(detector="hrnet-w32")
    assert conversion_for(RunSettings(), BLAZE).name == BLAZE
    assert conversion_for(hrnet, BLAZE) is COCO17_MEASURED
    assert conversion_for(hrnet, "coco17-h36m17@1") is COCO17_H36M17
    assert conversion_line(COCO17_H36M17, "coco17-h36m17@1") == ""
    assert BLAZE in conversion_line(COCO17_MEASURED, BLAZE)
    assert conversion_for(RunSettings(detector="hrnet-w32", conversion="coco17-h36m17@1"), BLAZE) is COCO17_H36M17


def test_a_checkpoint_for_another_conversion_is_refused_with_the_fix():
    with pytest.raises(
        CheckpointError, match=r"from coco17-h36m17@1, which cannot be made of blazepose33.*--conversion"
    ):
        conversion_for(RunSettings(), "coco17-h36m17@1")
    with pytest.raises(CheckpointError, match=r"from h36m17@1, which cannot be made of coco17"):
        conversion_for(RunSettings(detector="hrnet-w32"), "h36m17@1")
    with pytest.raises(UsageError, match="is not for blazepose33"):
        conversion_for(RunSettings(conversion="coco17-h36m17@2"), BLAZE)


def test_the_measured_rule_is_nearer_to_the_actors_joints_than_the_nose_for_a_neck():
    errors = []
    for yaw in (0, 70, 150, 250):
        source = ActorSource(ActorScene(motion="walk", seconds=1, yaw_deg=yaw, seed=5))
        truth = source.truth(7)
        coco = truth.blazepose[[BLAZEPOSE_33.index(n) for n in COCO_17.joints]]
        torso = np.linalg.norm(truth.keypoints[8] - truth.keypoints[0])
        errors.append(
            [
                np.linalg.norm(c.points(coco) - truth.keypoints, axis=-1) / torso
                for c in (COCO17_MEASURED, COCO17_H36M17)
            ]
        )
    ours, published = np.mean(errors, axis=0)
    head = [H36M_17.index(j) for j in ("neck", "head")]
    assert ours.max() < 0.08
    assert ours[head].max() < 0.04
    assert published[head].min() > 0.12


def test_the_example_in_the_documentation_runs():
    text = (ROOT / "docs" / "detectors.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    space: dict = {}
    exec(code, space)
    with space["open_stick_figures"](whole_picture) as detector:
        (pose,) = detector.detect(Frame(0, 0.0, np.zeros((200, 100, 3), np.uint8)))
    assert pose.skeleton == "coco17"
    np.testing.assert_allclose(pose.keypoints[[0, 16]], [[50, 10], [50, 190]], atol=1e-3)
