"""Human3.6M as others have prepared it: VideoPose3D's npz files and Martinez' h36m.zip (a tree of h5 files).

Both hold joints in the data set's world frame, z up. Here they become y up: (x, y, z) -> (x, z, -y). 50 frames per
second. Subjects S1 S5 S6 S7 S8 train, S9 S11 validate, as in every protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.safe_h5 import READ_ERRORS, array, groups, inside, open_h5
from posepipe.safe_npz import read_npz
from posepipe.skeleton import H36M_17, MPII_16
from posepipe.training.data.clean import check_person, resample
from posepipe.training.data.layouts import H36M_32_TO_17, Z_UP_TO_Y_UP, clip_name, to_y_up
from posepipe.training.data.motion import Clip, Detections2D, RecordedCamera
from posepipe.training.data.resection import resect

FPS = 50.0
SPLIT = {**dict.fromkeys(("S1", "S5", "S6", "S7", "S8"), "train"), **dict.fromkeys(("S9", "S11"), "validation")}
NOTICE = "Human3.6M (Ionescu, Papava, Olaru, Sminchisescu, PAMI 2014): licensed for academic use, not to be passed on."
# In the order of VideoPose3D's lists.
CAMERAS = ("54138969", "55011271", "58860488", "60457274")
DETECTORS = ("gt", "cpn_ft_h36m_dbb")
_LICENCE = "Human3.6M needs a licence of your own (vision.imar.ro/human3.6m);"
NPZ_HINT = (
    f"{_LICENCE} data_3d_h36m.npz and data_2d_h36m_gt.npz are made by VideoPose3D's data/prepare_data_h36m.py, "
    "data_2d_h36m_cpn_ft_h36m_dbb.npz is linked in its DATASETS.md."
)
H5_HINT = (
    f"{_LICENCE} h36m.zip is described by 3d-pose-baseline (una-dinosauria); unpack it and give the folder that has "
    "S1/MyPoses/3D_positions/*.h5."
)


def npz_clips(source: Path, fps: float | None = None) -> tuple[list[Clip], list[RecordedCamera], list[str]]:
    """data_3d_h36m.npz (or its folder), and data_2d_h36m_*.npz beside it -> clips by subject and action, cameras,
    remarks. The files bring no cameras; they are found from the exact keypoints (data_2d_h36m_gt.npz).

    fps None: the source's 50. Raises InputError naming what is missing, of another shape, or not finite."""
    source = Path(source)
    path = source / "data_3d_h36m.npz" if source.is_dir() else source
    positions = _tree(read_npz(path, NPZ_HINT), "positions_3d", path)
    seen_by: dict[str, dict[str, dict[str, Any]]] = {}
    notes = _missing(positions)
    for detector in DETECTORS:
        beside = path.with_name(f"data_2d_h36m_{detector}.npz")
        if beside.exists():
            seen_by[detector] = _tree(read_npz(beside, NPZ_HINT), "positions_2d", beside)
        else:
            notes.append(f"no {beside.name} beside it: without those 2D keypoints")
    clips = []
    for subject in (s for s in SPLIT if s in positions):
        for action, values in positions[subject].items():
            where = f"{path}: {subject} {action}"
            joints = _numbers(values, where)
            seen = [
                Detections2D(detector, CAMERAS[camera], H36M_17.joints, points)
                for detector, tree in seen_by.items()
                for camera, points in enumerate(_views(tree, subject, action, detector))
            ]
            clips.append(_clip(joints, subject, action, f"{path.name}:{subject}/{action}", where, fps, seen))
    cameras, unknown = _resected(clips)
    if unknown:
        notes.append(f"no cameras for {', '.join(unknown)}: the gt keypoints are not projections of the joints")
    return _some(clips, path, NPZ_HINT), cameras, notes


def _resected(clips: list[Clip]) -> tuple[list[RecordedCamera], list[str]]:
    """The cameras of all subjects with exact keypoints, and the names of those that these do not determine."""
    found: dict[tuple[str, str], list[tuple[NDArray, NDArray]]] = {}
    for clip in clips:
        for seen in clip.keypoints_2d:
            if seen.detector == "gt":
                pair = clip.joints.reshape(-1, 3), seen.points.reshape(-1, 2)
                found.setdefault((clip.subject, seen.camera), []).append(pair)
    cameras, unknown = [], []
    for (subject, name), pairs in found.items():
        world, pixels = (np.concatenate(part) for part in zip(*pairs, strict=True))
        camera = resect(subject, name, world, pixels)
        if camera is None:
            unknown.append(f"{subject}/{name}")
        else:
            cameras.append(camera)
    return cameras, unknown


