"""BVH: a T pose written by hand comes out where it stands, whatever the unit and the names; damaged files are named."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from posepipe.errors import InputError, UsageError
from posepipe.skeleton import H36M_17
from posepipe.training.data.build import position_clips
from posepipe.training.data.bvh import joint_positions, read_bvh
from posepipe.training.data.motion import load_motion
from posepipe.training.data.positions import read_positions
from posepipe.training.data.sources import build

SHARED = Path(os.environ.get("POSEPIPE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "mocap"
# name, parent, offset in metres; Mixamo's tree and names. Facing z, left is x.
MIXAMO = (
    ("Hips", "", (0, 0, 0)), ("Spine", "Hips", (0, 0.1, 0)), ("Spine1", "Spine", (0, 0.12, 0)),
    ("Spine2", "Spine1", (0, 0.13, 0)), ("Neck", "Spine2", (0, 0.15, 0)), ("Head", "Neck", (0, 0.1, 0)),
    ("HeadTop_End", "Head", (0, 0.15, 0)),
    ("LeftShoulder", "Spine2", (0.05, 0.1, 0)), ("LeftArm", "LeftShoulder", (0.12, 0, 0)),
    ("LeftForeArm", "LeftArm", (0.28, 0, 0)), ("LeftHand", "LeftForeArm", (0.25, 0, 0)),
    ("RightShoulder", "Spine2", (-0.05, 0.1, 0)), ("RightArm", "RightShoulder", (-0.12, 0, 0)),
    ("RightForeArm", "RightArm", (-0.28, 0, 0)), ("RightHand", "RightForeArm", (-0.25, 0, 0)),
    ("LeftUpLeg", "Hips", (0.1, -0.05, 0)), ("LeftLeg", "LeftUpLeg", (0, -0.42, 0)),
    ("LeftFoot", "LeftLeg", (0, -0.4, 0)),
    ("RightUpLeg", "Hips", (-0.1, -0.05, 0)), ("RightLeg", "RightUpLeg", (0, -0.42, 0)),
    ("RightFoot", "RightLeg", (0, -0.4, 0)),
)  # fmt: skip
STANDING = {
    "hip": (0, 0.95, 0), "r_hip": (-0.1, 0.95, 0), "r_knee": (-0.1, 0.53, 0), "r_ankle": (-0.1, 0.13, 0),
    "l_hip": (0.1, 0.95, 0), "l_knee": (0.1, 0.53, 0), "l_ankle": (0.1, 0.13, 0), "spine": (0, 1.22, 0),
    "thorax": (0, 1.5, 0), "neck": (0, 1.6, 0), "head": (0, 1.75, 0), "l_shoulder": (0.17, 1.45, 0),
    "l_elbow": (0.45, 1.45, 0), "l_wrist": (0.7, 1.45, 0), "r_shoulder": (-0.17, 1.45, 0),
    "r_elbow": (-0.45, 1.45, 0), "r_wrist": (-0.7, 1.45, 0),
}  # fmt: skip
POSE = np.array([STANDING[joint] for joint in H36M_17.joints])


def write_bvh(
    path: Path,
    turns: dict[str, tuple[float, float, float]] | None = None,
    unit: float = 100.0,
    prefix: str = "mixamorig:",
    frames: int = 20,
    fps: float = 30.0,
    end_site: bool = False,
    rename: dict[str, str] | None = None,
) -> Path:
    """turns: degrees about z, x, y of a joint's ZXY channels. The root stands at (0, 1 m, 0)."""
    lines, row = ["HIERARCHY"], ["0", str(unit), "0"]

    def add(name: str, offset: tuple[float, float, float]) -> None:
        children = [(n, o) for n, p, o in MIXAMO if p == name]
        lines.append(f"{'JOINT' if row[3:] else 'ROOT'} {prefix}{(rename or {}).get(name, name)}\n{{")
        position = "" if row[3:] else "Xposition Yposition Zposition "
        lines.append("OFFSET " + " ".join(str(value * unit) for value in offset))
        lines.append(f"CHANNELS {6 if position else 3} {position}Zrotation Xrotation Yrotation")
        row.extend(str(angle) for angle in (turns or {}).get(name, (0, 0, 0)))
        for child, child_offset in children:
            if end_site and child == "HeadTop_End":
                lines.append(f"End Site\n{{\nOFFSET 0 {0.15 * unit} 0\n}}")
            else:
                add(child, child_offset)
        if not children:
            lines.append("End Site\n{\nOFFSET 0 1 0\n}")
        lines.append("}")

    add("Hips", (0, 0, 0))
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {1 / fps:.8f}", *[" ".join(row)] * frames]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("unit", [1, 100, 1000, 1 / 0.0254])
@pytest.mark.parametrize("end_site", [False, True])
def test_t_pose_by_names_in_any_unit(tmp_path: Path, unit: float, end_site: bool) -> None:
    path = write_bvh(tmp_path / "tom_01.bvh", unit=unit, end_site=end_site)
    build("bvh", path, tmp_path / "m.h5")
    (clip,) = load_motion(tmp_path / "m.h5")
    np.testing.assert_allclose(clip.joints, np.tile(POSE, (20, 1, 1)), atol=1e-5)
    assert (clip.name, clip.subject, clip.split, clip.fps) == ("tom_01", "tom", "train", pytest.approx(30))


