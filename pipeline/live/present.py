"""The presenter: shows the newest finished frame, hears the keys, and says how things are going."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from posepipe.pipeline.live.channel import Channel, Closed
from posepipe.pipeline.live.controls import Choices, Controls, press
from posepipe.pipeline.live.recorder import stamped
from posepipe.pipeline.live.report import Rate, counter_line
from posepipe.pipeline.live.stages import Processed, Watch, age
from posepipe.pipeline.live.times import AGE
from posepipe.pipeline.render.layout import Caption, compose
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.source.live import LiveSource
from posepipe.pipeline.stats import StageSummary
from posepipe.pipeline.view.protocol import Status, Viewer, ViewFrame

_POLL_SECONDS = 0.02
_LINE_SECONDS = 5.0
_NOTE_SECONDS = 2.0
_STALL_SECONDS = 1.0  # without a new frame, the old one is shown again, with its age


@dataclass(frozen=True)
class Desk:
    """What the presenter is given. say: takes a line of text for people. record: turns recording on or off.

    lifters: that the l key goes through."""

    shown: Channel[Processed]
    viewer: Viewer
    source: LiveSource
    watch: Watch
    say: Callable[[str], None]
    record: Callable[[bool], str]
    folder: Path
    lifters: tuple[str, ...]


class Presenter:
    """Call step() until it returns False. controls is what the other threads read."""

    def __init__(self, desk: Desk, controls: Controls) -> None:
        self.controls = controls
        self.last: Processed | None = None
        self._desk, self._rate = desk, Rate()
        self._began = self._line = self._drawn = time.monotonic()
        self._noted = -math.inf
        self._stages: tuple[StageSummary, ...] = ()
        self._trouble = ""
        self._fps = math.nan

    def step(self) -> bool:
        """Wait a moment for a frame and show it; then keys, then what is due. False when it is over."""
        try:
            new = self._desk.shown.get(_POLL_SECONDS)
        except Closed:
            return False
        if new is not None:
            self.last = new
            self._show(repeated=False)
        before = self.controls
        typed = self._desk.viewer.keys()
        for key in typed:
            self._press(key)
        self._tell_trouble()
        now = time.monotonic()
        if self.controls.note and now - self._noted > _NOTE_SECONDS:
            self.controls = replace(self.controls, note="")
        if new is None and (self.controls != before or now - self._drawn > _STALL_SECONDS):
            self._show(repeated=True)
        if now - self._line > _LINE_SECONDS:
            self._line = now
            self._report()
        return not self.controls.quit

    def _show(self, repeated: bool) -> None:
        desk = self._desk
        if self.last is None:
            return
        self._drawn = time.monotonic()
        if desk.viewer.shows:
            try:
                with desk.watch.times.measure("show"):
                    desk.viewer.show(self._frame(self.last, repeated))
            except BaseException:
                desk.watch.counters.add("unshown", int(not repeated))
                raise
        if not repeated:
            self._fps = self._rate.update(desk.watch.counters.now.processed)
            desk.watch.counters.add("shown")
            desk.watch.times.add(AGE, age(self.last))

    def _frame(self, what: Processed, repeated: bool) -> ViewFrame:
        c, made, counts = self.controls, what.made, self._desk.watch.counters.now
        tracks = what.result.shown if c.fan else tuple(replace(t, hypotheses=None) for t in what.result.shown)
        settings = made.settings
        old = age(what)
        caption = Caption(
            self._fps,
            settings.lifter_name,
            made.hypotheses,
            settings.detector_name,
            made.runner.backend,
            what.result.frame.pts,
            live=True,
        )
        trouble = self._desk.source.trouble
        if not trouble and self._desk.source.live and old > 2.0 and not c.paused:
            trouble = f"No new picture for {old:.0f} s"
        note = c.note or ("loading the lifter" if c.lifter != settings.lifter else "")
        status = Status(self._fps, 1e3 * old, counts.captured, counts.lost, c.recording, c.paused, note, trouble)
        return ViewFrame(what.result.frame, tracks, caption, c.view, made.camera, status, self._stages, repeated)

    def _press(self, key: str) -> None:
        made = self.last.made if self.last else None
        settled = made is not None and made.settings.lifter == self.controls.lifter
        settled = settled and (made.fixed or self.controls.hypotheses in (None, made.hypotheses))  # type: ignore[union-attr]
        choices = Choices(self._desk.lifters, made.hypotheses if made else 0, bool(made and made.fixed), not settled)
        before, after = self.controls, press(self.controls, key, choices)
        self._desk.watch.gate.paused = after.paused
        if after.recording != before.recording:
            after = replace(after, note=self._desk.record(after.recording))
        if after.snapshots != before.snapshots and self.last is not None:
            after = replace(after, note=f"wrote {self._snapshot(self.last)}")
        if after.note != before.note:
            self._noted = time.monotonic()
            if after.note:
                self._desk.say(after.note)
        self.controls = after

    def _snapshot(self, what: Processed) -> Path:
        """The picture as it is, without the status, as PNG."""
        frame = self._frame(what, repeated=True)
        ground = update_ground(GroundState(), frame.tracks, frame.view)
        picture = compose(frame.frame.image, frame.tracks, frame.caption, frame.view, ground)
        stem = stamped(self._desk.source.info.name)
        path = self._desk.folder / f"{stem}-{self.controls.snapshots + 1:03d}.png"
        coded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        with atomic_path(path) as temporary:
            temporary.write_bytes(coded.tobytes())
        return path

    def _tell_trouble(self) -> None:
        """Say what is wrong with the source once, and that it is over."""
        trouble = self._desk.source.trouble
        if trouble != self._trouble:
            self._desk.say(trouble or f"{self._desk.source.info.name} is back")
            self._trouble = trouble

    def _report(self) -> None:
        desk = self._desk
        self._stages = desk.watch.times.since_last()
        counts = desk.watch.counters.now
        if not counts.captured:
            desk.say(f"{time.monotonic() - self._began:5.0f} s  loading, or waiting for the first picture")
            return
        self._fps = self._rate.update(counts.processed)
        desk.say(counter_line(time.monotonic() - self._began, self._fps, counts, desk.source.counts, self._stages))