def h5_clips(source: Path, fps: float | None = None) -> tuple[list[Clip], list[RecordedCamera], list[str]]:
    """The tree of h36m.zip, unpacked: S*/MyPoses/3D_positions/*.h5 ('3D_positions', (96, T) mm), with
    S*/StackedHourglass/*.h5 ('poses', (T, 16, 2) px) and cameras.h5 where they are -> clips, cameras, remarks.

    fps None: the source's 50. Raises InputError naming what is missing, of another shape, or not finite."""
    source = Path(source)
    if not source.is_dir():
        raise InputError(f"{source} is not a folder.", H5_HINT)
    root = source / "h36m" if (source / "h36m").is_dir() else source
    subjects = [s for s in SPLIT if (root / s / "MyPoses" / "3D_positions").is_dir()]
    notes = _missing(subjects)
    clips = []
    for subject in subjects:
        detections = _hourglass(root / subject / "StackedHourglass")
        if not detections:
            notes.append(f"no {subject}/StackedHourglass/*.h5: without its 2D keypoints")
        for path in sorted((root / subject / "MyPoses" / "3D_positions").glob("*.h5")):
            if (subject, path.stem) == ("S11", "Directions"):
                notes.append("S11 Directions left out: its recording is damaged, no protocol uses it")
                continue
            flat = _dataset(path, "3D_positions")
            if flat.ndim != 2 or flat.shape[0] != 96:
                raise InputError(f"{path}: 3D_positions has shape {flat.shape}, needs (96, T).", H5_HINT)
            joints = flat.T.reshape(-1, 32, 3) / 1000
            seen = detections.get(path.stem.replace("_", " "), [])
            clips.append(_clip(joints, subject, path.stem, str(path.relative_to(root)), str(path), fps, seen))
    cameras = []
    if (root / "cameras.h5").exists():
        cameras = [camera for subject in subjects for camera in _cameras(root / "cameras.h5", subject)]
    else:
        notes.append("no cameras.h5: without cameras")
    return _some(clips, source, H5_HINT), cameras, notes


def _clip(
    joints: NDArray, subject: str, action: str, source: str, where: str, fps: float | None, seen: list[Detections2D]
) -> Clip:
    if joints.ndim != 3 or joints.shape[1:] not in ((32, 3), (17, 3)) or not len(joints):
        raise InputError(f"{where} has shape {joints.shape}, needs (T, 32, 3).")
    joints = to_y_up(joints[:, H36M_32_TO_17] if joints.shape[1] == 32 else joints, Z_UP_TO_Y_UP)
    name = clip_name(subject, action)
    check_person(joints, name)
    rows = resample(np.arange(len(joints)), FPS, fps or FPS)
    # Some videos are a few frames longer than the motion capture: cut at its end, as VideoPose3D does.
    kept = []
    for view in seen:
        if len(view.points) < len(joints):
            raise InputError(f"{where}: {view.detector} has {len(view.points)} frames, the 3D {len(joints)}.")
        kept.append(Detections2D(view.detector, view.camera, view.names, view.points[rows]))
    kind = re.sub(r"[ _]\d+$", "", action)
    values = joints[rows].astype(np.float32)
    return Clip(name, subject, values, kind, source, fps or FPS, SPLIT[subject], tuple(kept))


def _tree(arrays: dict[str, Any], key: str, path: Path) -> dict[str, dict[str, Any]]:
    if key not in arrays:
        raise InputError(f"{path} has no '{key}' (only {', '.join(sorted(arrays)) or 'nothing'}).", NPZ_HINT)
    tree = arrays[key]
    if not isinstance(tree, dict) or not all(isinstance(actions, dict) for actions in tree.values()):
        raise InputError(f"{path}: '{key}' is not subjects of actions.", NPZ_HINT)
    unknown = sorted(str(subject) for subject in tree if subject not in SPLIT)
    if unknown:
        raise InputError(f"{path} has the subject '{unknown[0]}'.", f"Known: {', '.join(SPLIT)}.")
    return tree


