"""What the detector and the conversion make of a video, on a few frames: the check before the first run.

The sampled frames are detected as unrelated pictures, not as a video: BlazePose's tracking would need every frame up to
the last sample (minutes for a long video), and would carry a mistake from one sample into the next. What is asked
here, whether joints have the right names and sides, shows in single pictures. `posepipe run` follows the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.conversion import BLAZEPOSE33_H36M17, Conversion, conversion_between
from posepipe.pipeline.detect.choose import open_detector, skeleton_of
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.footage import open_footage
from posepipe.skeleton import BLAZEPOSE_33, H36M_17
from posepipe.types import Frame, Pose2D

PLAUSIBLE, EXCHANGED, UNCLEAR = "plausible", "exchanged", "cannot tell"
_CLEAR = 0.3  # sine-like measure of how far the body is turned out of the line of sight of its own face


@dataclass(frozen=True)
class Sample:
    """One sampled frame. pose: the person in H36M-17, None when nobody was found. sides: PLAUSIBLE, ..."""

    frame: Frame
    pose: Pose2D | None
    sides: str


@dataclass(frozen=True)
class Inspection:
    """samples: in order of time. confidence: (17,) mean over the samples with a person, NaN without any."""

    source: Path
    detector: str
    conversion: str
    samples: tuple[Sample, ...]
    confidence: NDArray[np.float64]

    @property
    def found(self) -> int:
        return sum(sample.pose is not None for sample in self.samples)

    def count(self, sides: str) -> int:
        """Samples with a person whose sides are judged so."""
        return sum(s.pose is not None and s.sides == sides for s in self.samples)


def verdict(inspection: Inspection) -> tuple[str, str]:
    """PLAUSIBLE, EXCHANGED or UNCLEAR for all samples together, and a line that says so. One exchanged sample is enough
    to be told: a conversion is wrong always or never, a detector now and then."""
    found = inspection.found
    wrong, right = inspection.count(EXCHANGED), inspection.count(PLAUSIBLE)
    if wrong:
        who = "the conversion" if wrong > right else "the detector, in those frames"
        return EXCHANGED, f"LEFT AND RIGHT LOOK EXCHANGED in {wrong} of {found}: suspect {who}"
    if right:
        return PLAUSIBLE, f"left and right plausible in {right} of {found}"
    return UNCLEAR, "nobody found" if not found else "left and right: look for yourself"


def inspect_video(
    source: Path, count: int, conversion: Conversion | None = None, settings: RunSettings | None = None
) -> Inspection:
    """Sample, detect and convert, as the shipped lifters see it. Of several people the one who is seen best is shown.

    conversion: None for the one that the shipped lifters take. settings: which detector. Raises InputError for a
    source that cannot be read, and what open_detector raises."""
    settings = settings or RunSettings()
    conversion = conversion or conversion_between(skeleton_of(settings), BLAZEPOSE33_H36M17.name)
    assert conversion is not None
    samples = []
    with open_detector(settings, static=True) as detector:
        for frame in sample_frames(source, count):
            poses = sorted(detector.detect(frame), key=lambda p: -float(p.confidence.mean()))
            pose = conversion.pose(poses[0]) if poses else None
            samples.append(Sample(frame, pose, judge_sides(poses[0], conversion) if poses else UNCLEAR))
    seen = [s.pose.confidence for s in samples if s.pose is not None]
    confidence = np.mean(seen, axis=0, dtype=np.float64) if seen else np.full(17, np.nan)
    return Inspection(source, settings.detector_name, conversion.name, tuple(samples), confidence)


def sample_frames(source: Path, count: int) -> list[Frame]:
    """`count` frames (all, if there are fewer) at the middles of as many equal parts of the video.

    The number of frames that the container claims is tried first; where it was wrong, the video is read once more."""
    with open_footage(source) as video:
        claimed = video.info.frames or 0
        wanted = _middles(claimed, count)
        frames = [frame for frame in video if frame.index in wanted]
        delivered = video.counts.frames
    wanted = _middles(delivered, count)
    if {frame.index for frame in frames} == wanted:
        return frames
    with open_footage(source) as video:
        return [frame for frame in islice(video, delivered) if frame.index in wanted]


def _middles(total: int, count: int) -> set[int]:
    return {int((part + 0.5) * total / count) for part in range(count)} if total > count else set(range(total))


def judge_sides(detected: Pose2D, conversion: Conversion) -> str:
    """Whether the converted left is the person's left, from the detector's own 3D.

    The way the face and the feet point does not depend on what is called left, and for a person it is
    (left - right) x (up), of the shoulders and of the hips. A film that was mirrored as a whole looks plausible."""
    if detected.world is None or detected.skeleton != BLAZEPOSE_33.name:
        return UNCLEAR
    raw = {name: detected.world[i].astype(np.float64) for i, name in enumerate(BLAZEPOSE_33.joints)}
    body = dict(zip(H36M_17.joints, conversion.points(detected.world).astype(np.float64), strict=True))
    face = raw["nose"] - (raw["l_ear"] + raw["r_ear"]) / 2
    toes = raw["l_foot_index"] + raw["r_foot_index"] - raw["l_heel"] - raw["r_heel"]
    up = _unit(body["thorax"] - body["hip"])
    ahead = _unit(_across(_unit(face), up) + _across(_unit(toes), up))
    turns = [float(ahead @ np.cross(_unit(body[f"l_{part}"] - body[f"r_{part}"]), up)) for part in ("shoulder", "hip")]
    if not np.isfinite(turns).all() or max(map(abs, turns)) < _CLEAR:
        return UNCLEAR
    if min(turns) < -_CLEAR:
        return EXCHANGED
    return PLAUSIBLE if min(turns) > 0 else UNCLEAR


def _across(vector: NDArray, up: NDArray) -> NDArray:
    return vector - (vector @ up) * up


def _unit(vector: NDArray) -> NDArray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
