"""GLB: an independent reader finds every joint where the pose was, and the mesh around it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from posepipe.errors import InputError
from posepipe.pipeline.export.as_glb import quaternions, write
from posepipe.pipeline.export.choose import PoseChoice, load
from posepipe.pipeline.render.palette import LEFT, RIGHT
from posepipe.skeleton import H36M_17

_KINDS = {5126: "<f4", 5121: "u1"}
_SHAPES = {"SCALAR": (), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


class Scene:
    """A GLB through pygltflib, played by the rules of the specification (nodes, skins, animation samplers)."""

    def __init__(self, path: Path) -> None:
        self.gltf = pygltflib.GLTF2().load_binary(str(path))
        self.blob = self.gltf.binary_blob()
        self.above = {child: i for i, node in enumerate(self.gltf.nodes) for child in node.children or ()}

    def values(self, accessor: int) -> np.ndarray:
        a = self.gltf.accessors[accessor]
        view = self.gltf.bufferViews[a.bufferView]
        shape = (a.count, *_SHAPES[a.type])
        kind = np.dtype(_KINDS[a.componentType])
        values = np.frombuffer(self.blob, kind, int(np.prod(shape)), view.byteOffset).reshape(shape)
        return np.swapaxes(values, -1, -2) if a.type == "MAT4" else values

    def node(self, name: str, below: str) -> int:
        """The node of that name under the top node `below`."""
        for index, node in enumerate(self.gltf.nodes):
            top = index
            while top in self.above:
                top = self.above[top]
            if node.name == name and self.gltf.nodes[top].name == below:
                return index
        raise AssertionError(f"no node {name} below {below}")

    def world(self, time: float) -> np.ndarray:
        """(nodes, 4, 4) at that time of all animations together."""
        moved: dict[tuple[int, str], np.ndarray] = {}
        for animation in self.gltf.animations:
            for channel in animation.channels:
                sampler = animation.samplers[channel.sampler]
                moved[channel.target.node, channel.target.path] = self._sampled(sampler, channel.target.path, time)
        local = np.tile(np.eye(4), (len(self.gltf.nodes), 1, 1))
        for index, node in enumerate(self.gltf.nodes):
            turn = moved.get((index, "rotation"), node.rotation or (0, 0, 0, 1))
            scale = moved.get((index, "scale"), node.scale or (1, 1, 1))
            local[index, :3, :3] = Rotation.from_quat(turn).as_matrix() * scale
            local[index, :3, 3] = moved.get((index, "translation"), node.translation or (0, 0, 0))
        out = np.empty_like(local)
        for index in range(len(local)):
            chain = [index]
            while chain[-1] in self.above:
                chain.append(self.above[chain[-1]])
            out[index] = np.linalg.multi_dot([np.eye(4), *(local[i] for i in reversed(chain)), np.eye(4)])
        return out

    def _sampled(self, sampler: object, path: str, time: float) -> np.ndarray:
        keys, values = self.values(sampler.input).astype(float), self.values(sampler.output).astype(float)
        assert (np.diff(keys) > 0).all()
        time = float(np.clip(time, keys[0], keys[-1]))
        if sampler.interpolation == "STEP":
            return values[np.searchsorted(keys, time, side="right") - 1]
        if len(keys) == 1:
            return values[0]
        if path == "rotation":
            return Slerp(keys, Rotation.from_quat(values))(time).as_quat()
        return np.array([np.interp(time, keys, column) for column in values.T])

    def joints(self, time: float, below: str) -> np.ndarray:
        """(17, 3) metres, back in the camera frame."""
        world = self.world(time)
        return np.array([world[self.node(name, below)][:3, 3] for name in H36M_17.joints]) * (1, -1, -1)

    def corners(self, time: float, mesh: int) -> dict[int, np.ndarray]:
        """Material -> (V, 3) skinned corners, camera frame."""
        owner = next(n for n in self.gltf.nodes if n.mesh == mesh)
        skin = self.gltf.skins[owner.skin]
        bones = self.world(time)[skin.joints] @ self.values(skin.inverseBindMatrices)
        out = {}
        for part in self.gltf.meshes[mesh].primitives:
            points = self.values(part.attributes.POSITION)
            movers, weights = self.values(part.attributes.JOINTS_0), self.values(part.attributes.WEIGHTS_0)
            assert np.allclose(weights.sum(1), 1)
            matrix = np.einsum("vk,vkij->vij", weights, bones[movers])
            out[part.material] = (matrix[:, :3, :3] @ points[:, :, None])[..., 0] * (1, -1, -1) + matrix[:, :3, 3] * (
                1,
                -1,
                -1,
            )
        return out


def normalised(joints: np.ndarray) -> np.ndarray:
    """The same directions with the clip's median bone lengths."""
    out = joints.copy()
    for parent, child in H36M_17.bones:
        bone = joints[:, child] - joints[:, parent]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        out[:, child] = out[:, parent] + bone / length * np.median(length)
    return out


