"""GLB (glTF 2.0, binary): people as skinned skeletons with an animation each, for viewers, Blender and game engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe import __version__
from posepipe.errors import InputError
from posepipe.pipeline.export.bone_mesh import bone_mesh, rest_positions
from posepipe.pipeline.export.bvh_fit import Motion, fit
from posepipe.pipeline.export.choose import PoseChoice, chosen
from posepipe.pipeline.export.clip import Y_UP, files_of, frame_rate, held, rising_times
from posepipe.pipeline.export.gltf import ARRAY_BUFFER, Numbers, write_glb
from posepipe.pipeline.render.palette import SIDES
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.sink.h5 import Recording, TrackRecord

_GAMMA = 2.2  # colours in glTF are linear light
_SIDE_NAMES = ("middle", "left", "right")


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """Everybody in one file: per person a node, the joints below it, a mesh of bones and an animation.

    Metres, y up, seconds since the first frame. A person is scaled to nothing while not seen. Raises InputError when
    nobody was found, OutputError when the file cannot be written."""
    numbers = Numbers()
    document: dict[str, list] = {name: [] for name in ("nodes", "meshes", "skins", "animations")}
    times = rising_times(recording)
    for number in files_of(recording, path):
        _add_person(document, numbers, recording.tracks[number], number, pose, times)
    roots = [i for i, node in enumerate(document["nodes"]) if "mesh" in node or "person" in node.get("extras", {})]
    whole = {
        "asset": {
            "version": "2.0",
            "generator": f"posepipe {__version__}",
            "extras": {"source": recording.header.get("source"), "pose": str(pose), "fps": frame_rate(recording)},
        },
        "scene": 0,
        "scenes": [{"nodes": roots}],
        "materials": [_material(name, colour) for name, colour in zip(_SIDE_NAMES, SIDES, strict=True)],
        **document,
    }
    with atomic_path(path) as temporary:
        write_glb(temporary, whole, numbers)


def _material(name: str, colour: tuple[int, int, int]) -> dict[str, object]:
    linear = [round((c / 255) ** _GAMMA, 4) for c in colour]
    return {
        "name": name,
        "pbrMetallicRoughness": {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8},
    }


def _add_person(
    document: dict[str, list],
    numbers: Numbers,
    track: TrackRecord,
    number: int,
    pose: PoseChoice,
    times: NDArray[np.float64],
) -> None:
    joints = chosen(track, pose)
    good = np.isfinite(joints).all(axis=(1, 2))
    if not good.any():
        raise InputError(f"Track {number} has no frame with a whole pose.", "Export another one with --track.")
    motion = fit((joints + held(track.root)[:, None])[good] * Y_UP)
    seen = track.frame[good]
    first = _add_nodes(document["nodes"], motion, number)
    _add_mesh(document, numbers, motion, first, number)
    document["animations"].append(_animation(numbers, motion, first, number, seen, times))


def _add_nodes(nodes: list[dict], motion: Motion, number: int) -> int:
    """Append the person's node and the joints below it; returns the index of the hip's node. Every joint stands as in
    the first frame, so that programs without animations show a person too."""
    first = len(nodes) + 1
    nodes.append({"name": f"track{number}", "children": [first], "extras": {"person": number}})
    turned = quaternions(motion.rotations[:1])[0]
    for index, joint in enumerate(motion.nodes):
        children = [first + i for i, other in enumerate(motion.nodes) if other.parent == index]
        place = motion.root[0] if index == 0 else joint.offset
        node: dict[str, object] = {
            "name": joint.name,
            "translation": _plain(place),
            "rotation": _plain(turned[index]),
        }
        nodes.append(node | ({"children": children} if children else {}))
    return first


def _add_mesh(document: dict[str, list], numbers: Numbers, motion: Motion, first: int, number: int) -> None:
    mesh = bone_mesh(motion.nodes)
    primitives = []
    for material in range(len(SIDES)):
        mine = mesh.side == material
        movers = np.zeros((mine.sum(), 4), np.uint8)
        movers[:, 0] = mesh.node[mine]
        weights = np.zeros((mine.sum(), 4), "<f4")
        weights[:, 0] = 1
        attributes = {
            "POSITION": numbers.add(mesh.positions[mine].astype("<f4"), ARRAY_BUFFER, bounds=True),
            "NORMAL": numbers.add(_unit(mesh.normals[mine]), ARRAY_BUFFER),
            "JOINTS_0": numbers.add(movers, ARRAY_BUFFER),
            "WEIGHTS_0": numbers.add(weights, ARRAY_BUFFER),
        }
        primitives.append({"attributes": attributes, "material": material})
    inverse = np.tile(np.eye(4, dtype="<f4"), (len(motion.nodes), 1, 1))
    inverse[:, :3, 3] = -rest_positions(motion.nodes)
    document["skins"].append(
        {
            "joints": [first + i for i in range(len(motion.nodes))],
            "inverseBindMatrices": numbers.add(inverse),
            "skeleton": first,
        }
    )
    document["meshes"].append({"name": f"track{number}", "primitives": primitives})
    # Beside the joints, not below them: a skinned mesh is moved by its joints alone.
    document["nodes"].append(
        {"name": f"track{number}_mesh", "mesh": len(document["meshes"]) - 1, "skin": len(document["skins"]) - 1}
    )


def _animation(
    numbers: Numbers, motion: Motion, first: int, number: int, seen: NDArray[np.int64], times: NDArray[np.float64]
) -> dict[str, object]:
    """Keys where the person was seen. times: of all frames of the source."""
    keys = numbers.add(times[seen].astype("<f4"), bounds=True)
    samplers: list[dict[str, object]] = []
    channels: list[dict[str, object]] = []

    def move(node: int, path: str, keys: int, values: NDArray, way: str = "LINEAR") -> None:
        samplers.append({"input": keys, "output": numbers.add(values.astype("<f4")), "interpolation": way})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    move(first, "translation", keys, motion.root)
    turned = quaternions(motion.rotations)
    for index in range(len(motion.nodes)):
        if np.abs(turned[:, index] - (0, 0, 0, 1)).max() > 1e-7:  # the ends of limbs never turn
            move(first + index, "rotation", keys, turned[:, index])
    shown = np.zeros(len(times), bool)
    shown[seen] = True
    if not shown.all():
        changes = np.flatnonzero(np.diff(shown, prepend=not shown[0]))
        keys = numbers.add(times[changes].astype("<f4"), bounds=True)
        move(first - 1, "scale", keys, np.repeat(shown[changes, None], 3, axis=1), "STEP")
    return {"name": f"track{number}", "samplers": samplers, "channels": channels}


def quaternions(rotations: NDArray) -> NDArray[np.float64]:
    """(N, J, 3, 3) -> (N, J, 4) x y z w, unit length, on the same side from frame to frame.

    Source: Bar-Itzhack 2000, "New method for extracting the quaternion from a rotation matrix": the eigenvector of the
    largest eigenvalue, which has no special cases."""
    r = np.asarray(rotations, np.float64)
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    k = np.zeros((*r.shape[:-2], 4, 4))
    k[..., 0, 0], k[..., 1, 1], k[..., 2, 2], k[..., 3, 3] = xx - yy - zz, yy - xx - zz, zz - xx - yy, xx + yy + zz
    k[..., 1, 0], k[..., 2, 0], k[..., 2, 1] = (
        r[..., 1, 0] + r[..., 0, 1],
        r[..., 2, 0] + r[..., 0, 2],
        r[..., 2, 1] + r[..., 1, 2],
    )
    k[..., 3, 0], k[..., 3, 1], k[..., 3, 2] = (
        r[..., 2, 1] - r[..., 1, 2],
        r[..., 0, 2] - r[..., 2, 0],
        r[..., 1, 0] - r[..., 0, 1],
    )
    found = np.linalg.eigh(k)[1][..., -1]  # reads the lower triangle
    signs = np.sign(np.einsum("njc,njc->nj", found[1:], found[:-1]))
    start = np.where(found[:1, :, 3] < 0, -1.0, 1.0)
    return found * np.cumprod(np.concatenate([start, np.where(signs == 0, 1, signs)]), axis=0)[..., None]


def _unit(vectors: NDArray) -> NDArray[np.float32]:
    """(N, 3) of unit length also after rounding to float32, as validators ask."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype("<f4")


def _plain(values: NDArray) -> list[float]:
    """Rounded to what float32 can hold."""
    return [float(v) for v in np.asarray(values, np.float32)]
