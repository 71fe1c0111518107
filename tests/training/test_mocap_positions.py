"""The reader of position clips and the bone that layout lost: restored exactly where it is known."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from posepipe.errors import InputError
from posepipe.training.data.asfamc import forward_kinematics, read_amc, read_asf
from posepipe.training.data.h36m17 import FROM_ACCLAIM, FROM_POSITIONS, to_h36m17
from posepipe.training.data.positions import PositionClips, read_positions, restore_thorax

SHARED = Path(os.environ.get("POSEPIPE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "mocap"

# position clips' joint -> (joint of the Acclaim model at its place, its parent), in the order of the npz
LAYOUT = {
    "Hips": ("root", ""),
    "LeftUpLeg": ("lhipjoint", "Hips"),
    "LeftLeg": ("lfemur", "LeftUpLeg"),
    "LeftFoot": ("ltibia", "LeftLeg"),
    "RightUpLeg": ("rhipjoint", "Hips"),
    "RightLeg": ("rfemur", "RightUpLeg"),
    "RightFoot": ("rtibia", "RightLeg"),
    "Spine": ("lowerback", "Hips"),
    "Spine1": ("upperback", "Spine"),
    "Neck": ("thorax", "Spine1"),
    "Neck1": ("lowerneck", "Neck"),
    "Head": ("upperneck", "Neck1"),
    "HeadEnd": ("head", "Head"),
    "LeftShoulder": ("thorax", "Spine1"),
    "LeftArm": ("lclavicle", "LeftShoulder"),
    "LeftForeArm": ("lhumerus", "LeftArm"),
    "LeftHand": ("lradius", "LeftForeArm"),
    "RightShoulder": ("thorax", "Spine1"),
    "RightArm": ("rclavicle", "RightShoulder"),
    "RightForeArm": ("rhumerus", "RightArm"),
    "RightHand": ("rradius", "RightForeArm"),
}


def write(path: Path, **changes: object) -> Path:
    good = {"joint_names": np.array(["a", "b"]), "parents": np.array([-1, 0]), "fps": np.float32(60)}
    arrays = {**good, "walk_1": np.ones((4, 2, 3), np.float32), **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_reads_what_was_written(tmp_path: Path) -> None:
    clip = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    source = read_positions(write(tmp_path / "m.npz", walk_1=clip))
    assert source.joint_names == ("a", "b")
    assert source.parents == (-1, 0)
    assert source.fps == 60
    np.testing.assert_array_equal(source.clips["walk_1"], clip)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fps": None}, "has no fps"),
        ({"walk_1": np.ones((4, 3, 3), np.float32)}, r"needs \(T, 2, 3\)"),
        ({"walk_1": np.full((4, 2, 3), np.nan, np.float32)}, "first in frame 0"),
        ({"walk_1": None}, "no clips"),
        ({"parents": np.array([1, 0])}, "do not fit"),
        ({"walk_1": np.array([{}], dtype=object)}, "not an array of numbers"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_positions(write(tmp_path / "m.npz", **changes))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_files_that_are_no_npz_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="Cannot read"):
        read_positions(path)
    with pytest.raises(InputError, match="Expected an npz"):
        read_positions(tmp_path / "absent.npz")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no shared data")
def test_lost_thorax_is_restored_exactly_where_it_is_known() -> None:
    with zipfile.ZipFile(SHARED / "cmu_asfamc_subset.zip") as archive:
        skeleton = read_asf(archive.read("subjects/02/02.asf").decode())
        motion = read_amc(archive.read("subjects/02/02_05.amc").decode(), skeleton)
    truth = forward_kinematics(skeleton, motion)
    ends = skeleton.joint_names
    names = tuple(LAYOUT)
    parents = tuple(-1 if not parent else names.index(parent) for _, parent in LAYOUT.values())
    whole = np.stack([truth[:, ends.index(end)] for end, _ in LAYOUT.values()], axis=1)
    lost = whole[:, names.index("Neck")] - whole[:, names.index("Spine1")]
    damaged = whole.copy()
    for joint in names[names.index("Neck") :]:
        damaged[:, names.index(joint)] -= lost
    restored = restore_thorax(PositionClips({"x": damaged}, names, parents, 120.0)).clips["x"]
    np.testing.assert_allclose(restored, whole, atol=1e-6)
    untouched = restore_thorax(PositionClips({"x": whole}, names, parents, 120.0)).clips["x"]
    np.testing.assert_array_equal(untouched, whole)
    # and both sources then name the same 17 points
    np.testing.assert_allclose(
        to_h36m17(restored, names, FROM_POSITIONS), to_h36m17(truth, ends, FROM_ACCLAIM), atol=1e-6
    )


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no shared data")
def test_position_clips_are_built_like_subject_02() -> None:
    source = restore_thorax(read_positions(SHARED / "cmu_actions_positions.npz"))
    with zipfile.ZipFile(SHARED / "cmu_asfamc_subset.zip") as archive:
        skeleton = read_asf(archive.read("subjects/02/02.asf").decode())
    lengths = {bone.name: bone.length * skeleton.metres_per_unit for bone in skeleton.bones}
    for clip in source.clips.values():
        for name, (end, parent) in LAYOUT.items():
            if end in lengths and parent != "Hips" and not name.endswith("Shoulder"):
                here = clip[:, source.joint_names.index(name)] - clip[:, source.joint_names.index(parent)]
                np.testing.assert_allclose(np.linalg.norm(here, axis=-1), lengths[end], atol=2e-4)


def test_mapping_refuses_another_skeleton() -> None:
    with pytest.raises(InputError, match="no joints named"):
        to_h36m17(np.zeros((1, 2, 3)), ("root", "thorax"), FROM_ACCLAIM)