@pytest.mark.parametrize(("choice", "factor"), [(PoseChoice(), 1.0), (PoseChoice(1), 3.0)])
def test_joints_and_mesh_are_where_the_pose_was(
    tmp_path: Path, figure: Callable, record: Callable, choice: PoseChoice, factor: float
) -> None:
    rng = np.random.default_rng(3)
    pose = figure(rng, 30)
    root = np.array([0.3, 0.1, 4.0]) + np.cumsum(rng.normal(0, 0.01, (30, 3)), axis=0)
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(30), "pose": pose, "root": root}}, 30)
    write(load(source, choice), tmp_path / "a.glb", choice)
    scene = Scene(tmp_path / "a.glb")
    wanted = normalised(factor * pose) + root[:, None]
    for frame in (0, 7, 29):
        joints = scene.joints(frame / 25, "track0")
        assert np.abs(joints - wanted[frame]).max() < 0.0002  # the promise is 2 mm
        corners = np.concatenate(list(scene.corners(frame / 25, 0).values()))
        for place in joints:  # every joint is the end of a bone that can be seen
            assert np.linalg.norm(corners - place, axis=1).min() < 0.03
        ends = joints[list(H36M_17.bones)]  # and nothing is far from the bones
        along = ends[:, 1] - ends[:, 0]
        share = np.einsum("vbi,bi->vb", corners[:, None] - ends[:, 0], along) / (along**2).sum(-1)
        nearest = ends[:, 0] + np.clip(share, 0, 1)[..., None] * along
        assert (
            np.linalg.norm(corners[:, None] - nearest, axis=-1).min(1).max()
            < 0.03 + 0.1 * np.linalg.norm(along, axis=1).max()
        )


def test_left_is_blue_and_right_is_red(tmp_path: Path, figure: Callable, record: Callable) -> None:
    pose = figure(np.random.default_rng(8), 3)
    source = record(tmp_path / "a.h5", {0: {"frame": np.arange(3), "pose": pose}}, 3)
    write(load(source, PoseChoice()), tmp_path / "a.glb", PoseChoice())
    scene = Scene(tmp_path / "a.glb")
    joints, corners = scene.joints(0.0, "track0"), scene.corners(0.0, 0)
    for name, colour in (("l_wrist", LEFT), ("r_wrist", RIGHT), ("l_ankle", LEFT), ("r_ankle", RIGHT)):
        near = {m: np.linalg.norm(c - joints[H36M_17.index(name)], axis=1).min() for m, c in corners.items()}
        material = scene.gltf.materials[min(near, key=near.get)]
        shown = np.array(material.pbrMetallicRoughness.baseColorFactor[:3]) ** (1 / 2.2) * 255
        assert np.allclose(shown, colour, atol=1)


