"""The motion file: what is in it is a person standing on the floor, and bad input leaves nothing behind."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from posepipe.errors import InputError, OutputError
from posepipe.skeleton import H36M_17
from posepipe.training.data.build import NOTICE, acclaim_clips, build_cmu, check_splits
from posepipe.training.data.clean import check_build, resample, steady_runs
from posepipe.training.data.motion import Clip, load_motion, write_motion

SHARED = Path(os.environ.get("POSEPIPE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "mocap"
BONES = np.array(H36M_17.bones)
HIP, L_HIP, R_HIP, SPINE, HEAD = (H36M_17.index(j) for j in ("hip", "l_hip", "r_hip", "spine", "head"))


def standing(frames: int = 60) -> np.ndarray:
    """A person with outstretched arms who drifts along x at 1 m/s (30 fps)."""
    pose = np.zeros((17, 3))
    for name, at in {
        "hip": (0, 0.9, 0), "r_hip": (-0.1, 0.9, 0), "r_knee": (-0.1, 0.5, 0), "r_ankle": (-0.1, 0.1, 0),
        "l_hip": (0.1, 0.9, 0), "l_knee": (0.1, 0.5, 0), "l_ankle": (0.1, 0.1, 0), "spine": (0, 1.1, 0),
        "thorax": (0, 1.35, 0), "neck": (0, 1.5, 0), "head": (0, 1.6, 0), "l_shoulder": (0.2, 1.35, 0),
        "l_elbow": (0.5, 1.35, 0), "l_wrist": (0.75, 1.35, 0), "r_shoulder": (-0.2, 1.35, 0),
        "r_elbow": (-0.5, 1.35, 0), "r_wrist": (-0.75, 1.35, 0),
    }.items():  # fmt: skip
        pose[H36M_17.index(name)] = at
    return pose + np.arange(frames)[:, None, None] / 30 * np.array([1.0, 0, 0])


def clip(name: str = "a", subject: str = "01", split: str = "train") -> Clip:
    return Clip(name, subject, standing().astype(np.float32), "walk", "test", 30.0, split)


def test_file_returns_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "m.h5"
    clips = [clip("a"), clip("b", "05", "validation")]
    write_motion(clips, out, "thanks")
    for read, wrote in zip(load_motion(out), clips, strict=True):
        np.testing.assert_array_equal(read.joints, wrote.joints)
        assert replace(read, joints=wrote.joints) == wrote
    assert [c.name for c in load_motion(out, "validation")] == ["b"]
    with h5py.File(out) as file:
        assert file.attrs["format"] == "posepipe-motion"
        assert file.attrs["notice"] == "thanks"
        assert file["clips/a/joints"].chunks is not None
    assert [p.name for p in out.parent.iterdir()] == ["m.h5"]


def test_unwritable_and_unreadable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        write_motion([clip()], tmp_path / "file" / "m.h5", "")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(OutputError, match="Cannot write"):
        write_motion([clip()], tmp_path / "folder.h5", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.h5"], "no temporary file stays"
    for path in (tmp_path / "absent.h5", tmp_path / "file"):
        with pytest.raises(InputError, match="Cannot read motion"):
            load_motion(path)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(InputError, match="not a posepipe-motion file"):
        load_motion(tmp_path / "other.h5")
    write_motion([clip()], tmp_path / "train.h5", "")
    with pytest.raises(InputError, match="no clips of the split 'validation'"):
        load_motion(tmp_path / "train.h5", "validation")


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "m.h5"
    write_motion([clip("old")], out, "")
    with pytest.raises(AttributeError):
        write_motion([clip("new"), None], out, "")  # type: ignore[list-item]
    assert [c.name for c in load_motion(out)] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["m.h5"]


def test_zip_errors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with pytest.raises(InputError, match="Cannot read motion"):
        acclaim_clips(path)
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match="Cannot read motion"):
        acclaim_clips(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("subjects/01/readme.txt", "")
    with pytest.raises(InputError, match="no AMC files"):
        build_cmu(path, None, tmp_path / "m.h5")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("subjects/01/01_01.amc", "1\n")
    with pytest.raises(InputError, match=r"01\.asf"):
        build_cmu(path, None, tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


def test_one_subject_never_stands_on_both_sides() -> None:
    with pytest.raises(InputError, match="Subject 01 stands in both"):
        check_splits([clip("a", "01", "train"), clip("b", "01", "validation")])
    with pytest.raises(InputError, match="named 'a'"):
        check_splits([clip("a"), clip("a")])


def test_implausible_bodies_are_refused() -> None:
    check_build(standing(), "good")
    holed = standing()
    holed[7, 3] = np.nan
    with pytest.raises(InputError, match="first in frame 7"):
        check_build(holed, "x")
    with pytest.raises(InputError, match="unit of length"):
        check_build(standing() * 2.2, "inches")
    stretched = standing()
    stretched[30:, H36M_17.index("l_wrist"), 0] += 0.02
    with pytest.raises(InputError, match="varies by 20"):
        check_build(stretched, "x")


def test_clip_is_cut_where_it_jumps() -> None:
    assert steady_runs(standing(120), 30, "x") == [slice(0, 120)]
    jump = standing(120)
    jump[80:, :, 0] += 1.0  # 30 m/s
    assert steady_runs(jump, 30, "x") == [slice(0, 78), slice(82, 120)]
    spike = standing(240)
    spike[100:105, H36M_17.index("r_ankle")] += 1.0  # a marker lost for a sixth of a second
    runs = steady_runs(spike, 30, "x")
    assert runs == [slice(0, 98), slice(107, 240)]
    shaky = standing(120)
    shaky[::3] += 1.0
    with pytest.raises(InputError, match="Leave this clip out"):
        steady_runs(shaky, 30, "x")


def test_resampling_takes_source_frames_at_the_right_times() -> None:
    times = np.arange(241)[:, None, None] * np.ones((1, 17, 3))
    np.testing.assert_array_equal(resample(times, 120, 30)[:, 0, 0], np.arange(0, 241, 4))
    uneven = resample(times, 120, 50)[:, 0, 0] / 120
    np.testing.assert_allclose(uneven, np.arange(len(uneven)) / 50, atol=0.5 / 120 + 1e-9)
    assert len(uneven) == 101
    with pytest.raises(InputError, match="cannot be resampled"):
        resample(times, 24, 30)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two subjects of the real archive, through the whole build, at 30 fps."""
    if not SHARED.exists():
        pytest.skip("no shared data")
    folder = tmp_path_factory.mktemp("mocap")
    keep = ("05/05.", "05/05_0", "02/02.", "02/02_01", "02/02_04", "02/02_05", "64/")
    with zipfile.ZipFile(SHARED / "cmu_asfamc_subset.zip") as whole, zipfile.ZipFile(folder / "s.zip", "w") as part:
        for name in whole.namelist():
            if any(name.startswith(f"subjects/{k}") for k in keep):
                part.writestr(name, whole.read(name))
    build_cmu(folder / "s.zip", SHARED / "cmu_actions_positions.npz", folder / "m.h5")
    with h5py.File(folder / "m.h5") as file:
        assert file.attrs["notice"] == NOTICE
        assert tuple(file.attrs["joint_names"]) == H36M_17.joints
    return load_motion(folder / "m.h5")