def test_rotations_turn_as_their_channels_stand(tmp_path: Path) -> None:
    # root: a quarter turn to the left (about y): left x becomes -z. Left forearm: about z up, then on about x.
    path = write_bvh(tmp_path / "a.bvh", {"Hips": (0, 0, 90), "LeftForeArm": (90, 0, 0)})
    build("bvh", path, tmp_path / "m.h5")
    pose = load_motion(tmp_path / "m.h5")[0].joints[0]
    np.testing.assert_allclose(pose[H36M_17.index("r_elbow")], (0, 1.45, 0.45), atol=1e-5)
    np.testing.assert_allclose(pose[H36M_17.index("l_elbow")], (0, 1.45, -0.45), atol=1e-5)
    np.testing.assert_allclose(pose[H36M_17.index("l_wrist")], (0, 1.7, -0.45), atol=1e-5)
    # ZXY: R = Rz Rx Ry. y first: x -> -z; then x: -z -> y; then z: y -> -x.
    write_bvh(path, {"LeftForeArm": (90, 90, 90)})
    build("bvh", path, tmp_path / "m.h5")
    pose = load_motion(tmp_path / "m.h5")[0].joints[0]
    np.testing.assert_allclose(pose[H36M_17.index("l_wrist")], (0.45 - 0.25, 1.45, 0), atol=1e-5)


