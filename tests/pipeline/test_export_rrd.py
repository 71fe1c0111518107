"""RRD: Rerun's own reader finds the people where the result file has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posepipe.camera import Intrinsics
from posepipe.pipeline.export.as_rrd import camera_of, view_frames, write
from posepipe.pipeline.export.choose import PoseChoice, load


def test_frames_are_those_of_the_file(tmp_path: Path, figure: Callable, record: Callable) -> None:
    rng = np.random.default_rng(2)
    people = {
        0: {"frame": np.array([0, 2]), "pose": figure(rng, 2)},
        3: {"frame": np.array([2]), "pose": figure(rng, 1)},
    }
    recording = load(record(tmp_path / "a.h5", people, 4), PoseChoice(1))
    frames = list(view_frames(recording, PoseChoice(1)))
    assert [[t.id for t in f.tracks] for f in frames] == [[0], [], [0, 3], []]
    assert [f.frame.pts for f in frames] == pytest.approx([0, 0.04, 0.08, 0.12])
    seen = frames[2].tracks[0]
    assert np.allclose(seen.pose3d.joints, 3 * people[0]["pose"][1], atol=1e-5)
    assert np.allclose(seen.hypotheses.joints[0], 2 * people[0]["pose"][1], atol=1e-5)
    assert seen.pose2d.keypoints[0].tolist() == [2.25, 3.25]
    camera = camera_of(recording)  # the fixture's is not whole
    assert (camera.width, camera.height, camera.assumed) == (640, 480, True)
    given = Intrinsics(500.0, 510.0, 320.0, 250.0, 640, 480, False, distortion=(0.1, -0.2, 0.0, 0.0))
    assert camera_of(replace(recording, header={"camera": given.to_json()})) == given


@pytest.mark.parametrize(("choice", "factor"), [(PoseChoice(), 1), (PoseChoice(2), 4)])
def test_what_reruns_reader_finds(
    tmp_path: Path, figure: Callable, record: Callable, choice: PoseChoice, factor: int
) -> None:
    dataframe = pytest.importorskip("rerun.dataframe", reason="needs rerun-sdk")
    pose = figure(np.random.default_rng(5), 3)
    source = record(tmp_path / "a.h5", {4: {"frame": np.array([0, 1, 3]), "pose": pose}}, 4)
    write(load(source, choice), tmp_path / "a.rrd", choice)
    view = dataframe.load_recording(tmp_path / "a.rrd").view(index="frame", contents="/**")

    def cells(column: str) -> list:
        return view.select("frame", column).read_all().column(1).to_pylist()

    joints = cells("/world/joints:Position3D")
    assert [len(j) for j in joints] == [17, 17, 0, 17]
    for index, row in ((0, 0), (1, 1), (3, 2)):
        found = np.array(joints[index])
        assert np.allclose(found - found[0], factor * pose[row], atol=1e-4)
    assert cells("/times/uncertainty_mm/4:Scalar")[0] == pytest.approx([50])
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".h5"] == ["a.rrd"]


def test_nobody_is_an_empty_scene(tmp_path: Path, record: Callable) -> None:
    pytest.importorskip("rerun", reason="needs rerun-sdk")
    write(load(record(tmp_path / "a.h5", {}, 3), PoseChoice()), tmp_path / "a.rrd", PoseChoice())
    assert (tmp_path / "a.rrd").stat().st_size > 500
