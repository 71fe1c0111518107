"""BVH: an independent reader finds every joint where the pose was, at constant bone lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bvhio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.errors import InputError
from posepipe.pipeline.export.as_bvh import write
from posepipe.pipeline.export.bvh_fit import euler_zxy, fit
from posepipe.pipeline.export.choose import PoseChoice, load
from posepipe.skeleton import H36M_17

FPS = 25.0


@dataclass
class Joint:
    name: str
    parent: int
    offset: np.ndarray
    channels: list[str] = field(default_factory=list)


@dataclass
class Bvh:
    joints: list[Joint]
    step: float
    values: np.ndarray  # (frames, channels)

    def positions(self) -> dict[str, np.ndarray]:
        """name -> (frames, 3) in the file's units, by 4x4 matrices along the tree."""
        frames, column = len(self.values), 0
        world: list[np.ndarray] = []
        for joint in self.joints:
            matrix = np.tile(np.eye(4), (frames, 1, 1))
            matrix[:, :3, 3] = joint.offset
            for channel in joint.channels:
                value = self.values[:, column]
                column += 1
                step = np.tile(np.eye(4), (frames, 1, 1))
                axis = "XYZ".index(channel[0])
                if channel.endswith("position"):
                    step[:, axis, 3] = value
                else:
                    i, j = (axis + 1) % 3, (axis + 2) % 3
                    cos, sin = np.cos(np.radians(value)), np.sin(np.radians(value))
                    step[:, i, i], step[:, i, j], step[:, j, i], step[:, j, j] = cos, -sin, sin, cos
                matrix = matrix @ step
            world.append(matrix if joint.parent < 0 else world[joint.parent] @ matrix)
        assert column == self.values.shape[1]
        return {joint.name: matrix[:, :3, 3] for joint, matrix in zip(self.joints, world, strict=True)}


def read_bvh(path: Path) -> Bvh:
    words = path.read_text(encoding="ascii").split()
    joints: list[Joint] = []
    stack: list[int] = []
    at = words.index("HIERARCHY") + 1
    while words[at] != "MOTION":
        word = words[at]
        if word in ("ROOT", "JOINT", "End"):
            name = words[at + 1] if word != "End" else f"end of {joints[stack[-1]].name}"
            joints.append(Joint(name, stack[-1] if stack else -1, np.zeros(3)))
            assert words[at + 2] == "{"
            stack.append(len(joints) - 1)
            at += 3
        elif word == "OFFSET":
            joints[stack[-1]].offset = np.array(words[at + 1 : at + 4], float)
            at += 4
        elif word == "CHANNELS":
            count = int(words[at + 1])
            joints[stack[-1]].channels = words[at + 2 : at + 2 + count]
            at += 2 + count
        else:
            assert word == "}", word
            stack.pop()
            at += 1
    assert not stack
    assert words[at + 1] == "Frames:"
    assert words[at + 3 : at + 5] == ["Frame", "Time:"]
    frames = int(words[at + 2])
    return Bvh(joints, float(words[at + 5]), np.array(words[at + 6 :], float).reshape(frames, -1))


def found(path: Path) -> np.ndarray:
    """(frames, 17, 3) metres, back in the camera frame: x right, y down, z forward."""
    places = read_bvh(path).positions()
    return np.stack([places[name] for name in H36M_17.joints], axis=1) / 100 * (1, -1, -1)


def normalised(joints: np.ndarray) -> np.ndarray:
    """The same directions with the clip's median bone lengths."""
    out = joints.copy()
    for parent, child in H36M_17.bones:
        bone = joints[:, child] - joints[:, parent]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        out[:, child] = out[:, parent] + bone / length * np.median(length)
    return out


@pytest.mark.parametrize(("choice", "factor"), [(PoseChoice(), 1.0), (PoseChoice(1), 3.0)])
def test_joints_come_back_where_they_were(
    tmp_path: Path, figure: Callable, record: Callable, choice: PoseChoice, factor: float
) -> None:
    rng = np.random.default_rng(3)
    pose = figure(rng, 60)
    root = np.array([0.3, 0.1, 4.0]) + np.cumsum(rng.normal(0, 0.01, (60, 3)), axis=0)
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(60), "pose": pose, "root": root}}, 60)
    write(load(source, choice), tmp_path / "a.bvh", choice)
    wanted = normalised(factor * pose) + root[:, None]
    assert np.abs(found(tmp_path / "a.bvh") - wanted).max() < 0.0002  # the promise is 2 mm
    bvh = read_bvh(tmp_path / "a.bvh")
    assert bvh.step == pytest.approx(1 / FPS, abs=1e-6)
    assert [j.name for j in bvh.joints if j.parent < 0] == ["hip"]


