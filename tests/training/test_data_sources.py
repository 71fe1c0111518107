"""Readers of other people's data sets, on small files of exactly their layouts, with a T pose of known numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.errors import InputError, UsageError
from posepipe.skeleton import H36M_17, MPI_INF_3DHP_17
from posepipe.training.data.layouts import H36M_32_TO_17
from posepipe.training.data.motion import load_keypoints_2d, load_motion
from posepipe.training.data.sources import build

# Metres: x to the person's left, y up, z to the front.
T_POSE = {
    "hip": (0, 0.9, 0), "r_hip": (-0.1, 0.9, 0), "r_knee": (-0.1, 0.5, 0.02), "r_ankle": (-0.1, 0.1, 0),
    "l_hip": (0.1, 0.9, 0), "l_knee": (0.1, 0.5, 0.03), "l_ankle": (0.1, 0.1, 0), "spine": (0, 1.1, 0),
    "thorax": (0, 1.35, 0), "neck": (0, 1.5, 0.08), "head": (0, 1.6, 0), "l_shoulder": (0.2, 1.35, 0),
    "l_elbow": (0.5, 1.35, 0), "l_wrist": (0.75, 1.35, 0), "r_shoulder": (-0.2, 1.35, 0),
    "r_elbow": (-0.5, 1.35, 0), "r_wrist": (-0.75, 1.35, 0),
}  # fmt: skip
EXPECTED = np.array([T_POSE[joint] for joint in H36M_17.joints])
# Human3.6M's order, joint by joint; None: the joints that do not move
H36M_32 = (
    *("hip", "r_hip", "r_knee", "r_ankle", None, None),
    *("l_hip", "l_knee", "l_ankle", None, None),
    *(None, "spine", "thorax", "neck", "head"),
    *(None, "l_shoulder", "l_elbow", "l_wrist", None, None, None, None),
    *(None, "r_shoulder", "r_elbow", "r_wrist", None, None, None, None),
)


def h36m_32(frames: int) -> np.ndarray:
    """(T, 32, 3) metres, z up as there: x left, y to the back. Walks 1 cm a frame along x."""
    pose = np.full((32, 3), 9.0)
    for index, joint in enumerate(H36M_32):
        if joint:
            x, y, z = T_POSE[joint]
            pose[index] = (x, -z, y)
    return pose + np.arange(frames)[:, None, None] * np.array([0.01, 0, 0])


def write_h36m_npz(folder: Path, change: Any = None) -> Path:
    frames = {"S1": 20, "S9": 12}
    tree = {s: {"Walking 1": h36m_32(n).astype(np.float32)} for s, n in frames.items()}
    seen = {
        s: {"Walking 1": [np.full((n + 3, 17, 2), 100.0 * k, np.float32) for k in range(4)]} for s, n in frames.items()
    }
    if change:
        change(tree, seen)
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=tree)  # type: ignore[arg-type]
    meta = {"num_joints": 17, "keypoints_symmetry": [[4, 5], [1, 2]]}
    np.savez_compressed(folder / "data_2d_h36m_gt.npz", positions_2d=seen, metadata=meta)  # type: ignore[arg-type]
    return folder / "data_3d_h36m.npz"


def walked(frames: int, step: int = 1) -> np.ndarray:
    return EXPECTED + np.arange(0, frames, step)[:, None, None] * np.array([0.01, 0, 0])


def test_videopose3d_npz(tmp_path: Path) -> None:
    source, out = write_h36m_npz(tmp_path), tmp_path / "m.h5"
    _, notes = build("h36m-npz", source, out)
    assert any("S5, S6, S7, S8, S11" in note for note in notes)
    assert any("data_2d_h36m_cpn_ft_h36m_dbb.npz" in note for note in notes)
    first, second = load_motion(out)
    assert (first.name, first.subject, first.action, first.fps, first.split) == (
        "S1_Walking_1", "S1", "Walking", 50.0, "train"
    )  # fmt: skip
    assert second.split == "validation"
    np.testing.assert_allclose(first.joints, walked(20), atol=1e-6)
    seen = load_keypoints_2d(out, "S1_Walking_1")
    assert [(d.detector, d.camera) for d in seen] == [
        ("gt", c) for c in ("54138969", "55011271", "58860488", "60457274")
    ]
    assert seen[2].points.shape == (20, 17, 2)
    assert (seen[2].points == 200).all()
    assert seen[2].names == H36M_17.joints

    build("h36m-npz", tmp_path, out, fps=25)  # the folder will do as well
    np.testing.assert_allclose(load_motion(out, "train")[0].joints, walked(20, 2), atol=1e-6)
    assert len(load_keypoints_2d(out, "S1_Walking_1")[0].points) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, _: p["S1"].update({"Walking 1": np.zeros((5, 31, 3))}), r"needs \(T, 32, 3\)"),
        (lambda p, _: p["S1"].update({"Walking 1": "text"}), "not an array of numbers"),
        (lambda p, _: p["S1"]["Walking 1"].__setitem__((4, 3), np.nan), "first in frame 4"),
        (lambda p, _: p["S1"]["Walking 1"].__imul__(1000), "unit of length"),
        (lambda p, _: p.update(S1=[1]), "not subjects of actions"),
        (lambda p, _: p.update(S2={}), "subject 'S2'"),
        (lambda p, _: p.clear(), "no motion"),
        (lambda _, k: k["S9"].clear(), "lacks S9 Walking 1"),
        (lambda _, k: k["S1"]["Walking 1"].__setitem__(1, np.zeros((7, 17, 2))), "has 7 frames, the 3D 20"),
        (lambda _, k: k["S1"]["Walking 1"].__setitem__(1, np.zeros((20, 16, 2))), r"not a finite \(T, 17, 2\)"),
    ],
)
def test_bad_h36m_npz(tmp_path: Path, change: Any, message: str) -> None:
    source = write_h36m_npz(tmp_path, change)
    with pytest.raises(InputError, match=message):
        build("h36m-npz", source, tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


def test_h36m_that_is_not_there_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*data_3d_h36m\.npz.*prepare_data_h36m\.py"):
        build("h36m-npz", tmp_path, tmp_path / "m.h5")
    with pytest.raises(InputError, match=r"no motion.*h36m\.zip"):
        build("h36m-h5", tmp_path, tmp_path / "m.h5")
    np.savez(tmp_path / "data_3d_h36m.npz", other=np.zeros(3))
    with pytest.raises(InputError, match=r"no 'positions_3d' \(only other"):
        build("h36m-npz", tmp_path, tmp_path / "m.h5")


def write_h36m_h5(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """h36m/S1 and S11 with one camera; returns its rotation and centre (mm) in the data set's world."""
    for subject, actions in (("S1", ("Walking 1",)), ("S11", ("Directions", "Eating"))):
        (root / "h36m" / subject / "MyPoses" / "3D_positions").mkdir(parents=True)
        (root / "h36m" / subject / "StackedHourglass").mkdir()
        for action in actions:
            with h5py.File(root / "h36m" / subject / "MyPoses" / "3D_positions" / f"{action}.h5", "w") as file:
                file["3D_positions"] = (h36m_32(8) * 1000).reshape(8, 96).T
            name = f"{action.replace(' ', '_')}.54138969.h5"
            with h5py.File(root / "h36m" / subject / "StackedHourglass" / name, "w") as file:
                file["poses"] = np.full((8, 16, 2), 7.0)
    rotation = np.array([[0, 1.0, 0], [0, 0, -1], [-1, 0, 0]])
    centre = np.array([4000.0, 200.0, 1500.0])
    with h5py.File(root / "h36m" / "cameras.h5", "w") as file:
        for subject in (1, 11):
            group = file.create_group(f"subject{subject}/camera1")
            group["R"], group["T"] = rotation.T, centre[:, None]
            group["f"], group["c"] = [[1145.0], [1143.0]], [[512.0], [515.0]]
            group["k"], group["p"] = np.zeros((3, 1)), np.zeros((2, 1))
            group["Name"] = np.array([[ord(letter)] for letter in "54138969"], np.uint16)
    return rotation, centre


