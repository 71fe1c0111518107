"""The lift stage: people of a frame, by the lifter that is wanted at the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from posepipe.camera import Intrinsics
from posepipe.conversion import BLAZEPOSE33_H36M17, Conversion
from posepipe.lifters.catalogue import LIFTERS
from posepipe.pipeline.backend import open_runner
from posepipe.pipeline.detect.choose import conversion_for
from posepipe.pipeline.live.controls import Controls
from posepipe.pipeline.people import PeopleState, lifting_of, people_in
from posepipe.pipeline.runner import FrameResult
from posepipe.pipeline.settings import RunSettings
from posepipe.trt_build.runners.protocol import Runner
from posepipe.types import Frame, Pose2D


@dataclass(frozen=True)
class Made:
    """How a result was made. settings: with the lifter that was in use."""

    settings: RunSettings
    runner: Runner
    camera: Intrinsics
    hypotheses: int
    conversion: Conversion = BLAZEPOSE33_H36M17

    @property
    def fixed(self) -> bool:
        """Whether the lifter cannot give another number of hypotheses."""
        return self.runner.contract.fixed_hypotheses is not None


class Lifter(Protocol):
    """What the lift thread calls, one frame after the other."""

    made: Made

    def lift(self, frame: Frame, poses: Sequence[Pose2D], wanted: Controls) -> FrameResult: ...

    def close(self) -> None: ...


class LiftStage:
    """The real one: keeps what identity needs from frame to frame, and the loaded lifter.

    source: the identity of the input in the noise keys. live: for an eye, not for a file (see `lifting_of`). Raises
    what open_runner raises, also from lift(), when another lifter is wanted and does not load."""

    def __init__(self, settings: RunSettings, camera: Intrinsics, source: str, live: bool) -> None:
        self._live = live
        self._source = source
        self._state = PeopleState()
        self.made = _load(settings, camera)

    def lift(self, frame: Frame, poses: Sequence[Pose2D], wanted: Controls) -> FrameResult:
        if wanted.lifter != self.made.settings.lifter:
            self.close()
            self.made = _load(replace(self.made.settings, lifter=wanted.lifter, hypotheses=None), self.made.camera)
        number = wanted.hypotheses
        if number is not None and number != self.made.hypotheses and not self.made.fixed:
            self.made.runner.warm_up(1, number)
            self.made = replace(self.made, hypotheses=number)
        made = self.made
        how = lifting_of(
            made.settings,
            made.runner,
            made.conversion,
            made.camera,
            self._source,
            made.hypotheses,
            lift_smoothed=self._live,
        )
        self._state, tracks = people_in(self._state, frame, poses, how)
        return FrameResult(frame, tracks)

    def close(self) -> None:
        self.made.runner.close()


def _load(settings: RunSettings, camera: Intrinsics) -> Made:
    runner, hypotheses = open_runner(settings)
    try:
        chosen = conversion_for(settings, runner.contract.conversion)
    except BaseException:
        runner.close()
        raise
    return Made(settings, runner, camera, hypotheses, chosen)


def usable_lifters(first: str) -> tuple[str, ...]:
    """Names of the lifters that can be switched to: all with shipped graphs, and the one in use."""
    names = tuple(e.name for e in LIFTERS if e.graph_path.is_file())
    return names if first in names else (first, *names)