@pytest.mark.shared
def test_real_splits_are_disjoint_by_subject(real: list[Clip]) -> None:
    subjects = {split: {c.subject for c in real if c.split == split} for split in ("train", "validation")}
    assert subjects == {"train": {"02", "64", "actions"}, "validation": {"05"}}


@pytest.mark.shared
def test_real_bones_are_constant(real: list[Clip]) -> None:
    ends = ("l_knee", "l_ankle", "r_knee", "r_ankle", "l_elbow", "l_wrist", "r_elbow", "r_wrist", "head")
    rigid = [H36M_17.index(end) - 1 for end in ends]  # bone i ends in joint i + 1
    for subject in {c.subject for c in real}:
        joints = np.concatenate([c.joints for c in real if c.subject == subject]).astype(float)
        lengths = np.linalg.norm(joints[:, BONES[rigid, 1]] - joints[:, BONES[rigid, 0]], axis=-1)
        assert np.ptp(lengths, axis=0).max() < (2e-4 if subject == "actions" else 1e-5)
        # people: left like right within 5 %, thighs 36-46 cm, forearm 0.6 to 1.05 upper arms
        np.testing.assert_allclose(lengths[0, [0, 1, 4, 5]], lengths[0, [2, 3, 6, 7]], rtol=0.05)
        assert 0.36 < lengths[0, 0] < 0.46
        assert 0.55 < lengths[0, 5] / lengths[0, 4] < 1.05


@pytest.mark.shared
def test_real_people_stand_on_the_floor(real: list[Clip]) -> None:
    ankles = [H36M_17.index("l_ankle"), H36M_17.index("r_ankle")]
    for c in real:
        if c.subject in ("02", "05", "64"):
            lowest = c.joints[:, ankles, 1].min(axis=1)
            assert 0.0 < np.median(lowest) < 0.15, c.name
            assert 1.3 < np.percentile(c.joints[:, HEAD, 1], 75) < 2.0, c.name


@pytest.mark.shared
def test_real_left_is_left_and_knees_bend_backwards(real: list[Clip]) -> None:
    """Forward is left x up; a bent knee's hinge points to the person's left (heel to bottom). This fails for a mirrored
    skeleton, for swapped sides, and for the frames of 05_05 in which the right leg is turned around."""
    for c in real:
        joints = c.joints.astype(float)
        left = joints[:, L_HIP] - joints[:, R_HIP]
        for side in ("l", "r"):
            hip, knee, ankle = (joints[:, H36M_17.index(f"{side}_{j}")] for j in ("hip", "knee", "ankle"))
            hinge = np.cross(knee - hip, ankle - knee)
            bend = np.linalg.norm(hinge, axis=1)
            bent = bend > 0.6 * np.linalg.norm(knee - hip, axis=1) * np.linalg.norm(ankle - knee, axis=1)
            assert ((hinge * left).sum(axis=1)[bent] > 0).mean() > 0.98 if bent.any() else True, c.name