def test_rate_split_and_folder(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write_bvh(tmp_path / "in" / "ann_1.bvh", fps=120, frames=80)
    write_bvh(tmp_path / "in" / "deep" / "bob_1.BVH", fps=24)
    build("bvh", tmp_path / "in", tmp_path / "m.h5", validation=("bob",))
    assert [(c.name, c.split, len(c.joints), round(c.fps)) for c in load_motion(tmp_path / "m.h5")] == [
        ("ann_1", "train", 20, 30), ("bob_1", "validation", 20, 24)
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"subject 'eve'.*ann, bob"):
        build("bvh", tmp_path / "in", tmp_path / "m.h5", validation=("eve",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.bvh files"):
        build("bvh", tmp_path / "empty", tmp_path / "m.h5")


def test_names_by_map(tmp_path: Path) -> None:
    path = write_bvh(
        tmp_path / "a.bvh", prefix="", rename={"RightUpLeg": "Bone.004", "Spine1": "Bone.002", "Spine": "B"}
    )
    with pytest.raises(InputError, match=r"no joint found for r_hip, spine, among Hips.*--map"):
        build("bvh", path, tmp_path / "m.h5")
    table = tmp_path / "map.toml"
    table.write_text('r_hip = "Bone.004"\nspine = "Bone.002"\n')
    build("bvh", path, tmp_path / "m.h5", names=table)
    np.testing.assert_allclose(load_motion(tmp_path / "m.h5")[0].joints[0], POSE, atol=1e-5)
    for text, message in (
        ('r_hipp = "x"', "Did you mean 'r_hip'"),
        ("r_hip = 3", "must be the name of a joint"),
        ('r_hip = "Nobody"', "no joint 'Nobody'"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            build("bvh", path, tmp_path / "m.h5", names=table)


def test_damaged_files_end_in_one_sentence(tmp_path: Path) -> None:
    path, out = write_bvh(tmp_path / "a.bvh"), tmp_path / "m.h5"
    whole = path.read_text()
    for text, message in (
        ("", "no MOTION"),
        (whole[: whole.index("MOTION")], "no MOTION"),
        (whole[: len(whole) - 300], "values, 20 frames of"),
        (whole.replace("Frames: 20", "Frames: 21"), "values, 21 frames of"),
        (whole.replace("Frames: 20", "Frames: x"), "invalid literal"),
        (whole.replace("HIERARCHY", "NOTHING"), "does not start with HIERARCHY"),
        (whole.replace("}\nMOTION", "MOTION"), "hierarchy ends too early"),
        (whole.replace("Xrotation", "Wrotation", 1), "channels of"),
        (whole.replace("RightArm", "LeftArm"), "two joints are named"),
        (whole[: whole.rindex(" ")] + " nan\n", "not finite, first in frame 19"),
        (re.sub(r"OFFSET \S+", "OFFSET inf", whole, count=1), "not finite"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            build("bvh", path, out)
    with pytest.raises(InputError, match="fit no unit"):
        build("bvh", write_bvh(path, unit=5), out)
    with pytest.raises(InputError, match="Cannot read"):
        build("bvh", tmp_path / "absent.bvh", out)
    assert not out.exists()


@pytest.mark.shared
def test_cmu_bvh_equals_its_positions(tmp_path: Path) -> None:
    """A real clip as BVH (offsets as position channels, CMU's unit) gives what the reader of positions gives."""
    if not SHARED.exists():
        pytest.skip("no shared data")
    archive = SHARED / "cmu_actions_positions.npz"
    source = read_positions(archive)
    name = "walking_1" if "walking_1" in source.clips else next(iter(source.clips))
    joints = source.clips[name] / (2.54 / 100 / 0.45)
    lines = ["HIERARCHY"]
    order: list[int] = []

    def add(index: int) -> None:
        order.append(index)
        kind = "ROOT" if source.parents[index] < 0 else "JOINT"
        lines.append(f"{kind} {source.joint_names[index]} {{ OFFSET 0 0 0 CHANNELS 3 Xposition Yposition Zposition")
        for child, parent in enumerate(source.parents):
            if parent == index:
                add(child)
        lines.append("}")

    add(0)
    local = np.stack([joints[:, j] - (joints[:, source.parents[j]] if source.parents[j] >= 0 else 0) for j in order], 1)
    lines += ["MOTION", f"Frames: {len(local)}", f"Frame Time: {1 / source.fps:.9f}"]
    lines += [" ".join(f"{value:.7f}" for value in frame.ravel()) for frame in local]
    path = tmp_path / "x_1.bvh"
    path.write_text("\n".join(lines))
    np.testing.assert_allclose(joint_positions(read_bvh(path)), joints[:, order], atol=1e-5)
    build("bvh", path, tmp_path / "m.h5")
    wanted = [clip for clip in position_clips(archive) if clip.source.endswith(f":{name}")]
    for got, want in zip(load_motion(tmp_path / "m.h5"), wanted, strict=True):
        np.testing.assert_allclose(got.joints, want.joints, atol=1e-5)
