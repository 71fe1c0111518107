"""What a run is asked to do: one frozen value, made by the command line and recorded in every output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posepipe.camera import DEFAULT_FOV_DEG, Intrinsics, from_fov
from posepipe.errors import UsageError
from posepipe.intrinsics_file import from_file
from posepipe.lifters.catalogue import DEFAULT
from posepipe.pipeline.aggregate import AGGREGATES
from posepipe.pipeline.refine.stature import check_height
from posepipe.pipeline.source.lens import Lens
from posepipe.trt_build.runners.load import BACKENDS

BLAZEPOSE, KEYPOINTS = "blazepose", "keypoints"  # what outputs call the detector; the second: `--keypoints FILE`
BOXES = ("auto", "finder", "full", "rtmdet")


@dataclass(frozen=True)
class RunSettings:
    """lifter: catalogue name. hypotheses: None takes the lifter's default. fov_deg: None takes the default field of
    view and marks the camera as assumed. max_frames: None reads the whole source. overlay: also write the video.

    smooth: also give poses smoothed over time; the raw ones stay. aggregate: one of AGGREGATES. noise_refresh: seconds
    in which a person's noise has become another (`posepipe.noise.held_key`), 0 draws anew for every frame. height:
    of every person, metres; None leaves them as the lifter sees them, average adults. image_fps: pictures a second of
    folders of images, which carry no times; None takes 25.

    detector: `blazepose`, a name of trt_build/detector/catalogue.py, a graph or engine of `build-engines --detector`,
    or a name, alias or configuration of MMPose. detector_weights: their file, `random`, or None for the usual ones.
    boxes: how people are found (one of BOXES, or a name or configuration of mmdet), box_weights: of that. find_every:
    frames after which the whole picture is looked at. conversion: to H36M-17, None for the one that fits. keypoints: a
    file of detections in the place of a detector; clip: which part of it."""

    lifter: str = DEFAULT
    hypotheses: int | None = None
    backend: str = "auto"
    detector: str = "blazepose"
    seed: int = 0
    fov_deg: float | None = None
    intrinsics: Path | None = None
    max_frames: int | None = None
    overlay: bool = True
    smooth: bool = True
    aggregate: str = "median"
    noise_refresh: float = 4.0
    height: float | None = None
    image_fps: float | None = None
    detector_weights: str | None = None
    boxes: str = "auto"
    box_weights: str | None = None
    find_every: int = 10
    conversion: str | None = None
    keypoints: Path | None = None
    clip: str | None = None

    def __post_init__(self) -> None:
        self._check_detector()
        if self.backend not in BACKENDS:
            raise UsageError(f"No backend is called '{self.backend}'.", f"Known: {', '.join(BACKENDS)}.")
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError(f"--max-frames {self.max_frames} leaves nothing to do.", "Give 1 or more.")
        if self.aggregate not in AGGREGATES:
            raise UsageError(f"No aggregate is called '{self.aggregate}'.", f"Known: {', '.join(AGGREGATES)}.")
        if not (self.noise_refresh == 0 or 0.1 <= self.noise_refresh <= 1e9):
            raise UsageError(f"--noise-refresh {self.noise_refresh:g} is not possible.", "Give seconds from 0.1, or 0.")
        if self.image_fps is not None and not 0.01 <= self.image_fps <= 1000:
            raise UsageError(f"--fps {self.image_fps:g} is no frame rate.", "Give pictures a second, 0.01 to 1000.")
        check_height(self.height)
        if self.fov_deg is not None and self.intrinsics is not None:
            raise UsageError("--fov and --intrinsics say the same thing twice.", "Give one of them.")

    def _check_detector(self) -> None:
        if self.keypoints is not None:
            if self.detector not in (BLAZEPOSE, KEYPOINTS):
                raise UsageError("--keypoints and --detector both say where keypoints come from.", "Give one of them.")
            object.__setattr__(self, "detector", KEYPOINTS)
        elif self.clip is not None:
            raise UsageError("--clip is a part of a keypoint file.", "Give --keypoints FILE.")
        given = self.detector_weights or self.box_weights or self.boxes != "auto"
        if given and self.detector in (BLAZEPOSE, KEYPOINTS):
            raise UsageError(
                f"The detector {self.detector} takes neither weights nor boxes.", "Give --detector hrnet-w32, say."
            )
        if not 1 <= self.find_every <= 100_000:
            raise UsageError(f"--find-every {self.find_every} is not possible.", "Give frames, 1 or more.")

    @property
    def several(self) -> bool:
        """Whether there may be more than one person in a picture."""
        return self.detector != BLAZEPOSE

    @property
    def detector_name(self) -> str:
        """What outputs say: the name, or the file name of a graph or configuration that was given by path."""
        return Path(self.detector).name if self.detector.endswith((".onnx", ".engine", ".py")) else self.detector

    @property
    def lifter_name(self) -> str:
        """What outputs say: the catalogue name, or the file name of a graph that was given by path."""
        return Path(self.lifter).name if self.lifter.endswith((".onnx", ".engine")) else self.lifter

    def camera(self, width: int, height: int, lens: Lens | None = None) -> Intrinsics:
        """The intrinsics for a source of this size: given, else what the source itself tells (lens), else assumed."""
        if self.intrinsics is not None:
            return from_file(self.intrinsics, width, height)
        if self.fov_deg is not None:
            return from_fov(width, height, self.fov_deg, assumed=False)
        if lens is not None:
            return lens.camera(width, height)
        return from_fov(width, height, DEFAULT_FOV_DEG)
