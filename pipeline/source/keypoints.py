"""Keypoints that another program has detected, from a file: one clip of them.

Formats (docs/formats.md, "Keypoint files"): our own as npz, h5 or csv; VideoPose3D's data_2d_h36m_*.npz, which is how
CPN's detections of Human3.6M are passed around; and result files of `posepipe run`, to be lifted anew.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, UsageError
from posepipe.hashing import file_sha256
from posepipe.safe_npz import read_npz
from posepipe.skeleton import SKELETONS, skeleton
from posepipe.types import Pose2D

SEE = 'docs/formats.md, "Keypoint files", says what a file holds.'
# Human3.6M's cameras in the order of VideoPose3D's lists, and the height of their pictures (all are 1000 wide), 50 fps.
H36M_CAMERAS = {"54138969": 1002, "55011271": 1000, "58860488": 1000, "60457274": 1002}
_H36M_FPS = 50.0


@dataclass(frozen=True)
class KeypointClip:
    """M detections in a film of `frames` pictures, width x height pixels.

    name: for files that are made of it. skeleton: layout of the J joints. frame: (M,) which picture; person: (M,) who,
    the same number for the same person, or None when the file does not say. keypoints: (M, J, 2) pixels (NaN: not
    seen); confidence: (M, J) 0..1."""

    name: str
    detector: str
    skeleton: str
    width: int
    height: int
    fps: float
    frames: int
    frame: NDArray[np.int64]
    person: NDArray[np.int64] | None
    keypoints: NDArray[np.float32]
    confidence: NDArray[np.float32]
    sha256: str

    def poses(self, index: int) -> tuple[Pose2D, ...]:
        """Who is in a picture. The rows are in the order of pictures."""
        first, last = np.searchsorted(self.frame, [index, index + 1])
        return tuple(
            Pose2D(
                self.keypoints[row],
                self.confidence[row],
                self.skeleton,
                person=None if self.person is None else int(self.person[row]),
            )
            for row in range(first, last)
        )


def read_keypoints(path: Path, clip: str | None = None) -> KeypointClip:
    """Read a keypoint file. clip: `SUBJECT/ACTION/CAMERA` of files that hold many.

    Raises InputError for a file that is missing, damaged or of another layout, UsageError for a clip that is not in
    it, naming those that are."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no keypoint file {path}.", "Check the path.")
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror}).", "Check the path.") from None
    if path.suffix == ".npz":
        data = read_npz(path, SEE)
        if "positions_2d" in data:
            return _of_videopose3d(data, path, clip, digest)
    elif path.suffix in (".h5", ".hdf5"):
        data = _h5(path)
    elif path.suffix == ".csv":
        data = _csv(path)
    else:
        raise InputError(f"{path} is no .npz, .h5 or .csv.", SEE)
    if clip is not None:
        raise UsageError(f"{path} holds one clip.", "Leave --clip out.")
    return _checked(data, path, digest)


