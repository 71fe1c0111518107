"""Checks that a clip is a person: finite, of plausible and constant build; and cuts where a marker was lost.

CMU's data has glitches: a leg flips to the wrong side for some frames, a root jumps by 20 cm. They show as joints that
move faster than people do between two source frames.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.skeleton import H36M_17

# Fastest real motion in the data: a kick at 13.6 m/s (soccer, toes), fists near 11 m/s. Glitches start at 20 m/s.
MAX_SPEED = 15.0
# Frames closer than this to a jump are not trusted, and neither are stretches between two jumps shorter than MIN_RUN.
GUARD_SECONDS = 0.05
MIN_RUN_SECONDS = 0.5
MAX_DROPPED = 0.25

# (bones that are rigid in the source, plausible range in metres); spine and neck bend between their ends
PLAUSIBLE = {
    ("hip", "r_hip"): (0.05, 0.18),
    ("hip", "l_hip"): (0.05, 0.18),
    ("r_hip", "r_knee"): (0.3, 0.6),
    ("l_hip", "l_knee"): (0.3, 0.6),
    ("r_knee", "r_ankle"): (0.3, 0.6),
    ("l_knee", "l_ankle"): (0.3, 0.6),
    ("thorax", "r_shoulder"): (0.1, 0.26),
    ("thorax", "l_shoulder"): (0.1, 0.26),
    ("r_shoulder", "r_elbow"): (0.2, 0.4),
    ("l_shoulder", "l_elbow"): (0.2, 0.4),
    ("r_elbow", "r_wrist"): (0.15, 0.35),
    ("l_elbow", "l_wrist"): (0.15, 0.35),
    ("neck", "head"): (0.06, 0.25),
}

# Of anybody from a child to a giant; a wrong unit is off by 2.5 at least.
LIMBS = tuple(
    (f"{side}_{start}", f"{side}_{end}")
    for side in ("l", "r")
    for start, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
)
LIMB_LENGTH = (0.12, 0.65)


def check_build(joints: NDArray, name: str) -> None:
    """Raise InputError, naming the clip, when joints (T, 17, 3) m hold NaNs or bones whose length varies or is
    not a person's."""
    bad = np.flatnonzero(~np.isfinite(joints).all(axis=(1, 2)))
    if bad.size:
        raise InputError(f"Clip '{name}' has joints that are not finite, first in frame {bad[0]}.")
    for (start, end), (low, high) in PLAUSIBLE.items():
        lengths = np.linalg.norm(joints[:, H36M_17.index(end)] - joints[:, H36M_17.index(start)], axis=-1)
        if lengths.min() < low or lengths.max() > high:
            raise InputError(
                f"Clip '{name}': {start} to {end} is {lengths.min():.3f} to {lengths.max():.3f} m, not {low}-{high}.",
                "Check the file's unit of length and its joint names.",
            )
        if np.ptp(lengths) > 1e-3:
            raise InputError(f"Clip '{name}': the length of {start} to {end} varies by {np.ptp(lengths) * 1e3:.1f} mm.")


def check_person(joints: NDArray, name: str) -> None:
    """Raise InputError, naming the clip, when joints (T, 17, 3) m hold NaNs or are not of a person's size.

    Weaker than check_build: for sources whose bones stretch by themselves (video, shrugging collarbones)."""
    bad = np.flatnonzero(~np.isfinite(joints).all(axis=(1, 2)))
    if bad.size:
        raise InputError(f"Clip '{name}' has joints that are not finite, first in frame {bad[0]}.")
    for start, end in LIMBS:
        bone = joints[:, H36M_17.index(end)] - joints[:, H36M_17.index(start)]
        length = float(np.median(np.linalg.norm(bone, axis=-1)))
        if not LIMB_LENGTH[0] <= length <= LIMB_LENGTH[1]:
            raise InputError(
                f"Clip '{name}': {start} to {end} is {length:.3f} m, not {LIMB_LENGTH[0]}-{LIMB_LENGTH[1]}.",
                "Check the file's unit of length and its joints.",
            )


def steady_runs(joints: NDArray, fps: float, name: str) -> list[slice]:
    """The stretches of joints (T, 17, 3) m at fps without jumps, in order.

    Raises InputError when more than a quarter of the clip would be lost."""
    frames = len(joints)
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(axis=1, initial=0.0) * fps
    edges = [0, *(np.flatnonzero(speed > MAX_SPEED) + 1), frames]
    guard = round(GUARD_SECONDS * fps)
    runs = []
    for start, stop in pairwise(edges):
        first, last = start + guard * (start > 0), stop - guard * (stop < frames)
        if last - first >= MIN_RUN_SECONDS * fps or len(edges) == 2:
            runs.append(slice(int(first), int(last)))
    kept = sum(run.stop - run.start for run in runs)
    if kept < (1 - MAX_DROPPED) * frames:
        raise InputError(
            f"Clip '{name}': joints jump faster than {MAX_SPEED:g} m/s in {len(edges) - 2} places, which leaves only "
            f"{kept} of {frames} frames.",
            "Leave this clip out.",
        )
    return runs


def resample(joints: NDArray, source_fps: float, fps: float) -> NDArray:
    """Every frame of the result is a frame of the source (the nearest in time), so bones keep their lengths.

    (T, J, 3) -> (T', J, 3). Raises InputError when fps is higher than the source's."""
    if fps > source_fps * 1.001 or fps <= 0:
        raise InputError(f"Motion recorded at {source_fps:g} frames per second cannot be resampled to {fps:g}.")
    count = int(np.floor((len(joints) - 1) * fps / source_fps)) + 1
    return joints[np.round(np.arange(count) * source_fps / fps).astype(int)]
