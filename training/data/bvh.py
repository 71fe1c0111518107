"""Read BVH (Biovision hierarchy): the tree, the channels, and where every joint is.

As described by J. Thingvold and M. Meredith & S. Maddock, "Motion Capture File Formats Explained" (2001): a joint's
matrix is its offset, then its rotations in the order in which its channels stand, first outermost. Position channels
are added to the root's offset; on other joints they replace it, as programs that write them mean it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.training.data.acclaim import rotation

_POSITION = ("Xposition", "Yposition", "Zposition")
_ROTATION = ("Xrotation", "Yrotation", "Zrotation")
_HINT = "The file is damaged or no BVH."


@dataclass(frozen=True)
class BvhJoint:
    """parent: index, -1 at the root. offset: (3,) file units. An end site is a joint `<parent>End` without channels."""

    name: str
    parent: int
    offset: tuple[float, float, float]
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Bvh:
    """joints: parents first. values: (T, channels) file units and degrees."""

    joints: tuple[BvhJoint, ...]
    values: NDArray[np.float64]
    fps: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)


def read_bvh(path: Path) -> Bvh:
    """Parse a file. Raises InputError when it is missing, damaged, truncated, or holds values that are not finite."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror}).") from None
    head, found, rest = text.partition("MOTION")
    if not found:
        raise InputError(f"{path} has no MOTION.", _HINT)
    try:
        joints = _hierarchy(head.split())
        frames, step, values = _motion(rest)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: {str(error) or 'it ends too early'}.", _HINT) from None
    width = sum(len(joint.channels) for joint in joints)
    if frames < 1 or not 0 < step < 10:
        raise InputError(f"{path}: {frames} frames, {step:g} s apart.", _HINT)
    if values.size != frames * width:
        raise InputError(f"{path} has {values.size} values, {frames} frames of {width} need {frames * width}.", _HINT)
    values = values.reshape(frames, width)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise InputError(f"{path} has values that are not finite, first in frame {bad[0]}.")
    # 0.0333333 means 30, or the last frame would fall out when the rate is kept
    fps = 1 / step
    return Bvh(joints, values, float(round(fps)) if abs(fps - round(fps)) < 2e-4 * fps else fps)


def _hierarchy(words: list[str]) -> tuple[BvhJoint, ...]:
    joints: list[BvhJoint] = []
    open_joints: list[int] = []
    at = 0
    if not words or words[0] != "HIERARCHY":
        raise ValueError("it does not start with HIERARCHY")
    while (at := at + 1) < len(words):
        word = words[at]
        if word in ("ROOT", "JOINT", "End"):
            stop = words.index("{", at)
            name = " ".join(words[at + 1 : stop])
            parent = open_joints[-1] if open_joints else -1
            if (word == "ROOT") != (parent < 0):
                raise ValueError(f"'{name}' is not below one root")
            name = f"{joints[parent].name}End" if word == "End" else name
            if name in {joint.name for joint in joints}:
                raise ValueError(f"two joints are named '{name}'")
            offset, channels, at = _body(words, stop + 1, name)
            open_joints.append(len(joints))
            joints.append(BvhJoint(name, parent, offset, channels))
        elif word == "}":
            open_joints.pop()
        else:
            raise ValueError(f"'{word}' is not expected in the hierarchy")
    if open_joints or not joints:
        raise ValueError("the hierarchy ends too early")
    return tuple(joints)


def _body(words: list[str], at: int, name: str) -> tuple[tuple[float, float, float], tuple[str, ...], int]:
    """OFFSET and CHANNELS from words[at] on -> them and the index of their last word."""
    if words[at] != "OFFSET":
        raise ValueError(f"'{name}' has no OFFSET")
    x, y, z = (float(word) for word in words[at + 1 : at + 4])
    if not np.isfinite((x, y, z)).all():
        raise ValueError(f"the offset of '{name}' is not finite")
    at += 4
    if words[at] != "CHANNELS":
        return (x, y, z), (), at - 1
    count = int(words[at + 1])
    channels = tuple(words[at + 2 : at + 2 + count])
    if len(set(channels)) != count or not set(channels) <= {*_POSITION, *_ROTATION}:
        raise ValueError(f"the channels of '{name}' are '{' '.join(channels)}'")
    return (x, y, z), channels, at + 1 + count


def _motion(text: str) -> tuple[int, float, NDArray[np.float64]]:
    words = text.split()
    if words[0] != "Frames:" or words[2:4] != ["Frame", "Time:"]:
        raise ValueError("MOTION does not start with Frames: and Frame Time:")
    return int(words[1]), float(words[4]), np.array([float(word) for word in words[5:]])


def joint_positions(bvh: Bvh) -> NDArray[np.float64]:
    """(T, J, 3) in file units, the file's axes (y up by custom), joints as bvh.names."""
    frames, column = len(bvh.values), 0
    places: list[NDArray[np.float64]] = []
    turns: list[NDArray[np.float64]] = []
    for joint in bvh.joints:
        own = dict(zip(joint.channels, bvh.values[:, column : column + len(joint.channels)].T, strict=True))
        column += len(joint.channels)
        place = np.tile(np.array(joint.offset), (frames, 1))
        for axis, channel in enumerate(_POSITION):
            if channel in own:
                place[:, axis] = own[channel] + (joint.offset[axis] if joint.parent < 0 else 0)
        rotations = [channel for channel in joint.channels if channel in _ROTATION]
        turn = np.broadcast_to(np.eye(3), (frames, 3, 3))
        if rotations:
            # acclaim.rotation takes the innermost first
            angles = np.radians(np.stack([own[channel] for channel in reversed(rotations)], axis=1))
            turn = rotation(angles, "".join(channel[0] for channel in reversed(rotations)))
        if joint.parent >= 0:
            above = turns[joint.parent]
            place = places[joint.parent] + (above @ place[..., None])[..., 0]
            turn = above @ turn
        places.append(place)
        turns.append(turn)
    return np.stack(places, axis=1)
