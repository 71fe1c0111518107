"""The ASF/AMC reader and forward kinematics, against positions worked out by hand and scipy's rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posepipe.errors import InputError
from posepipe.training.data.acclaim import rotation
from posepipe.training.data.asfamc import forward_kinematics, read_amc, read_asf

ASF = """# a hip bone to the left, an arm of two bones along it
:version 1.10
:units
  mass 1.0
  length 0.5
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name fixed
     direction 0 2 0
     length 3
     axis 0 0 0 XYZ
  end
  begin
     id 2
     name upper
     direction 1 0 0
     length 2
     axis 0 0 90 XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-60.0 70.0)
  end
  begin
     id 3
     name lower
     direction 1 0 0
     length 1
     axis 0 0 0 XYZ
    dof rz
    limits (-10 170)
  end
:hierarchy
  begin
    root fixed
    fixed upper
    upper lower
  end
"""
AMC = """#!comment
:FULLY-SPECIFIED
:DEGREES
1
root 10 20 30 0 0 0
upper 0 0 0
lower 0
2
root 0 0 0 0 90 0
upper 0 0 90
lower -90
3
root 0 0 0 90 0 90
upper 90 0 0
lower 90
"""
UNIT = 2 * 0.0254  # (1 / 0.5) inches


def test_skeleton_is_read_as_written() -> None:
    skeleton = read_asf(ASF)
    assert skeleton.joint_names == ("root", "fixed", "upper", "lower")
    assert skeleton.joint_parents == (-1, 0, 1, 2)
    assert skeleton.metres_per_unit == pytest.approx(UNIT)
    upper = skeleton.bones[1]
    assert upper.dof == ("rx", "ry", "rz")
    assert upper.limits == ((-160, 20), (-70, 70), (-60, 70))
    assert upper.axis == (0, 0, 90)
    assert skeleton.bones[0].direction == (0, 1, 0), "directions are made unit vectors"


def test_positions_worked_out_by_hand() -> None:
    skeleton = read_asf(ASF)
    positions = forward_kinematics(skeleton, read_amc(AMC, skeleton)) / UNIT
    # rest: up 3, then 2 and 1 along x
    np.testing.assert_allclose(positions[0], [[10, 20, 30], [10, 23, 30], [12, 23, 30], [13, 23, 30]], atol=1e-12)
    # upper turns +90 about z (x -> y), lower -90 (back to x), and the root +90 about y turns x into -z
    np.testing.assert_allclose(positions[1], [[0, 0, 0], [0, 3, 0], [0, 5, 0], [0, 5, -1]], atol=1e-12)
    # root: about x first (y -> z, z -> -y), then about z (x -> y, y -> -x). upper's own x axis is the file's y (its
    # frame is turned 90 about z): +90 about it takes x to -z, which the root takes to y and then to -x. lower's x goes
    # to y, stays there under upper, and the root takes it to z.
    np.testing.assert_allclose(positions[2], [[0, 0, 0], [0, 0, 3], [-2, 0, 3], [-2, 0, 4]], atol=1e-12)


@pytest.mark.parametrize("order", ["XYZ", "ZYX", "YZX", "XZ", "Y"])
def test_rotation_order_is_scipys_extrinsic_one(order: str) -> None:
    angles = np.random.default_rng(1).uniform(-3, 3, (20, len(order)))
    np.testing.assert_allclose(
        rotation(angles, order), Rotation.from_euler(order.lower(), angles).as_matrix(), atol=1e-12
    )


def test_bone_lengths_are_those_of_the_file_whatever_the_angles() -> None:
    skeleton = read_asf(ASF)
    rng = np.random.default_rng(2)
    lines = [":DEGREES"]
    for frame in range(1, 31):
        root, upper, (lower,) = rng.normal(0, 90, 6), rng.normal(0, 90, 3), rng.normal(0, 90, 1)
        lines += [
            str(frame),
            "root " + " ".join(map(str, root)),
            "upper " + " ".join(map(str, upper)),
            f"lower {lower}",
        ]
    positions = forward_kinematics(skeleton, read_amc("\n".join(lines), skeleton))
    lengths = np.linalg.norm(np.diff(positions, axis=1), axis=-1)
    np.testing.assert_allclose(lengths, np.tile(np.array([3, 2, 1]) * UNIT, (30, 1)), atol=1e-12)


def test_radians_and_degrees_agree() -> None:
    skeleton = read_asf(ASF)
    radians = AMC.replace(":DEGREES", ":RADIANS").replace("90", str(np.pi / 2))
    np.testing.assert_allclose(
        forward_kinematics(skeleton, read_amc(radians, skeleton)),
        forward_kinematics(skeleton, read_amc(AMC, skeleton)),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("direction 1 0 0\n     length 2", "direction 1 0 nan\n     length 2", "'upper' needs 3 finite numbers"),
        ("length 3", "length three", "length of bone 'fixed' must be numbers"),
        ("fixed upper", "fixed shin", "unknown bone 'shin'"),
        ("    upper lower\n", "", "'lower' does not hang from the root"),
        ("name lower", "name upper", "defined twice"),
        ("dof rz", "dof l", "only rx ry rz"),
        ("     axis 0 0 0 XYZ\n    dof rz", "    dof rz", "has no axis"),
        ("axis 0 0 90 XYZ", "axis 0 0 90 XYX", "order of axes"),
        ("           (-60.0 70.0)\n", "", "4 limit values"),
        ("length 0.5", "length 0", "must be positive"),
        ("order TX TY TZ RX RY RZ", "order TX TY TZ RX RY", "once each"),
        (ASF, "hello", "no bones"),
    ],
)
def test_damaged_skeletons_are_named(old: str, new: str, said: str) -> None:
    assert old in ASF
    with pytest.raises(InputError, match=said) as caught:
        read_asf(ASF.replace(old, new), "05.asf")
    assert "05.asf" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("upper 0 0 90", "upper 0 0", "line 10: 'upper' needs 3 values, found 2"),
        ("lower -90", "shin -90", "line 11: unknown bone 'shin'"),
        ("lower -90", "lower ninety", "bone 'lower' is not a number"),
        ("lower -90", "lower nan", "not finite in frame 2"),
        ("lower -90\n", "", "frame 2 has no values for 'lower'"),
        ("lower -90\n", "lower -90\nlower -90\n", "appears twice in frame 2"),
        ("\n2\n", "\n3\n", "expected frame 2, found 3"),
        ("\nlower 90\n", "\n", "frame 3 has no values for 'lower'"),
        (AMC, ":DEGREES\n", "no frames"),
    ],
)
def test_damaged_motions_are_named(old: str, new: str, said: str) -> None:
    assert old in AMC
    with pytest.raises(InputError, match=said) as caught:
        read_amc(AMC.replace(old, new), read_asf(ASF), "05_02.amc")
    assert "05_02.amc" in str(caught.value)


@pytest.mark.parametrize("cut", ["lower 90\n", "upper 90 0 0\nlower 90\n", " 0\nlower 90\n"])
def test_a_truncated_last_frame_can_be_left_out(cut: str) -> None:
    skeleton = read_asf(ASF)
    motion = read_amc(AMC.removesuffix(cut), skeleton, drop_truncated=True)
    assert motion.frames == 2
    assert motion.truncated
    np.testing.assert_array_equal(motion.channels["upper"], read_amc(AMC, skeleton).channels["upper"][:2])
    assert not read_amc(AMC, skeleton, drop_truncated=True).truncated


def test_damage_before_the_last_frame_is_never_left_out() -> None:
    with pytest.raises(InputError, match="'upper' needs 3 values"):
        read_amc(AMC.replace("upper 0 0 90", "upper 0 0"), read_asf(ASF), drop_truncated=True)
    with pytest.raises(InputError, match="frame 2 has no values"):
        read_amc(AMC.replace("lower -90\n", ""), read_asf(ASF), drop_truncated=True)