def test_martinez_tree(tmp_path: Path) -> None:
    rotation, centre = write_h36m_h5(tmp_path)
    out = tmp_path / "m.h5"
    _, notes = build("h36m-h5", tmp_path, out)
    assert any("S11 Directions left out" in note for note in notes)
    clips = load_motion(out)
    assert [(c.name, c.split) for c in clips] == [("S11_Eating", "validation"), ("S1_Walking_1", "train")]
    np.testing.assert_allclose(clips[1].joints, walked(8), atol=1e-6)
    (seen,) = load_keypoints_2d(out, "S1_Walking_1")
    assert (seen.detector, seen.camera, seen.points.shape, seen.names[0]) == (
        "stacked_hourglass", "54138969", (8, 16, 2), "r_ankle"
    )  # fmt: skip
    with h5py.File(out) as file:
        camera = dict(file["cameras/S1/54138969"].attrs)
    # the same joints by the data set's own camera, in its own world
    there = (h36m_32(8)[:, H36M_32_TO_17] - centre / 1000) @ rotation.T
    here = (clips[1].joints - camera["centre"]) @ camera["rotation"].T
    np.testing.assert_allclose(here, there, atol=1e-6)
    assert (there[..., 2] > 0).all()
    assert camera["focal"].tolist() == [1145.0, 1143.0]


