"""Frames as a data set's own cameras saw them: the published protocols' `screen` space.

A sample is one frame from one camera: keypoints (17, 2) in normalised screen coordinates, confidences (17), joints
(17, 3) metres relative to the hip in that camera's frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.lifters.space import to_screen
from posepipe.safe_h5 import dataset, groups, inside, texts
from posepipe.skeleton import H36M_17, MPII_16
from posepipe.training.data.batches import Floats
from posepipe.training.data.frame_pool import Arrays, Blocks, FramePool
from posepipe.training.data.motion import RecordedCamera
from posepipe.training.data.resection import project_recorded
from posepipe.training.data.stream import Piece, open_motion, pieces, read_joints

# Width and height of Human3.6M's cameras; others are taken to have their principal point in the middle.
SIZES = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
_CAMERAS_HINT = "Build it from h36m.zip (--from h36m-h5), or with data_2d_h36m_gt.npz beside data_3d_h36m.npz."


@dataclass(frozen=True)
class Seen:
    """A piece of a clip from one camera."""

    piece: Piece
    camera: str


def recorded_blocks(path: Path, split: str, keypoints: str) -> Blocks:
    """(keypoints, confidence, joints) of a split, all cameras. keypoints: a detector of the file, or "gt", which is
    projected where the file does not bring it. Raises InputError for no cameras or no such keypoints."""
    known = pieces(path, split)
    with open_motion(path) as file:
        cameras = read_cameras(file)
        seen = [Seen(piece, camera) for piece in known for camera in _cameras_of(file, path, piece, keypoints, cameras)]

    def read(members: Sequence[int]) -> Iterator[Arrays]:
        with open_motion(path) as file:
            for member in members:
                yield _sample(file, path, seen[member], keypoints, cameras)

    lengths = np.array([one.piece.stop - one.piece.start for one in seen], np.int64)
    return Blocks(lengths, read, row_bytes=17 * (2 + 1 + 3) * 4)


def recorded_pool(
    path: Path, split: str, keypoints: str, *, budget_bytes: int, batch: int, seed: int, rank: int = 0
) -> FramePool[Arrays]:
    """The samples of a split in at most budget_bytes."""
    blocks = recorded_blocks(path, split, keypoints)
    return FramePool(blocks, lambda arrays: arrays, budget_bytes=budget_bytes, batch=batch, seed=seed, rank=rank)


def recorded_rows(path: Path, split: str, keypoints: str, count: int) -> Arrays:
    """At most `count` evenly spaced samples of a split: for validation."""
    blocks = recorded_blocks(path, split, keypoints)
    step = -(-int(blocks.lengths.sum()) // count)
    kept, at = [], 0
    for arrays in blocks.read(range(len(blocks.lengths))):
        kept.append([array[-at % step :: step] for array in arrays])
        at += len(arrays[0])
    return tuple(np.concatenate(parts) for parts in zip(*kept, strict=True))


def read_cameras(file: h5py.File) -> dict[tuple[str, str], RecordedCamera]:
    """The cameras of a motion file by (subject, name)."""
    return {
        (subject, name): RecordedCamera(subject, name, *(_numbers(group, key) for key in _CAMERA))
        for subject, by_name in groups(file, "cameras").items()
        for name, group in groups(by_name).items()
    }


_CAMERA = {"rotation": (3, 3), "centre": (3,), "focal": (2,), "principal": (2,), "radial": (3,), "tangential": (2,)}


def _numbers(group: h5py.Group, key: str) -> NDArray[np.float64]:
    value = np.asarray(group.attrs[key], np.float64)
    if value.shape != _CAMERA[key] or not np.isfinite(value).all():
        raise ValueError(f"'{key}' of the camera {group.name} is not {_CAMERA[key]} finite numbers")
    return value


def _cameras_of(
    file: h5py.File, path: Path, piece: Piece, keypoints: str, cameras: dict[tuple[str, str], RecordedCamera]
) -> list[str]:
    stored = groups(inside(file, f"clips/{piece.clip}"), "keypoints_2d")
    names = [name for subject, name in cameras if subject == piece.subject]
    if not names:
        raise InputError(f"{path} has no cameras of {piece.subject}.", _CAMERAS_HINT)
    if keypoints in stored:
        names = [name for name in stored[keypoints] if name in names]
    elif keypoints != "gt":
        found = ", ".join(sorted({"gt", *stored}))
        raise InputError(f"{path}: clip '{piece.clip}' has no keypoints '{keypoints}'.", f"It has {found}.")
    return names


def _sample(
    file: h5py.File, path: Path, seen: Seen, keypoints: str, cameras: dict[tuple[str, str], RecordedCamera]
) -> tuple[Floats, Floats, Floats]:
    piece = seen.piece
    camera = cameras[piece.subject, seen.camera]
    joints = (read_joints(file, path, piece).astype(np.float64) - camera.centre) @ camera.rotation.T
    stored = groups(inside(file, f"clips/{piece.clip}"), "keypoints_2d")
    if keypoints in stored:
        points = dataset(stored[keypoints], seen.camera, "f", (None, None, 2))
        names = texts(points.attrs, "joint_names")
        if len(points) < piece.stop or points.shape[1] != len(names):
            raise ValueError(f"the keypoints of '{piece.clip}' do not fit its joints")
        pixels = to_h36m(points[piece.start : piece.stop], names, path)
    else:
        pixels = project_recorded(joints, camera)
    finite = np.isfinite(pixels).all(-1)
    width, height = SIZES.get(seen.camera, tuple(2 * camera.principal))
    screen = np.where(finite[..., None], to_screen(pixels, width, height), 0.0).astype(np.float32)
    return screen, finite.astype(np.float32), (joints - joints[:, :1]).astype(np.float32)


# MPII's joints as Li & Lee 2019 use stacked-hourglass keypoints; it has no spine.
_SAME = {"hip": "pelvis", "neck": "upper_neck", "head": "head_top"}


def to_h36m(points: NDArray, names: tuple[str, ...], path: Path) -> NDArray:
    """(T, J, 2) in a stored layout, H36M-17 or MPII-16 -> (T, 17, 2), NaN for a joint that the layout lacks."""
    if names == H36M_17.joints:
        return points
    if names != MPII_16.joints:
        raise InputError(f"{path} has keypoints of a layout that cannot be trained on ({', '.join(names)}).")
    result = np.full((len(points), 17, 2), np.nan)
    for target, joint in enumerate(H36M_17.joints):
        if _SAME.get(joint, joint) in names:
            result[:, target] = points[:, names.index(_SAME.get(joint, joint))]
    return result
