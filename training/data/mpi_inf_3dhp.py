"""MPI-INF-3DHP (Mehta et al. 2017): the test set as published (annot_data.mat, v7.3, which is HDF5) and npz of it.

The joints are `univ_annot3`, scaled to one height, which is what papers evaluate on; millimetres, camera frame. The
test set brings no extrinsics, so "up" is the camera's up: (x, y, z) -> (x, -y, -z). Frames that are not valid are left
out; a sequence becomes one clip per stretch of valid frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.safe_h5 import READ_ERRORS, array, open_h5
from posepipe.safe_npz import read_npz
from posepipe.skeleton import H36M_17
from posepipe.training.data.clean import check_person, resample
from posepipe.training.data.layouts import (
    CAMERA_TO_Y_UP,
    MPI_INF_17_TO_H36M,
    MPI_INF_28_TO_H36M,
    clip_name,
    to_y_up,
)
from posepipe.training.data.motion import Clip, Detections2D

# Assumed: the files do not say.
FPS = 25.0
NOTICE = "MPI-INF-3DHP (Mehta et al., 3DV 2017): licensed for non-commercial research, not to be passed on."
_PAGE = "The data set's page is vcai.mpi-inf.mpg.de/3dhp-dataset (mpi_inf_3dhp_test_set.zip)."
MAT_HINT = f"Expected the folder with TS1/annot_data.mat ... TS6/annot_data.mat. {_PAGE}"
NPZ_HINT = f"Expected an npz with data = {{'TS1': {{'data_2d', 'data_3d', 'valid'}}, ...}}. {_PAGE}"
_KEYS = ("annot2", "univ_annot3", "valid_frame")


def clips_of_test_set(source: Path, fps: float | None = None) -> tuple[list[Clip], list[str]]:
    """A folder of TS*/annot_data.mat, one such file, or an npz -> validation clips and remarks.

    fps None: the source's. Raises InputError naming what is missing, of another shape, or not finite."""
    source = Path(source)
    if not source.exists():
        raise InputError(f"There is no {source}.", MAT_HINT)
    if source.suffix == ".npz":
        sequences = _from_npz(source)
    elif source.is_dir():
        files = sorted(source.glob("TS*/annot_data.mat")) or sorted(source.glob("*/TS*/annot_data.mat"))
        sequences = {path.parent.name: _from_mat(path) for path in files}
    else:
        sequences = {source.resolve().parent.name: _from_mat(source)}
    if not sequences:
        raise InputError(f"{source} has no TS*/annot_data.mat.", MAT_HINT)
    absent = [name for name in (f"TS{i}" for i in range(1, 7)) if name not in sequences]
    notes = [f"without {', '.join(absent)}: numbers cannot be compared with papers"] if absent else []
    notes.append("up is the camera's up (the test set has no extrinsics); joints are univ_annot3")
    clips = [clip for name, values in sequences.items() for clip in _clips(name, *values, str(source), fps)]
    if not clips:
        raise InputError(f"{source} has no valid frames.", MAT_HINT)
    return clips, notes


def _clips(name: str, points: NDArray, joints: NDArray, valid: NDArray, source: str, fps: float | None) -> list[Clip]:
    frames = valid.size
    orders = {17: MPI_INF_17_TO_H36M, 28: MPI_INF_28_TO_H36M}
    count = joints.shape[1] if joints.ndim == 3 else 0
    if count not in orders or joints.shape != (frames, count, 3) or points.shape != (frames, count, 2):
        raise InputError(
            f"{source}: {name} has 3D {joints.shape}, 2D {points.shape} and {frames} flags of validity, "
            "needs (T, 17, 3), (T, 17, 2) and T.",
            MAT_HINT,
        )
    order = list(orders[count])
    joints = to_y_up(joints[:, order] / 1000, CAMERA_TO_Y_UP)
    points = points[:, order].astype(np.float32)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], valid.ravel() > 0.5, [False]]).astype(int)))
    clips = []
    for number, (start, stop) in enumerate(edges.reshape(-1, 2)):
        part = clip_name(f"{name}.{number}" if number else name)
        check_person(joints[start:stop], part)
        if not np.isfinite(points[start:stop]).all():
            raise InputError(f"{source}: the 2D keypoints of {part} are not finite.", MAT_HINT)
        rows = start + resample(np.arange(stop - start), FPS, fps or FPS)
        seen = (Detections2D("gt", "0", H36M_17.joints, points[rows]),)
        values = joints[rows].astype(np.float32)
        clips.append(Clip(part, name, values, "", f"{Path(source).name}:{name}", fps or FPS, "validation", seen))
    return clips


def _from_mat(path: Path) -> tuple[NDArray, NDArray, NDArray]:
    """annot2 (T, 1, 17, 2) px, univ_annot3 (T, 1, 17, 3) mm, valid_frame (T, 1): MATLAB's axes, reversed."""
    try:
        with open_h5(path) as file:
            missing = [key for key in _KEYS if key not in file]
            if missing:
                raise InputError(f"{path} has no {', '.join(missing)}.", MAT_HINT)
            points, joints, valid = (array(file, key, "fiu").astype(np.float64) for key in _KEYS)
    except READ_ERRORS as error:
        raise InputError(f"Cannot read {path} ({error}).", MAT_HINT) from None
    return _without_person(points), _without_person(joints), valid.ravel()


def _without_person(values: NDArray) -> NDArray:
    return values[:, 0] if values.ndim == 4 and values.shape[1] == 1 else values


def _from_npz(path: Path) -> dict[str, tuple[NDArray, NDArray, NDArray]]:
    data: Any = read_npz(path, NPZ_HINT).get("data")
    if not isinstance(data, dict):
        raise InputError(f"{path} has no 'data' of sequences.", NPZ_HINT)
    sequences = {}
    for name, parts in data.items():
        if not isinstance(parts, dict) or not {"data_2d", "data_3d", "valid"} <= set(parts):
            raise InputError(f"{path}: {name} lacks data_2d, data_3d or valid.", NPZ_HINT)
        try:
            arrays = [np.asarray(parts[key], np.float64) for key in ("data_2d", "data_3d", "valid")]
        except (TypeError, ValueError):
            raise InputError(f"{path}: {name} is not arrays of numbers.", NPZ_HINT) from None
        sequences[str(name)] = (_without_person(arrays[0]), _without_person(arrays[1]), arrays[2].ravel())
    return sequences
