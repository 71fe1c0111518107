"""C3D, through ezc3d, which is the reader of OpenSim: another library than the one that writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ezc3d
import numpy as np
import pytest

from posepipe.errors import InputError
from posepipe.pipeline.export.as_c3d import write
from posepipe.pipeline.export.choose import PoseChoice, load
from posepipe.pipeline.sink.h5 import Recording, TrackRecord
from posepipe.skeleton import H36M_17


def read(path: Path) -> tuple[np.ndarray, dict]:
    """(T, 17, 3) millimetres, NaN where a marker is invalid; and the parameters."""
    file = ezc3d.c3d(str(path))
    return np.moveaxis(file["data"]["points"][:3], (0, 1, 2), (2, 1, 0)), file["parameters"]


@pytest.mark.parametrize(("choice", "factor"), [(PoseChoice(), 1), (PoseChoice(2), 4)])
def test_markers(tmp_path: Path, figure: Callable, record: Callable, choice: PoseChoice, factor: int) -> None:
    rng = np.random.default_rng(11)
    root = np.array([[0.1, 0.2, 3.0], [np.nan] * 3, [0.3, 0.2, 3.5]])
    people = {
        0: {"frame": np.array([0, 1, 4]), "pose": figure(rng, 3), "root": root},
        7: {"frame": np.array([1, 2]), "pose": figure(rng, 2)},
    }
    people[7]["pose"][0, 5] = np.nan
    write(load(record(tmp_path / "ä.h5", people, 6), choice), tmp_path / "ä.c3d", choice)
    markers, said = read(tmp_path / "ä.track0.c3d")
    assert said["POINT"]["LABELS"]["value"] == list(H36M_17.joints)
    assert said["POINT"]["UNITS"]["value"] == ["mm"]
    assert said["POINT"]["RATE"]["value"] == 25
    assert said["POINT"]["X_SCREEN"]["value"] == ["+X"]
    assert said["POINT"]["Y_SCREEN"]["value"] == ["+Y"]
    assert said["POSEPIPE"]["POSE"]["value"] == [str(choice)]
    assert markers.shape == (6, 17, 3)
    places = np.array([(0.1, 0.2, 3.0), (0.1, 0.2, 3.0), (0.3, 0.2, 3.5)])[:, None]  # held where it was not known
    wanted = (factor * people[0]["pose"] + places) * (1, -1, -1) * 1000
    assert np.allclose(markers[[0, 1, 4]], wanted, atol=0.01)
    assert np.isnan(markers[[2, 3, 5]]).all()
    markers, _ = read(tmp_path / "ä.track7.c3d")
    unknown = np.isnan(markers).any(-1)
    assert unknown[[0, 3, 4, 5]].all()
    assert np.flatnonzero(unknown[1]).tolist() == [5]
    assert not unknown[2].any()


def test_uneven_times_are_played_at_their_own_speed(tmp_path: Path, figure: Callable, record: Callable) -> None:
    pose = figure(np.random.default_rng(2), 5)
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(5), "pose": pose}}, 5, pts=[1.0, 1.1, 1.2, 1.5, 1.6])
    write(load(source, PoseChoice()), tmp_path / "a.c3d", PoseChoice())
    markers, said = read(tmp_path / "a.c3d")
    assert said["POINT"]["RATE"]["value"] == pytest.approx(10)
    assert np.allclose(markers, pose[[0, 1, 2, 2, 2, 3, 4]] * (1000, -1000, -1000), atol=0.01)


def test_more_frames_than_sixteen_bits_count(tmp_path: Path) -> None:
    """C3D's header counts to 65,535; longer clips say their length in other fields."""
    frames = 65_600
    wave = np.sin(np.arange(frames) / 50)
    pose = (np.ones((frames, 17, 3)) * wave[:, None, None]).astype(np.float32)
    ones, none = np.ones((frames, 17), np.float32), np.full((frames, 3), np.nan, np.float32)
    empty = np.zeros((frames, 0, 17, 3), np.float16), np.zeros((frames, 0), np.float32)
    track = TrackRecord(np.arange(frames), np.zeros((frames, 17, 2), np.float32), ones, *empty, pose, ones, none)
    recording = Recording({}, np.arange(frames) / 30, np.zeros(frames, np.uint8), {0: track})
    write(recording, tmp_path / "long.c3d", PoseChoice())
    markers, _ = read(tmp_path / "long.c3d")
    assert len(markers) == frames
    assert np.allclose(markers[:, 3, 0], 1000 * wave, atol=0.01)


def test_nobody(tmp_path: Path, record: Callable) -> None:
    with pytest.raises(InputError, match="Nobody was found"):
        write(load(record(tmp_path / "a.h5", {}, 3), PoseChoice()), tmp_path / "a.c3d", PoseChoice())
    assert not (tmp_path / "a.c3d").exists()
