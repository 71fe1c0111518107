"""BVH to H36M-17 clips: joints by their names, metres by the length of the legs.

A BVH joint stands at the start of its bone: the elbow is the joint `LeftForeArm`. The table knows the names of CMU's
BVH, Mixamo, Unreal-like and Blender-like rigs and our own export; `--map` names others. The hip is the middle between
the two hip joints, as in Human3.6M.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.config import read_toml
from posepipe.errors import InputError, UsageError
from posepipe.skeleton import H36M_17
from posepipe.training.data.bvh import joint_positions, read_bvh
from posepipe.training.data.clean import check_person, resample, steady_runs
from posepipe.training.data.h36m17 import FROM_POSITIONS, to_h36m17
from posepipe.training.data.layouts import clip_name
from posepipe.training.data.motion import Clip
from posepipe.training.data.positions import PositionClips, restore_thorax

# Candidates in order of preference, as _plain() writes them; {s} is left, right, l or r.
_TRUNK = {
    "spine": ("spine1", "spine01", "spine02", "spine", "chest", "torso"),
    "thorax": ("thorax", "neck", "neck01", "neck1"),
    "neck": ("head",),
    "head": ("headend", "headtopend", "headtop", "headnub"),
}
_SIDES = {
    "hip": ("{s}upleg", "{s}hip", "{s}thigh", "{s}upperleg", "thigh{s}"),
    "knee": ("{s}leg", "{s}knee", "{s}shin", "{s}calf", "{s}lowerleg", "shin{s}", "calf{s}"),
    "ankle": ("{s}foot", "{s}ankle", "foot{s}"),
    "shoulder": ("{s}arm", "{s}upperarm", "{s}uparm", "{s}shoulder", "upperarm{s}"),
    "elbow": ("{s}forearm", "{s}elbow", "{s}lowerarm", "{s}lowarm", "forearm{s}", "lowerarm{s}"),
    "wrist": ("{s}hand", "{s}wrist", "hand{s}"),
}
# metres; the ranges of plausible legs (hip to ankle, 0.6-1.1 m) in these units do not overlap. 0.0564: CMU's own.
UNITS = {"m": 1.0, "cm": 0.01, "inch": 0.0254, "mm": 0.001, "CMU unit": 2.54 / 100 / 0.45}
_LEG = (0.6, 1.1)
_HINT = 'Name the file\'s joints with --map FILE.toml, lines like: r_hip = "RightThigh".'


def bvh_clips(
    source: Path, fps: float | None = None, names: dict[str, str] | None = None, validation: tuple[str, ...] = ()
) -> tuple[list[Clip], list[str]]:
    """A BVH file, or a folder of them (searched through) -> clips and remarks.

    names: H36M-17 joint -> joint of the file, before the table. A clip's subject is its file's name up to the first
    "_"; those in validation are for validation, all others for training. fps None: 30, or the file's own if lower.
    Raises InputError for an unreadable file, a joint that is not found, a body of no known unit."""
    source = Path(source)
    paths = sorted(p for p in source.rglob("*") if p.suffix.lower() == ".bvh") if source.is_dir() else [source]
    if not paths:
        raise InputError(f"{source} has no .bvh files.")
    clips: list[Clip] = []
    notes: list[str] = []
    for path in paths:
        file = read_bvh(path)
        joints, mapped, unit = _h36m17(
            joint_positions(file), file.names, tuple(j.parent for j in file.joints), path, names
        )
        notes.append(f"{path.name}: unit {unit}; " + mapped)
        name, subject = clip_name(path.stem), path.stem.split("_")[0]
        check_person(joints, name)
        rate = min(30.0, file.fps) if fps is None else fps
        split = "validation" if subject in validation else "train"
        for number, run in enumerate(steady_runs(joints, file.fps, name)):
            part = resample(joints[run], file.fps, rate).astype(np.float32)
            clips.append(Clip(f"{name}.{number}" if number else name, subject, part, "", path.name, rate, split))
    absent = sorted(set(validation) - {clip.subject for clip in clips})
    if absent:
        raise UsageError(
            f"No file is of the subject '{absent[0]}'.", f"Found: {', '.join(sorted({c.subject for c in clips}))}."
        )
    return clips, notes


def read_map(path: Path) -> dict[str, str]:
    """A TOML file of H36M-17 joint = "joint of the BVH". Raises InputError for other keys or values."""
    names = read_toml(path)
    for key, value in names.items():
        if key not in H36M_17.joints:
            near = difflib.get_close_matches(key, H36M_17.joints, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(H36M_17.joints)}."
            raise InputError(f"{path}: unknown joint '{key}'.", hint)
        if not isinstance(value, str):
            raise InputError(f"{path}: '{key}' must be the name of a joint, not {value!r}.")
    return names


def _h36m17(
    joints: NDArray, names: tuple[str, ...], parents: tuple[int, ...], path: Path, given: dict[str, str] | None
) -> tuple[NDArray[np.float64], str, str]:
    if not given and {"LHipJoint", "LowerBack", *FROM_POSITIONS.values()} <= set(names):
        # CMU's skeleton: the same as the position clips, with the same wrists and lost thorax.
        unit = _unit(joints, [names.index(FROM_POSITIONS[j]) for j in ("l_hip", "l_knee", "l_ankle")], path)
        clips = restore_thorax(PositionClips({"": joints * UNITS[unit]}, names, parents, 1.0))
        return to_h36m17(clips.clips[""], names, FROM_POSITIONS), "CMU's skeleton", unit
    mapping = match_names(names, given or {}, path)
    result = np.empty((len(joints), len(H36M_17), 3))
    for joint, name in mapping.items():
        result[:, H36M_17.index(joint)] = joints[:, names.index(name)]
    if "hip" not in mapping:
        result[:, 0] = (result[:, H36M_17.index("l_hip")] + result[:, H36M_17.index("r_hip")]) / 2
    unit = _unit(result, [H36M_17.index(j) for j in ("l_hip", "l_knee", "l_ankle")], path)
    return result * UNITS[unit], ", ".join(f"{joint} = {name}" for joint, name in mapping.items()), unit


def match_names(names: tuple[str, ...], given: dict[str, str], path: Path) -> dict[str, str]:
    """H36M-17 joint -> name in the file, for all but perhaps the hip. Raises InputError for joints not found."""
    unknown = sorted(set(given.values()) - set(names))
    if unknown:
        raise InputError(f"{path} has no joint '{unknown[0]}'.", f"It has: {', '.join(names)}.")
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain(name), name)
    mapping = dict(given)
    for joint in H36M_17.joints[1:]:
        found = (plain[key] for key in _candidates(joint) if key in plain)
        exact = joint if joint in names else next(found, None)
        if joint not in mapping and exact is not None:
            mapping[joint] = exact
    missing = [joint for joint in H36M_17.joints[1:] if joint not in mapping]
    if missing:
        raise InputError(f"{path}: no joint found for {', '.join(missing)}, among {', '.join(names)}.", _HINT)
    return mapping


def _candidates(joint: str) -> list[str]:
    side, _, part = joint.partition("_")
    if part not in _SIDES:
        return list(_TRUNK.get(joint, ()))
    sides = ("left", "l") if side == "l" else ("right", "r")
    return [pattern.format(s=word) for pattern in _SIDES[part] for word in sides]


def _plain(name: str) -> str:
    """ "mixamorig:Left_Arm" -> "leftarm"."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^mixamorig\d*", "", name.rsplit(":", 1)[-1].lower()))


def _unit(joints: NDArray, leg: list[int], path: Path) -> str:
    hip, knee, ankle = (joints[:, index] for index in leg)
    length = float(np.median(np.linalg.norm(knee - hip, axis=-1) + np.linalg.norm(ankle - knee, axis=-1)))
    for unit, metres in UNITS.items():
        if _LEG[0] <= length * metres <= _LEG[1]:
            return unit
    raise InputError(f"{path}: legs of {length:.3g} fit no unit of {', '.join(UNITS)}.", _HINT)
