"""What a viewer is: something that shows finished frames and hears keys. The pipeline never waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from posepipe.camera import Intrinsics
from posepipe.pipeline.render.layout import Caption
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.stats import StageSummary
from posepipe.types import Frame, Track


@dataclass(frozen=True)
class Status:
    """How the run is doing. fps: finished frames per second over the last seconds; NaN in the first moments.

    age_ms: how old the picture is at the moment. dropped: of `captured` frames, so far. note: one short line for the
    person at the keys. trouble: what is wrong with the source, "" while all is well; the picture is then an old one."""

    fps: float
    age_ms: float
    captured: int
    dropped: int
    recording: bool = False
    paused: bool = False
    note: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class ViewFrame:
    """Everything there is to show of one frame. tracks: people as they should be shown (without hypotheses while those
    are switched off). camera: the intrinsics in use. stages: times per stage over the last seconds, for plots.

    repeated: the same frame again, because a setting or the status has changed."""

    frame: Frame
    tracks: tuple[Track, ...]
    caption: Caption
    view: ViewSettings
    camera: Intrinsics
    status: Status
    stages: tuple[StageSummary, ...] = ()
    repeated: bool = False


class Viewer(Protocol):
    """Opened, fed and closed by one thread, the program's main one (which windows insist on).

    name: as in --view. shows: False when it shows nothing, so that nothing needs to be drawn for it."""

    name: str
    shows: bool

    def open(self, title: str) -> None:
        """Make the window or page. Raises MissingDependencyError when a library or a display is missing."""
        ...

    def show(self, frame: ViewFrame) -> None:
        """Show it now. While this takes its time, frames in between are skipped."""
        ...

    def keys(self) -> tuple[str, ...]:
        """Characters typed since the last call ("q", " ", "+" ...); "q" too when the window was closed. Called some
        fifty times a second, also when there is no new frame, so windows are kept alive here. Must not wait."""
        ...

    def close(self) -> None:
        """Take it away; a second call, or one without open(), does nothing."""
        ...