def _views(tree: dict[str, dict[str, Any]], subject: str, action: str, detector: str) -> list[NDArray[np.float32]]:
    views = tree.get(subject, {}).get(action)
    where = f"data_2d_h36m_{detector}.npz"
    if views is None:
        raise InputError(f"{where} lacks {subject} {action}.", NPZ_HINT)
    if not isinstance(views, (list, tuple, np.ndarray)) or len(views) > len(CAMERAS):
        raise InputError(f"{where}: {subject} {action} is not a list of {len(CAMERAS)} views.", NPZ_HINT)
    arrays = []
    for view in views:
        points = _numbers(view, f"{where}: {subject} {action}")
        points = points[:, H36M_32_TO_17] if points.ndim == 3 and points.shape[1] == 32 else points
        if points.ndim != 3 or points.shape[1:] != (17, 2) or not np.isfinite(points).all():
            raise InputError(f"{where}: {subject} {action} is not a finite (T, 17, 2) but {points.shape}.", NPZ_HINT)
        arrays.append(points.astype(np.float32))
    return arrays


def _numbers(values: Any, where: str) -> NDArray:
    array = np.asarray(values) if isinstance(values, np.ndarray) else np.empty(0, object)
    if array.dtype.kind not in "fi":
        raise InputError(f"{where} is not an array of numbers.", NPZ_HINT)
    return array


def _dataset(path: Path, key: str) -> NDArray[np.float64]:
    try:
        with open_h5(path) as file:
            return np.asarray(array(file, key, "fiu"), np.float64)
    except READ_ERRORS as error:
        raise InputError(f"Cannot read '{key}' from {path} ({error}).", H5_HINT) from None


def _hourglass(folder: Path) -> dict[str, list[Detections2D]]:
    """Files `<action>.<camera>.h5`, actions with _ where the 3D files have a space."""
    found: dict[str, list[Detections2D]] = {}
    for path in sorted(folder.glob("*.h5")):
        action, _, camera = path.stem.rpartition(".")
        points = _dataset(path, "poses")
        if points.ndim != 3 or points.shape[1:] != (16, 2) or not np.isfinite(points).all():
            raise InputError(f"{path}: 'poses' is not a finite (T, 16, 2) but {points.shape}.", H5_HINT)
        seen = Detections2D("stacked_hourglass", camera, MPII_16.joints, points.astype(np.float32))
        found.setdefault(action.replace("_", " "), []).append(seen)
    return found


# /subjectN/cameraK: what it holds, and how many numbers each is
_CAMERA_SIZES = {"R": 9, "T": 3, "f": 2, "c": 2, "k": 3, "p": 2}


def _cameras(path: Path, subject: str) -> list[RecordedCamera]:
    """/subjectN/cameraK/{R, T, f, c, k, p, Name}: R transposed (MATLAB), T the camera's centre in mm; as the
    first version of 3d-pose-baseline reads them: R.T (p - T)."""
    cameras = []
    try:
        with open_h5(path) as file:
            for group in groups(inside(file, f"subject{subject[1:]}")).values():
                get = {key: array(group, key, "fiu").astype(np.float64) for key in (*_CAMERA_SIZES, "Name")}
                flat = {key: value.ravel() for key, value in get.items()}
                for key, size in _CAMERA_SIZES.items():
                    if flat[key].size != size or not np.isfinite(flat[key]).all():
                        raise ValueError(f"'{key}' is not {size} finite numbers")
                name = "".join(chr(int(letter)) for letter in flat["Name"])
                if not name.isalnum():
                    raise ValueError(f"'{name}' is no camera's name")
                turn, centre = get["R"].reshape(3, 3).T @ Z_UP_TO_Y_UP.T, to_y_up(flat["T"] / 1000, Z_UP_TO_Y_UP)
                cameras.append(RecordedCamera(subject, name, turn, centre, flat["f"], flat["c"], flat["k"], flat["p"]))
    except READ_ERRORS as error:
        raise InputError(f"Cannot read the cameras of {subject} from {path} ({error}).", H5_HINT) from None
    return cameras


def _missing(found: Iterable[str]) -> list[str]:
    present = set(found)
    absent = [subject for subject in SPLIT if subject not in present]
    return [f"without subjects {', '.join(absent)}: numbers cannot be compared with papers"] if absent else []


def _some(clips: list[Clip], source: Path, hint: str) -> list[Clip]:
    if not clips:
        raise InputError(f"{source} has no motion of Human3.6M's subjects.", hint)
    return clips