def test_another_library_reads_the_same(tmp_path: Path, figure: Callable, record: Callable) -> None:
    """bvhio, which shares no line with the reader above."""
    pose = figure(np.random.default_rng(6), 12)
    root = np.array([0.3, 0.1, 4.0]) + np.linspace(0, 1, 36).reshape(12, 3)
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(12), "pose": pose, "root": root}}, 12)
    write(load(source, PoseChoice()), tmp_path / "a.bvh", PoseChoice())
    wanted = normalised(pose) + root[:, None]
    tree = bvhio.readAsHierarchy(str(tmp_path / "a.bvh"))
    for frame in (0, 5, 11):
        tree.loadPose(frame)
        places = {joint.Name: tuple(joint.PositionWorld) for joint, _, _ in tree.layout()}
        found = np.array([places[name] for name in H36M_17.joints]) / 100 * (1, -1, -1)
        assert np.abs(found - wanted[frame]).max() < 0.0002  # the promise is 2 mm


def test_bones_keep_their_median_length(tmp_path: Path, figure: Callable, record: Callable) -> None:
    pose = figure(np.random.default_rng(5), 40, wobble=0.1)
    write(
        load(record(tmp_path / "a.h5", {0: {"frame": np.arange(40), "pose": pose}}, 40), PoseChoice()),
        tmp_path / "a.bvh",
        PoseChoice(),
    )
    joints = found(tmp_path / "a.bvh")
    for parent, child in H36M_17.bones:
        length = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
        seen = np.linalg.norm(pose[:, child] - pose[:, parent], axis=-1)
        assert np.ptp(length) < 1e-4
        assert length[0] == pytest.approx(np.median(seen), abs=1e-4)


def test_somebody_who_faces_the_camera_in_a_t_is_the_rest_pose() -> None:
    """Left is +x, up is +y, towards the camera +z: the identity everywhere, as retargeting tools expect."""
    way = {"spine": "u", "thorax": "u", "neck": "u", "head": "u", "knee": "d", "ankle": "d"}
    axes = {"u": (0, 1, 0), "d": (0, -1, 0), "l_": (1, 0, 0), "r_": (-1, 0, 0)}
    joints = np.zeros((1, 17, 3))
    for parent, child in H36M_17.bones:
        name = H36M_17.joints[child]
        joints[:, child] = joints[:, parent] + np.multiply(
            axes[way.get(name.removeprefix("l_").removeprefix("r_"), name[:2])], 0.3
        )
    assert np.allclose(fit(joints).rotations, np.eye(3), atol=1e-12)
    for name in ("r_elbow", "l_ankle", "head"):  # exactly against the rest direction: no plane to swing in
        folded = joints.copy()
        joint = H36M_17.index(name)
        parent = H36M_17.parents[joint]
        folded[:, joint] = 2 * joints[:, parent] - joints[:, joint]
        turn = fit(folded).rotations
        assert np.allclose(np.linalg.det(turn), 1)
        assert np.allclose(turn @ np.swapaxes(turn, -1, -2), np.eye(3))
        halves = (np.trace(turn, axis1=-2, axis2=-1) < -0.99).sum()
        assert halves == (2 if name == "r_elbow" else 1)  # the forearm turns back


def test_gaps_hold_the_pose_and_files_span_the_video(tmp_path: Path, figure: Callable, record: Callable) -> None:
    pose = figure(np.random.default_rng(7), 4, wobble=0.0)
    root = np.full((4, 3), np.nan)
    root[1] = (1.0, 2.0, 5.0)
    seen = np.array([2, 3, 6, 7])
    source = record(tmp_path / "a.h5", {4: {"frame": seen, "pose": pose, "root": root}}, 10)
    write(load(source, PoseChoice()), tmp_path / "a.bvh", PoseChoice())
    joints = found(tmp_path / "a.bvh")
    shown = [0, 0, 0, 1, 1, 1, 2, 3, 3, 3]
    assert np.allclose(joints - joints[:, :1], pose[shown], atol=2e-4)
    assert np.allclose(joints[:, 0], (1.0, 2.0, 5.0), atol=1e-5)  # an unknown place stays at the nearest known one