def _checked(data: Mapping[str, Any], path: Path, digest: str) -> KeypointClip:
    """Our own layout, from whatever held it."""
    missing = [n for n in ("keypoints", "frame", "skeleton", "width", "height", "fps") if n not in data]
    if missing:
        raise InputError(f"{path} has no '{missing[0]}'.", SEE)
    layout = _text(data["skeleton"])
    if layout not in SKELETONS:
        near = difflib.get_close_matches(layout, SKELETONS, 1)
        raise InputError(
            f"{path}: the skeleton '{layout}' is not known.",
            f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(SKELETONS)}.",
        )
    joints = len(skeleton(layout))
    keypoints, frame = _array(data["keypoints"], path, "keypoints"), _array(data["frame"], path, "frame")
    rows = len(frame)
    confidence = _array(data["confidence"], path, "confidence") if "confidence" in data else np.ones((rows, joints))
    person = _array(data["person"], path, "person") if "person" in data else None
    wanted = {"keypoints": (rows, joints, 2), "confidence": (rows, joints), "frame": (rows,), "person": (rows,)}
    for name, array in (("keypoints", keypoints), ("confidence", confidence), ("frame", frame), ("person", person)):
        if array is not None and array.shape != wanted[name]:
            raise InputError(f"{path}: '{name}' has the shape {array.shape}, not {wanted[name]}.", SEE)
    width, height, fps = (_number(data[name], path, name) for name in ("width", "height", "fps"))
    if not rows or not np.isfinite(frame).all() or frame.min() < 0:
        raise InputError(f"{path}: frames have to be numbers from 0, and some of them there.", SEE)
    frames = int(_number(data["frames"], path, "frames")) if "frames" in data else int(frame.max()) + 1
    if not (1 <= width <= 65536 and 1 <= height <= 65536 and 0.01 <= fps <= 10000):
        raise InputError(f"{path}: {width:g} x {height:g} pixels at {fps:g} frames a second make no film.", SEE)
    if frame.max() >= frames:
        raise InputError(f"{path}: frame {frame.max():.0f} of a film of {frames}.", SEE)
    finite = np.isfinite(keypoints).all(-1)
    confidence = np.where(finite, np.clip(np.nan_to_num(confidence), 0, 1), 0)
    order = np.lexsort((np.zeros(rows) if person is None else person, frame))
    who = None if person is None else person[order].astype(np.int64)
    if who is not None and rows > 1:
        same = (np.diff(frame[order]) == 0) & (np.diff(who) == 0)
        if same.any():
            at = int(frame[order][:-1][same][0])
            raise InputError(f"{path}: person {who[:-1][same][0]} is twice in frame {at}.", SEE)
    return KeypointClip(
        path.stem,
        _text(data.get("detector", "file")),
        layout,
        int(width),
        int(height),
        fps,
        frames,
        frame[order].astype(np.int64),
        who,
        keypoints[order].astype(np.float32),
        confidence[order].astype(np.float32),
        digest,
    )


def _of_videopose3d(data: Mapping[str, Any], path: Path, clip: str | None, digest: str) -> KeypointClip:
    """positions_2d: subject -> action -> a list of four cameras' (T, 17, 2) pixels, H36M-17."""
    tree = data["positions_2d"]
    if not isinstance(tree, dict) or not all(isinstance(actions, dict) for actions in tree.values()):
        raise InputError(f"{path}: 'positions_2d' is not a table of subjects and actions.", SEE)
    subject, action, camera = _choice(tree, path, clip)
    views = tree[subject][action]
    names = list(H36M_CAMERAS)
    index = names.index(camera)
    if index >= len(views):
        raise UsageError(f"{path}: {subject}/{action} has {len(views)} cameras.", f"Known: {', '.join(names)}.")
    points = _array(views[index], path, f"{subject}/{action}/{camera}")
    if points.ndim != 3 or points.shape[1:] != (17, 2) or not len(points):
        raise InputError(f"{path}: {subject}/{action} has the shape {points.shape}, not (frames, 17, 2).", SEE)
    rows = len(points)
    detector = path.stem.removeprefix("data_2d_h36m_")
    layout = {
        "skeleton": "h36m17",
        "width": 1000,
        "height": H36M_CAMERAS[camera],
        "fps": _H36M_FPS,
        "frame": np.arange(rows),
        "person": np.zeros(rows, np.int64),
        "keypoints": points,
        "detector": detector,
    }
    made = _checked(layout, path, digest)
    stem = f"{subject}_{action}_{camera}".replace(" ", "-")
    return KeypointClip(**{**vars(made), "name": stem, "sha256": f"{digest}#{subject}/{action}/{camera}"})