def test_bad_martinez_trees(tmp_path: Path) -> None:
    write_h36m_h5(tmp_path)
    path = tmp_path / "h36m" / "S1" / "MyPoses" / "3D_positions" / "Walking 1.h5"
    whole = path.read_bytes()
    with h5py.File(path, "w") as file:
        file["3D_positions"] = np.zeros((51, 8))
    with pytest.raises(InputError, match=r"needs \(96, T\)"):
        build("h36m-h5", tmp_path, tmp_path / "m.h5")
    for content in (whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match="Cannot read '3D_positions'"):
            build("h36m-h5", tmp_path, tmp_path / "m.h5")


def mpi_17(frames: int) -> np.ndarray:
    """(T, 17, 3) mm in a camera 3 m before the person, who faces it: their left is its right."""
    names = {"pelvis": "hip", "neck": "thorax", "head": "neck", "head_top": "head"}
    pose = np.array([T_POSE[names.get(joint, joint)] for joint in MPI_INF_3DHP_17.joints])
    return np.tile(pose * [1000, -1000, -1000] + [0, 0, 3000], (frames, 1, 1))


def write_3dhp(folder: Path, valid: list[int]) -> Path:
    (folder / "TS1").mkdir(parents=True, exist_ok=True)
    joints = mpi_17(len(valid))
    joints[np.array(valid) == 0] = np.nan
    with h5py.File(folder / "TS1" / "annot_data.mat", "w") as file:
        file["univ_annot3"] = joints[:, None]
        file["annot3"] = joints[:, None] * 1.1
        file["annot2"] = np.arange(17)[:, None] * np.ones((len(valid), 1, 17, 2))
        file["valid_frame"] = np.array(valid, float)[:, None]
    return folder


def test_3dhp_mat_and_npz(tmp_path: Path) -> None:
    out = tmp_path / "m.h5"
    valid = [0, 1, 1, 1, 0, 0, 1, 1]
    _, notes = build("3dhp-test", write_3dhp(tmp_path / "set", valid), out)
    assert any("TS2, TS3, TS4, TS5, TS6" in note for note in notes)
    clips = load_motion(out)
    assert [(c.name, c.subject, c.split, len(c.joints)) for c in clips] == [
        ("TS1", "TS1", "validation", 3), ("TS1.1", "TS1", "validation", 2)
    ]  # fmt: skip
    np.testing.assert_allclose(clips[0].joints[1], EXPECTED - [0, 0, 3], atol=1e-6)
    (seen,) = load_keypoints_2d(out, "TS1")
    assert seen.points[0, H36M_17.index("head"), 0] == MPI_INF_3DHP_17.index("head_top")
    assert seen.points[0, H36M_17.index("l_wrist"), 0] == MPI_INF_3DHP_17.index("l_wrist")

    data = {"TS1": {"data_2d": np.ones((8, 17, 2)), "data_3d": mpi_17(8), "valid": np.array(valid)}}
    np.savez_compressed(tmp_path / "data_test_3dhp.npz", data=data)  # type: ignore[arg-type]
    build("3dhp-test", tmp_path / "data_test_3dhp.npz", out)
    np.testing.assert_array_equal(load_motion(out)[1].joints, clips[1].joints)


