"""CSV, JSON, NPZ and TRC: what is read back with another reader is what was recorded."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trc import TRCData

from posepipe.errors import InputError
from posepipe.pipeline.export import as_csv, as_json, as_npz, as_trc
from posepipe.pipeline.export.choose import PoseChoice, load
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.skeleton import H36M_17

FRAMES = 6
CHOICES = [(PoseChoice(), 1), (PoseChoice(2), 4)]  # and what the fixture multiplies the pose by


@pytest.fixture
def people(figure: Callable) -> dict[int, dict[str, np.ndarray]]:
    """Two people, seen in different frames; the first one's place is unknown in the middle."""
    rng = np.random.default_rng(11)
    root = np.array([[0.1, 0.2, 3.0], [np.nan] * 3, [0.3, 0.2, 3.5]])
    return {
        0: {"frame": np.array([0, 1, 4]), "pose": figure(rng, 3), "root": root},
        7: {"frame": np.array([1, 2]), "pose": figure(rng, 2)},
    }


@pytest.fixture
def source(tmp_path: Path, people: dict, record: Callable) -> Path:
    return record(tmp_path / "a.h5", people, FRAMES)


@pytest.mark.parametrize(("choice", "factor"), CHOICES)
def test_csv(tmp_path: Path, source: Path, people: dict, choice: PoseChoice, factor: int) -> None:
    as_csv.write(load(source, choice), tmp_path / "a.csv", choice)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["track"]) for row in rows] == [
        ("0", "0"),
        ("1", "0"),
        ("1", "7"),
        ("2", "7"),
        ("4", "0"),
    ]
    for row in rows:
        person = people[int(row["track"])]
        at = int(np.flatnonzero(person["frame"] == int(row["frame"]))[0])
        joints = [[float(row[f"{name}_{axis}_m"]) for axis in "xyz"] for name in H36M_17.joints]
        assert np.allclose(joints, factor * person["pose"][at], atol=1e-5)
        assert float(row["time_s"]) == pytest.approx(int(row["frame"]) / 25, abs=1e-6)
        assert float(row["l_knee_u_px"]) == 10.25 + int(row["frame"])
        assert float(row["l_knee_v_px"]) == 11.25 + int(row["frame"])
        assert float(row["r_wrist_confidence"]) == 1
        assert float(row["head_std_m"]) == 0.05
    assert [row["root_z_m"] for row in rows] == ["3.00000", "", "", "", "3.50000"]


@pytest.mark.parametrize(("choice", "factor"), CHOICES)
def test_json(tmp_path: Path, source: Path, people: dict, choice: PoseChoice, factor: int) -> None:
    as_json.write(load(source, choice), tmp_path / "a.json", choice)

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert document["pose"] == str(choice)
    assert document["joint_names"] == list(H36M_17.joints)
    assert document["frames"]["status"] == [0, 0, 0, 1, 0, 1]
    assert np.allclose(document["frames"]["time"], np.arange(FRAMES) / 25, atol=1e-6)
    assert [track["id"] for track in document["tracks"]] == [0, 7]
    for track in document["tracks"]:
        assert track["frame"] == people[track["id"]]["frame"].tolist()
        assert np.allclose(track["joints"], factor * people[track["id"]]["pose"], atol=1e-5)
        assert np.array(track["keypoints"]).shape == (len(track["frame"]), 17, 2)
    assert document["tracks"][0]["root"] == [[0.1, 0.2, 3.0], [None] * 3, [0.3, 0.2, 3.5]]


@pytest.mark.parametrize(("choice", "factor"), CHOICES)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_npz(tmp_path: Path, people: dict, record: Callable, choice: PoseChoice, factor: int, dtype: str) -> None:
    source = record(tmp_path / "a.h5", people, FRAMES, dtype=dtype)
    for name in ("a.npz", "b.npz"):
        as_npz.write(load(source, choice), tmp_path / name, choice)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        data = dict(arrays)
    recorded = read_h5(source)
    assert data["track"].tolist() == [0, 0, 0, 7, 7]
    assert data["frame"].tolist() == [0, 1, 4, 1, 2]
    assert data["hypotheses"].dtype == dtype
    assert json.loads(str(data["header"]))["fps"] == 25
    for number, person in people.items():
        rows = data["track"] == number
        assert np.allclose(data["pose"][rows], factor * person["pose"], rtol=2e-3 if dtype == "float16" else 1e-6)
        assert np.array_equal(data["hypotheses"][rows], recorded.tracks[number].hypotheses)
        assert np.array_equal(data["root"][rows], recorded.tracks[number].root, equal_nan=True)


def test_trc(tmp_path: Path, source: Path, people: dict) -> None:
    as_trc.write(load(source, PoseChoice()), tmp_path / "a.trc", PoseChoice())
    lines = (tmp_path / "a.track0.trc").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "PathFileType\t4\t(X/Y/Z)\ta.track0.trc"
    said = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    assert (said["DataRate"], said["NumFrames"], said["NumMarkers"], said["Units"]) == ("25", "6", "17", "mm")
    assert lines[3].split("\t")[2::3] == list(H36M_17.joints)
    rows = [line.split("\t") for line in lines[6:-1]]
    assert [len(row) for row in rows] == [2 + 51] * FRAMES
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    place = {0: (0.1, 0.2, 3.0), 1: (0.1, 0.2, 3.0), 4: (0.3, 0.2, 3.5)}  # held where it was not known
    for index, row in enumerate(rows):
        assert float(row[1]) == pytest.approx(index / 25)
        if index not in place:
            assert set(row[2:]) == {""}
            continue
        at = people[0]["frame"].tolist().index(index)
        metres = (people[0]["pose"][at] + place[index]) * (1, -1, -1)
        assert np.allclose(np.array(row[2:], float).reshape(17, 3), 1000 * metres, atol=0.01)
    assert (tmp_path / "a.track7.trc").exists()


def test_trc_with_another_reader(tmp_path: Path, source: Path, people: dict) -> None:
    as_trc.write(load(source, PoseChoice()), tmp_path / "a.trc", PoseChoice())
    file = TRCData()
    file.load(tmp_path / "a.track7.trc")
    assert (file["NumFrames"], file["Units"], file["Markers"]) == (FRAMES, "mm", list(H36M_17.joints))
    for row, index in enumerate((1, 2)):
        time, markers = file[index + 1]
        assert time == pytest.approx(index / 25)
        assert np.allclose(markers, people[7]["pose"][row] * (1000, -1000, -1000), atol=0.01)
    assert np.isnan(file[1][1]).all()


def test_nobody(tmp_path: Path, record: Callable) -> None:
    """Tables can be empty, motion cannot."""
    recording = load(record(tmp_path / "a.h5", {}, 3), PoseChoice(1))
    for module, name in ((as_csv, "a.csv"), (as_json, "a.json"), (as_npz, "a.npz")):
        module.write(recording, tmp_path / name, PoseChoice(1))
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "a.json").read_text())["tracks"] == []
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["pose"].shape == (0, 17, 3)
        assert arrays["hypotheses"].shape == (0, 3, 17, 3)
    with pytest.raises(InputError, match="Nobody was found"):
        as_trc.write(recording, tmp_path / "a.trc", PoseChoice(1))
    assert not (tmp_path / "a.trc").exists()