def _choice(tree: dict[str, dict[str, Any]], path: Path, clip: str | None) -> tuple[str, str, str]:
    """(subject, action, camera) of `S9/Walking 1/54138969`; a camera may be given by its place, 0 to 3."""
    cameras = ", ".join(H36M_CAMERAS)
    example = f"{next(iter(tree), 'S9')}/{next(iter(next(iter(tree.values()), {})), 'Walking')}/0"
    if clip is None:
        raise UsageError(f"{path.name} holds many clips.", f"Choose one: --clip '{example}' (cameras: {cameras}).")
    parts = clip.split("/")
    if len(parts) != 3:
        raise UsageError(f"--clip {clip} is not SUBJECT/ACTION/CAMERA.", f"Like: --clip '{example}'.")
    subject, action, camera = parts
    if subject not in tree:
        raise UsageError(f"{path.name} has no subject {subject}.", f"It has: {', '.join(tree)}.")
    if action not in tree[subject]:
        raise UsageError(f"{path.name} has no action '{action}' of {subject}.", f"It has: {', '.join(tree[subject])}.")
    if camera.isdecimal() and int(camera) < len(H36M_CAMERAS):
        camera = list(H36M_CAMERAS)[int(camera)]
    if camera not in H36M_CAMERAS:
        raise UsageError(f"Human3.6M has no camera {camera}.", f"Known: 0 to 3, or {cameras}.")
    return subject, action, camera


def _h5(path: Path) -> dict[str, Any]:
    """Our layout in an HDF5 file (numbers and texts as attributes), or a result file of `posepipe run`."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            data: dict[str, Any] = dict(file.attrs)
            if "tracks" not in file:
                return data | {name: file[name][()] for name in file if isinstance(file[name], h5py.Dataset)}
            tracks = [(int(name), group) for name, group in file["tracks"].items()]
            if not tracks:
                raise InputError(f"{path} holds nobody.", "Give a result file with people in it.")
            return data | {
                "frame": np.concatenate([group["frame"][()] for _, group in tracks]),
                "person": np.concatenate([np.full(len(group["frame"]), track) for track, group in tracks]),
                "keypoints": np.concatenate([group["keypoints_2d"][()] for _, group in tracks]),
                "confidence": np.concatenate([group["keypoint_confidence"][()] for _, group in tracks]),
            }
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a keypoint file ({error}).", SEE) from None


def _csv(path: Path) -> dict[str, Any]:
    """`# skeleton=coco17 width=1280 height=720 fps=30`, a line of column names, a line per person and frame."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}).", SEE) from None
    lines = text.splitlines()
    told = lines[0][1:].replace(",", " ").split() if lines and lines[0].startswith("#") else []
    data: dict[str, Any] = dict(word.split("=", 1) for word in told if "=" in word)
    layout = data.get("skeleton", "")
    if layout not in SKELETONS:
        raise InputError(f"{path}: its first line has to name the skeleton.", SEE)
    table = list(csv.DictReader(io.StringIO("\n".join(lines[1:]))))
    joints = skeleton(layout).joints
    wanted = ["frame", *(f"{joint}_{axis}" for joint in joints for axis in "xy")]
    absent = [name for name in wanted if not table or name not in table[0]]
    if absent:
        raise InputError(f"{path} has no column '{absent[0]}'." if table else f"{path} has no rows.", SEE)
    number = _Cells(path)
    data["frame"] = np.array([number(row, "frame") for row in table])
    if "person" in table[0]:
        data["person"] = np.array([number(row, "person") for row in table])
    data["keypoints"] = np.array([[[number(row, f"{j}_{a}") for a in "xy"] for j in joints] for row in table])
    if f"{joints[0]}_confidence" in table[0]:
        data["confidence"] = np.array([[number(row, f"{j}_confidence") for j in joints] for row in table])
    return data


class _Cells:
    """Reads one number of a row; an empty cell is NaN."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, row: dict[str, str | None], column: str) -> float:
        text = (row.get(column) or "").strip()
        try:
            return float(text) if text else float("nan")
        except ValueError:
            raise InputError(f"{self._path}: '{text}' in the column {column} is not a number.", SEE) from None


def _array(value: Any, path: Path, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{path}: '{name}' holds no numbers.", SEE) from None


def _number(value: Any, path: Path, name: str) -> float:
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise InputError(f"{path}: '{name}' is not a number.", SEE) from None


def _text(value: Any) -> str:
    value = np.asarray(value).item() if not isinstance(value, (str, bytes)) else value
    return value.decode() if isinstance(value, bytes) else str(value)