def test_3dhp_with_all_28_joints(tmp_path: Path) -> None:
    """Names in the order of mpii_get_joint_set.m."""
    order = [
        *("spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top"),
        *(
            "l_clavicle",
            "l_shoulder",
            "l_elbow",
            "l_wrist",
            "l_hand",
            "r_clavicle",
            "r_shoulder",
            "r_elbow",
            "r_wrist",
            "r_hand",
        ),
        *("l_hip", "l_knee", "l_ankle", "l_foot", "l_toe", "r_hip", "r_knee", "r_ankle", "r_foot", "r_toe"),
    ]
    joints = np.zeros((2, 28, 3))
    for joint in MPI_INF_3DHP_17.joints:
        joints[:, order.index(joint)] = mpi_17(2)[:, MPI_INF_3DHP_17.index(joint)]
    data = {"TS1": {"data_2d": np.ones((2, 28, 2)), "data_3d": joints, "valid": np.ones(2)}}
    np.savez(tmp_path / "a.npz", data=data)  # type: ignore[arg-type]
    build("3dhp-test", tmp_path / "a.npz", tmp_path / "m.h5")
    np.testing.assert_allclose(load_motion(tmp_path / "m.h5")[0].joints[0], EXPECTED - [0, 0, 3], atol=1e-6)


def test_bad_3dhp(tmp_path: Path) -> None:
    out = tmp_path / "m.h5"
    with pytest.raises(InputError, match=r"no TS\*/annot_data\.mat.*3dhp-dataset"):
        build("3dhp-test", tmp_path, out)
    with pytest.raises(InputError, match="There is no"):
        build("3dhp-test", tmp_path / "absent", out)
    path = write_3dhp(tmp_path, [1, 1]) / "TS1" / "annot_data.mat"
    with h5py.File(path, "r+") as file:
        file["univ_annot3"][1, 0, 3] = np.nan
    with pytest.raises(InputError, match="first in frame 1"):
        build("3dhp-test", tmp_path, out)
    with h5py.File(path, "r+") as file:
        del file["univ_annot3"]
    with pytest.raises(InputError, match="has no univ_annot3"):
        build("3dhp-test", tmp_path, out)
    with h5py.File(path, "r+") as file:
        file["univ_annot3"] = mpi_17(3)
    with pytest.raises(InputError, match="flags of validity"):
        build("3dhp-test", tmp_path, out)
    write_3dhp(tmp_path, [0, 0])
    with pytest.raises(InputError, match="no valid frames"):
        build("3dhp-test", tmp_path, out)
    path.write_bytes(b"MATLAB 5.0")
    with pytest.raises(InputError, match="Cannot read"):
        build("3dhp-test", path, out)
    assert not out.exists()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write_h36m_npz(tmp_path), tmp_path / "m.h5"
    assert main(["data", "build", "--from", "h36m-npz", str(source), "-o", str(out)]) == 0
    assert "train: 1 clips, 20 frames\nvalidation: 1 clips, 12 frames" in capsys.readouterr().out
    assert main(["data", "build", "--from", "h36m-npz", str(tmp_path / "no"), "-o", str(tmp_path / "n.h5")]) == 1
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(UsageError, match="--map is for --from bvh"):
        build("h36m-npz", source, out, names=source)