def test_several_people_gaps_and_uneven_times(tmp_path: Path, figure: Callable, record: Callable) -> None:
    rng = np.random.default_rng(9)
    pts = [5.0, 5.1, 5.2, 5.5, 5.6, 5.7]
    people = {
        0: {"frame": np.arange(6), "pose": figure(rng, 6, wobble=0.0)},
        12: {"frame": np.array([1, 2, 4]), "pose": figure(rng, 3, wobble=0.0)},
    }
    people[0]["pose"][3, 5] = np.nan  # not whole: as if not seen
    source = record(tmp_path / "a.h5", people, 6, pts=pts)
    write(load(source, PoseChoice()), tmp_path / "a.glb", PoseChoice())
    scene = Scene(tmp_path / "a.glb")
    assert [a.name for a in scene.gltf.animations] == ["track0", "track12"]
    seen = {0: {0: 0, 1: 1, 2: 2, 4: 4, 5: 5}, 12: {1: 0, 2: 1, 4: 2}}
    for number, rows in seen.items():
        for frame, time in enumerate(np.array(pts) - 5.0 + 2e-6):
            joints = scene.joints(time, f"track{number}")
            size = np.linalg.norm(joints - joints[:1], axis=1).max()
            if frame in rows:
                assert np.abs(joints - joints[:1] - people[number]["pose"][rows[frame]]).max() < 0.0005
            else:
                assert size == 0  # scaled to nothing


def test_other_readers_take_it(tmp_path: Path, figure: Callable, record: Callable) -> None:
    people = {n: {"frame": np.arange(4), "pose": figure(np.random.default_rng(n), 4)} for n in (0, 1)}
    write(load(record(tmp_path / "a.h5", people, 4), PoseChoice()), tmp_path / "a.glb", PoseChoice())
    loaded = trimesh.load(tmp_path / "a.glb")
    assert sum(len(g.faces) for g in loaded.geometry.values()) == 2 * (16 + 17) * 8
    for mesh in loaded.geometry.values():
        assert np.isfinite(mesh.vertices).all()
        around = mesh.triangles_center - mesh.vertices.mean(0)
        assert np.einsum("fi,fi->f", mesh.face_normals, around).mean() > 0  # faces look outwards
    raw = (tmp_path / "a.glb").read_bytes()
    magic, version, length = struct.unpack_from("<4sII", raw)
    assert (magic, version, length) == (b"glTF", 2, len(raw))
    size, kind = struct.unpack_from("<I4s", raw, 12)
    document = json.loads(raw[20 : 20 + size])
    assert (kind, size % 4, document["asset"]["version"]) == (b"JSON", 0, "2.0")
    assert len(document["skins"][0]["joints"]) == 23


def test_nobody_and_nobody_whole(tmp_path: Path, figure: Callable, record: Callable) -> None:
    with pytest.raises(InputError, match="Nobody was found"):
        write(load(record(tmp_path / "a.h5", {}, 3), PoseChoice()), tmp_path / "a.glb", PoseChoice())
    broken = {2: {"frame": np.arange(3), "pose": np.full((3, 17, 3), np.nan)}}
    with pytest.raises(InputError, match="Track 2"):
        write(load(record(tmp_path / "b.h5", broken, 3), PoseChoice()), tmp_path / "a.glb", PoseChoice())
    assert not (tmp_path / "a.glb").exists()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_quaternions_turn_as_the_matrices_do(seed: int, half: bool) -> None:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    turns = (
        np.linspace(np.pi if half else rng.uniform(-9, 9), rng.uniform(-9, 9), 40)[:, None]
        * axis
        / np.linalg.norm(axis)
    )
    matrices = Rotation.from_rotvec(turns).as_matrix()
    found = quaternions(matrices[:, None])[:, 0]
    assert np.allclose(Rotation.from_quat(found).as_matrix(), matrices, atol=1e-9)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    assert (np.einsum("nc,nc->n", found[1:], found[:-1]) > 0).all()
