"""CMU motion to one motion file (motion.py): H36M-17 joints in the world frame, split by subject.

A clip that was cut at glitches (clean.py) becomes <name>, <name>.1, ...
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.training.data.asfamc import AcclaimSkeleton, forward_kinematics, read_amc, read_asf
from posepipe.training.data.clean import check_build, resample, steady_runs
from posepipe.training.data.h36m17 import FROM_ACCLAIM, FROM_POSITIONS, to_h36m17
from posepipe.training.data.motion import Clip, load_motion, write_motion
from posepipe.training.data.positions import read_positions, restore_thorax

__all__ = ["Clip", "build_cmu", "load_motion", "write_motion"]

CMU_FPS = 120.0
NOTICE = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)
VALIDATION_SUBJECTS = frozenset({"05"})
# The position clips come from several, unnamed CMU subjects, all on the skeleton of 02.
POSITIONS_SUBJECT = "actions"
ACTIONS = {
    "01": "climb",
    "02": "locomotion, punch, swordplay, bend, wash",
    "03": "uneven terrain",
    "05": "modern dance",
    "64": "golf",
    "131": "styled dance",
    "135": "martial arts",
}
_MEMBER = re.compile(r"(?:.*/)?(?P<subject>\w+)/(?P<clip>(?P=subject)_\w+)\.amc$", re.IGNORECASE)


def build_cmu(asf_zip: Path, positions_npz: Path | None, out: Path, fps: float = 30) -> list[Clip]:
    """Read CMU's ASF/AMC archive (subjects/NN/NN.asf and NN_MM.amc, read in place) and, if given, the position clips;
    write them to out and return them.

    Atomic: out exists complete or not at all. Raises InputError for unreadable or implausible input, OutputError when
    out cannot be written."""
    clips = acclaim_clips(asf_zip, fps)
    if positions_npz is not None:
        clips += position_clips(positions_npz, fps)
    check_splits(clips)
    write_motion(clips, out, NOTICE)
    return clips


def acclaim_clips(asf_zip: Path, fps: float = 30) -> list[Clip]:
    """All AMC files of the archive, in the order of their names. Raises InputError."""
    clips: list[Clip] = []
    skeletons: dict[str, AcclaimSkeleton] = {}
    try:
        with zipfile.ZipFile(asf_zip) as archive:
            members = {name: _MEMBER.match(name) for name in sorted(archive.namelist())}
            for name, match in members.items():
                if match is None:
                    continue
                subject = match["subject"]
                if subject not in skeletons:
                    asf = f"{name.rsplit('/', 1)[0]}/{subject}.asf"
                    skeletons[subject] = read_asf(archive.read(asf).decode("latin-1"), asf)
                skeleton = skeletons[subject]
                motion = read_amc(archive.read(name).decode("latin-1"), skeleton, name, drop_truncated=True)
                joints = to_h36m17(forward_kinematics(skeleton, motion), skeleton.joint_names, FROM_ACCLAIM)
                action = ACTIONS.get(subject, "")
                clips += _cut(joints, CMU_FPS, fps, match["clip"], subject, action, f"{Path(asf_zip).name}:{name}")
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Cannot read motion from {asf_zip} ({error}).", "Expected a zip with subjects/NN/NN.asf and NN_MM.amc."
        ) from None
    if not clips:
        raise InputError(f"{asf_zip} has no AMC files.", "Expected a zip with subjects/NN/NN.asf and NN_MM.amc.")
    return clips


def position_clips(positions_npz: Path, fps: float = 30) -> list[Clip]:
    """All clips of a positions npz, its lost thorax restored, for training. Raises InputError."""
    source = restore_thorax(read_positions(positions_npz))
    clips: list[Clip] = []
    for name, joints in source.clips.items():
        mapped = to_h36m17(joints, source.joint_names, FROM_POSITIONS)
        action = re.sub(r"_\d+$", "", name).replace("_", " ")
        clips += _cut(mapped, source.fps, fps, name, POSITIONS_SUBJECT, action, f"{Path(positions_npz).name}:{name}")
    return clips


def _cut(
    joints: NDArray, source_fps: float, fps: float, name: str, subject: str, action: str, source: str
) -> list[Clip]:
    check_build(joints, name)
    split = "validation" if subject in VALIDATION_SUBJECTS else "train"
    clips = []
    for number, run in enumerate(steady_runs(joints, source_fps, name)):
        part = resample(joints[run], source_fps, fps).astype(np.float32)
        clips.append(Clip(f"{name}.{number}" if number else name, subject, part, action, source, fps, split))
    return clips


def build_positions(positions_npz: Path, out: Path, fps: float = 30) -> list[Clip]:
    """Joint positions alone (positions.py), all for training, to a motion file. Raises as build_cmu does."""
    clips = position_clips(positions_npz, fps)
    check_splits(clips)
    write_motion(clips, out, NOTICE)
    return clips


def check_splits(clips: list[Clip]) -> None:
    """Raise InputError when one subject stands in two splits or two clips have one name."""
    split_of: dict[str, str] = {}
    for clip in clips:
        if split_of.setdefault(clip.subject, clip.split) != clip.split:
            raise InputError(f"Subject {clip.subject} stands in both {clip.split} and {split_of[clip.subject]}.")
    names = [clip.name for clip in clips]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"Two clips are named '{repeated[0]}'.")
