"""The motion file: one chunked HDF5 of H36M-17 joints in the world frame.

Layout: /clips/<name>/joints (T, 17, 3) float32 metres, y up; attrs subject, action, source, fps, split. Root attrs:
format "posepipe-motion", version 1, joint_names, notice. Where the source has 2D keypoints, also
/clips/<name>/keypoints_2d/<detector>/<camera> (T, J, 2) float32 pixels, attr joint_names; and where it has cameras,
/cameras/<subject>/<camera> (docs/formats.md). Readers that do not know these groups pass them by.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, OutputError
from posepipe.safe_h5 import READ_ERRORS, array, groups, inside, open_h5, text, texts
from posepipe.skeleton import H36M_17

FORMAT, VERSION = "posepipe-motion", 1
BUILD_HINT = "Build it with `posepipe data build`."


@dataclass(frozen=True)
class Detections2D:
    """What one detector saw from one camera. points: (T, J, 2) float32 pixels, origin top-left; names: of the J."""

    detector: str
    camera: str
    names: tuple[str, ...]
    points: NDArray[np.float32]


@dataclass(frozen=True)
class RecordedCamera:
    """A camera of a data set. p_camera = rotation @ (p_world - centre): rotation (3, 3), centre (3,) metres, world y
    up, camera x right, y down, z forward. focal, principal: (2,) pixels. radial (3,), tangential (2,): as given."""

    subject: str
    name: str
    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]
    focal: NDArray[np.float64]
    principal: NDArray[np.float64]
    radial: NDArray[np.float64]
    tangential: NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    """A stretch of motion of one person. joints: (T, 17, 3) float32 metres, H36M-17, world frame, y up.

    keypoints_2d: what the source brings along, written but read only by load_keypoints_2d."""

    name: str
    subject: str
    joints: NDArray[np.float32]
    action: str = ""
    source: str = ""
    fps: float = 30.0
    split: str = "train"
    keypoints_2d: tuple[Detections2D, ...] = field(default=(), compare=False)


def write_motion(clips: list[Clip], out: Path, notice: str, cameras: Sequence[RecordedCamera] = ()) -> None:
    """Write clips to out atomically; notice: the acknowledgement their source asks for.

    Raises OutputError; nothing half-written stays."""
    out = Path(out)
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        os.close(handle)
        temporary = Path(name)
        with h5py.File(temporary, "w") as file:
            file.attrs.update(
                {"format": FORMAT, "version": VERSION, "joint_names": list(H36M_17.joints), "notice": notice}
            )
            for clip in clips:
                group = file.create_group(f"clips/{clip.name}")
                chunks = (min(len(clip.joints), 512), len(H36M_17), 3)
                group.create_dataset("joints", data=clip.joints, chunks=chunks, compression="gzip", shuffle=True)
                for key in ("subject", "action", "source", "fps", "split"):
                    group.attrs[key] = getattr(clip, key)
                _write_keypoints(group, clip)
            for camera in cameras:
                where = file.create_group(f"cameras/{camera.subject}/{camera.name}")
                for key in ("rotation", "centre", "focal", "principal", "radial", "tangential"):
                    where.attrs[key] = getattr(camera, key)
        with temporary.open("rb+") as synced:
            os.fsync(synced.fileno())
        temporary.chmod(0o644)
        temporary.replace(out)
    except OSError as error:
        raise OutputError(f"Cannot write {out} ({error}).", "Choose a folder that exists, with space left.") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _write_keypoints(group: h5py.Group, clip: Clip) -> None:
    for seen in clip.keypoints_2d:
        chunks = (min(len(seen.points), 512), *seen.points.shape[1:])
        dataset = group.create_dataset(
            f"keypoints_2d/{seen.detector}/{seen.camera}",
            data=seen.points.astype(np.float32, copy=False),
            chunks=chunks,
            compression="gzip",
            shuffle=True,
        )
        dataset.attrs["joint_names"] = list(seen.names)


def load_keypoints_2d(path: Path, clip: str) -> tuple[Detections2D, ...]:
    """The 2D keypoints that the source of a clip brought along, by detector, then camera; none: ().

    Raises InputError when the file is missing, damaged, or has no such clip."""
    try:
        with open_h5(path) as file:
            return tuple(
                Detections2D(detector, camera, texts(by_camera[camera].attrs, "joint_names"), points)
                for detector, by_camera in groups(inside(file, f"clips/{clip}"), "keypoints_2d").items()
                for camera in by_camera
                for points in [array(by_camera, camera, "f", (None, None, 2))]
            )
    except READ_ERRORS as error:
        raise InputError(f"Cannot read the 2D keypoints of '{clip}' from {path} ({error}).") from None


def check_layout(file: h5py.File, path: Path) -> None:
    """InputError unless the file is a motion file of this version and skeleton."""
    kind, version = file.attrs.get("format"), file.attrs.get("version")
    if not isinstance(kind, str) or not isinstance(version, int | np.integer) or (kind, version) != (FORMAT, VERSION):
        raise InputError(f"{path} is not a {FORMAT} file of version {VERSION}.", BUILD_HINT)
    if texts(file.attrs, "joint_names") != H36M_17.joints:
        raise InputError(f"{path} has other joints than {H36M_17.name}.", BUILD_HINT)


def load_motion(path: Path, split: str | None = None) -> list[Clip]:
    """The clips of a motion file, all or those of one split ("train", "validation"), in the order of their names.

    Raises InputError when the file is missing, of another format, damaged, or has no such clips."""
    hint = BUILD_HINT
    clips = []
    try:
        with open_h5(path) as file:
            check_layout(file, path)
            for name, group in groups(file, "clips").items():
                subject, action, source, side = (text(group.attrs, k) for k in ("subject", "action", "source", "split"))
                if split is not None and side != split:
                    continue
                joints = array(group, "joints", "f", (None, len(H36M_17), 3)).astype(np.float32, copy=False)
                if not np.isfinite(joints).all():
                    raise InputError(f"{path}: clip '{name}' is not a finite (T, 17, 3) array.", hint)
                clips.append(Clip(name, subject, joints, action, source, float(group.attrs["fps"]), side))
    except READ_ERRORS as error:
        raise InputError(f"Cannot read motion from {path} ({error}).", hint) from None
    if not clips:
        raise InputError(f"{path} has no clips" + (f" of the split '{split}'." if split else "."), hint)
    return clips