def test_unknown_place_is_the_origin(tmp_path: Path, figure: Callable, record: Callable) -> None:
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(3), "pose": figure(np.random.default_rng(1), 3)}}, 3)
    write(load(source, PoseChoice()), tmp_path / "a.bvh", PoseChoice())
    assert not found(tmp_path / "a.bvh")[:, 0].any()


def test_uneven_times_are_played_at_their_own_speed(tmp_path: Path, figure: Callable, record: Callable) -> None:
    pose = figure(np.random.default_rng(2), 5, wobble=0.0)
    pts = [1.0, 1.1, 1.2, 1.5, 1.6]
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(5), "pose": pose}}, 5, pts=pts)
    write(load(source, PoseChoice()), tmp_path / "a.bvh", PoseChoice())
    assert read_bvh(tmp_path / "a.bvh").step == pytest.approx(0.1)
    assert np.allclose(found(tmp_path / "a.bvh"), pose[[0, 1, 2, 2, 2, 3, 4]], atol=2e-4)


@pytest.mark.parametrize("pts", [[0.0, 0.1, 0.1, 0.2], [0.0, 0.1, 0.05, 0.2], [0.0, 0.1, 0.2, 1e9], [0, np.nan, 1, 2]])
def test_broken_times_give_every_frame_once(tmp_path: Path, figure: Callable, record: Callable, pts: list) -> None:
    pose = figure(np.random.default_rng(2), 4, wobble=0.0)
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(4), "pose": pose}}, 4, pts=pts)
    write(load(source, PoseChoice()), tmp_path / "a.bvh", PoseChoice())
    assert np.allclose(found(tmp_path / "a.bvh"), pose, atol=2e-4)


def test_several_people_get_a_file_each_or_none(tmp_path: Path, figure: Callable, record: Callable) -> None:
    rng = np.random.default_rng(9)
    people = {n: {"frame": np.arange(5), "pose": figure(rng, 5, wobble=0.0)} for n in (0, 12)}
    source = record(tmp_path / "a.h5", people, 5)
    write(load(source, PoseChoice()), tmp_path / "b" / "a.bvh", PoseChoice())
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["a.track0.bvh", "a.track12.bvh"]
    for number, person in people.items():
        assert np.allclose(found(tmp_path / "b" / f"a.track{number}.bvh"), person["pose"], atol=2e-4)
    people[12]["pose"][:] = np.nan
    spoiled = record(tmp_path / "c.h5", people, 5)
    with pytest.raises(InputError, match="Track 12"):
        write(load(spoiled, PoseChoice()), tmp_path / "c" / "c.bvh", PoseChoice())
    assert not list((tmp_path / "c").iterdir())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_angles_give_the_rotation_back_without_jumps(seed: int, locked: bool) -> None:
    rng = np.random.default_rng(seed)
    speed = rng.normal(0, 4, 3)
    if locked:
        speed[0] = 0  # about x only the start, which is the angle where z and y turn about one line
    angles = (np.linspace(0, 1, 50)[:, None] * speed + (np.pi / 2 if locked else 0, *rng.normal(size=2)))[:, None]

    def turn(axis: int, a: np.ndarray) -> np.ndarray:
        i, j = (axis + 1) % 3, (axis + 2) % 3
        m = np.tile(np.eye(3), (*a.shape, 1, 1))
        m[..., i, i], m[..., i, j], m[..., j, i], m[..., j, j] = np.cos(a), -np.sin(a), np.sin(a), np.cos(a)
        return m

    def rotation(z: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return turn(2, z) @ turn(0, x) @ turn(1, y)

    wanted = rotation(angles[..., 1], angles[..., 0], angles[..., 2])
    found = np.radians(euler_zxy(wanted))
    assert np.allclose(rotation(found[..., 0], found[..., 1], found[..., 2]), wanted, atol=2e-6)
    # At the lock only the sum of the two angles is determined, so one of them may have to turn for both.
    assert np.abs(np.diff(found, axis=0)).max() <= np.abs(speed).sum() / 49 + 1e-6
