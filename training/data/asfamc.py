"""Read Acclaim motion capture: ASF (the skeleton) and AMC (the motion).

Format: Acclaim's ASF/AMC (described by J. Lander, "Working with Motion Capture File Formats", Game Developer, January
1998, and on the CMU Graphics Lab Motion Capture Database's tools page). Our own reader. y is up, angles in degrees or
radians as the files say, lengths in file units; one file unit is (1 / `length`) inches, so that
metres = units * (1 / length) * 2.54 / 100.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from posepipe.errors import InputError
from posepipe.training.data.acclaim import (
    ROOT,
    AcclaimMotion,
    AcclaimSkeleton,
    Bone,
    forward_kinematics,
)

__all__ = ["AcclaimMotion", "AcclaimSkeleton", "Bone", "forward_kinematics", "read_amc", "read_asf"]

INCH_IN_METRES = 2.54 / 100
_CHANNELS = ("tx", "ty", "tz", "rx", "ry", "rz")


@dataclass
class _Root:
    order: tuple[str, ...] = _CHANNELS
    axis: str = "XYZ"
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass
class _Lines:
    """Non-empty lines of a file with comments removed, and where we are, for error messages."""

    text: str
    name: str
    number: int = 0
    rows: Iterator[list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = self._walk()

    def _walk(self) -> Iterator[list[str]]:
        for number, line in enumerate(self.text.splitlines(), 1):
            self.number = number
            words = line.split("#", 1)[0].split()
            if words:
                yield words

    def error(self, what: str) -> InputError:
        return InputError(f"{self.name}, line {self.number}: {what}.", "The file is damaged or not Acclaim ASF/AMC.")

    def floats(self, words: list[str], count: int, what: str) -> tuple[float, ...]:
        try:
            values = tuple(float(word) for word in words)
        except ValueError:
            raise self.error(f"{what} must be numbers, found '{' '.join(words)}'") from None
        if len(values) != count or not np.isfinite(values).all():
            raise self.error(f"{what} needs {count} finite numbers, found '{' '.join(words)}'")
        return values

    def vector(self, words: list[str], what: str) -> tuple[float, float, float]:
        x, y, z = self.floats(words, 3, what)
        return x, y, z

    def axis_order(self, word: str) -> str:
        if sorted(word.upper()) != ["X", "Y", "Z"]:
            raise self.error(f"'{word}' is not an order of axes like XYZ")
        return word.upper()


def read_asf(text: str, name: str = "ASF file") -> AcclaimSkeleton:
    """Parse the text of an ASF file; name appears in errors. Raises InputError naming file and line."""
    lines = _Lines(text, name)
    length, degrees = 1.0, True
    root = _Root()
    bones: dict[str, Bone] = {}
    parents: dict[str, str] = {}
    section = ""
    for words in lines.rows:
        if words[0].startswith(":"):
            section = words[0][1:].lower()
        elif section == "units":
            if words[0].lower() == "length":
                (length,) = lines.floats(words[1:], 1, "length")
                if length <= 0:
                    raise lines.error("length must be positive")
            elif words[0].lower() == "angle":
                degrees = words[-1].lower().startswith("deg")
        elif section == "root":
            _read_root_line(lines, words, root)
        elif section == "bonedata" and words[0].lower() == "begin":
            bone = _read_bone(lines, degrees)
            if bone.name in bones or bone.name == ROOT:
                raise lines.error(f"bone '{bone.name}' is defined twice")
            bones[bone.name] = bone
        elif section == "hierarchy" and words[0].lower() not in ("begin", "end"):
            for child in words[1:]:
                if child in parents:
                    raise lines.error(f"bone '{child}' has two parents")
                if child not in bones:
                    raise lines.error(f"the hierarchy names an unknown bone '{child}'")
                parents[child] = words[0]
    if not bones:
        raise InputError(f"{name} has no bones.", "It must be an Acclaim ASF file with a :bonedata section.")
    return AcclaimSkeleton(
        bones=_parents_first(bones, parents, name),
        parents=parents,
        metres_per_unit=INCH_IN_METRES / length,
        degrees=degrees,
        root_order=root.order,
        root_position=root.position,
        root_orientation=root.orientation,
        root_axis=root.axis,
    )


def _read_root_line(lines: _Lines, words: list[str], root: _Root) -> None:
    key = words[0].lower()
    if key == "order":
        root.order = tuple(word.lower() for word in words[1:])
        if sorted(root.order) != sorted(_CHANNELS):
            raise lines.error("the root's order must name TX TY TZ RX RY RZ once each")
    elif key == "axis":
        root.axis = lines.axis_order(words[-1])
    elif key == "position":
        root.position = lines.vector(words[1:], "position")
    elif key == "orientation":
        root.orientation = lines.vector(words[1:], "orientation")


def _read_bone(lines: _Lines, degrees: bool) -> Bone:
    """Read from the line after `begin` to `end`."""
    start = lines.number
    found: dict[str, list[str]] = {}
    key = ""
    for words in lines.rows:
        if words[0].lower() == "end":
            break
        if words[0].startswith("("):  # limits go on for one line per channel
            found.setdefault(key, []).extend(words)
        else:
            key = words[0].lower()
            found[key] = words[1:]
    else:
        raise lines.error(f"the bone that begins in line {start} has no end")
    for need in ("name", "direction", "length", "axis"):
        if not found.get(need):
            raise lines.error(f"the bone that begins in line {start} has no {need}")
    name = found["name"][0]
    dof = tuple(word.lower() for word in found.get("dof", []))
    if any(channel not in ("rx", "ry", "rz") for channel in dof):
        raise lines.error(f"bone '{name}' has the channels {' '.join(dof)}, only rx ry rz can be read")
    numbers = " ".join(found.get("limits", [])).replace("(", " ").replace(")", " ").replace(",", " ").split()
    try:
        bounds = [float(word) for word in numbers]
    except ValueError:
        raise lines.error(f"the limits of bone '{name}' must be numbers") from None
    if bounds and len(bounds) != 2 * len(dof):
        raise lines.error(f"bone '{name}' has {len(dof)} channels but {len(bounds)} limit values")
    direction = np.array(lines.vector(found["direction"], f"the direction of bone '{name}'"))
    norm = float(np.linalg.norm(direction))
    if norm < 1e-9:
        raise lines.error(f"bone '{name}' has no direction")
    x, y, z = (float(v) for v in direction / norm)
    axis = found["axis"]
    return Bone(
        name=name,
        direction=(x, y, z),
        length=lines.floats(found["length"], 1, f"the length of bone '{name}'")[0],
        axis=lines.vector(axis[:3], f"the axis of bone '{name}'"),
        axis_order=lines.axis_order(axis[3]) if len(axis) > 3 else "XYZ",
        dof=dof,
        limits=tuple(zip(bounds[::2], bounds[1::2], strict=True)),
    )


def _parents_first(bones: dict[str, Bone], parents: dict[str, str], name: str) -> tuple[Bone, ...]:
    ordered: list[Bone] = []
    placed = {ROOT}
    waiting = list(bones.values())
    while waiting:
        ready = [bone for bone in waiting if parents.get(bone.name) in placed]
        if not ready:
            raise InputError(f"{name}: bone '{waiting[0].name}' does not hang from the root.", "Check :hierarchy.")
        ordered.extend(ready)
        placed.update(bone.name for bone in ready)
        waiting = [bone for bone in waiting if bone.name not in placed]
    return tuple(ordered)


def read_amc(
    text: str, skeleton: AcclaimSkeleton, name: str = "AMC file", drop_truncated: bool = False
) -> AcclaimMotion:
    """Parse the text of an AMC file for a skeleton; name appears in errors. drop_truncated: leave out a last frame that
    is incomplete (CMU's 64_01 as we have it ends in the middle of one) instead of raising.

    Raises InputError naming file and line for an unknown bone, a wrong number of values, something that is not a
    finite number, frames that are not numbered in order, or a frame that lacks a bone."""
    lines = _Lines(text, name)
    counts = {ROOT: len(skeleton.root_order), **{bone.name: len(bone.dof) for bone in skeleton.bones if bone.dof}}
    rows: dict[str, list[list[str]]] = {bone: [] for bone in counts}
    degrees = skeleton.degrees
    frame = 0
    for words in lines.rows:
        key = words[0]
        if key in counts:
            if len(words) - 1 != counts[key]:
                if drop_truncated and next(lines.rows, None) is None:
                    break  # the last line of the file
                raise lines.error(f"'{key}' needs {counts[key]} values, found {len(words) - 1}")
            if len(rows[key]) != frame - 1:
                raise lines.error(f"'{key}' appears twice in frame {frame}" if frame else "values before frame 1")
            rows[key].append(words[1:])
        elif key.isdecimal():
            _check_complete(lines, rows, frame)
            frame += 1
            if int(key) != frame:
                raise lines.error(f"expected frame {frame}, found {key}")
        elif key.startswith(":"):
            degrees = True if key.upper() == ":DEGREES" else False if key.upper() == ":RADIANS" else degrees
        else:
            raise lines.error(f"unknown bone '{key}'")
    truncated = drop_truncated and frame > 1 and any(len(values) != frame for values in rows.values())
    if truncated:
        frame -= 1
        rows = {bone: values[:frame] for bone, values in rows.items()}
    _check_complete(lines, rows, frame)
    if frame == 0:
        raise InputError(f"{name} has no frames.", "It must be an Acclaim AMC file.")
    channels = {}
    for bone, values in rows.items():
        try:
            channels[bone] = np.array(values, dtype=np.float64)
        except ValueError as error:
            raise InputError(f"{name}: a value of bone '{bone}' is not a number ({error}).") from None
        bad = np.flatnonzero(~np.isfinite(channels[bone]).all(axis=1))
        if bad.size:
            raise InputError(f"{name}: bone '{bone}' has a value that is not finite in frame {bad[0] + 1}.")
    return AcclaimMotion(channels, degrees, frame, truncated)


def _check_complete(lines: _Lines, rows: dict[str, list[list[str]]], frame: int) -> None:
    for bone, values in rows.items():
        if len(values) != frame:
            raise lines.error(f"frame {frame} has no values for '{bone}'")
