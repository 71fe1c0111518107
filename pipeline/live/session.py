"""A live run from its source to the screen: four threads, three bounded queues, one owner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from posepipe.camera import Intrinsics
from posepipe.pipeline.detect.choose import open_detector
from posepipe.pipeline.live import stages
from posepipe.pipeline.live.channel import Channel, Closed
from posepipe.pipeline.live.controls import Controls
from posepipe.pipeline.live.counters import Counters
from posepipe.pipeline.live.crew import Crew
from posepipe.pipeline.live.lifting import Lifter, LiftStage, usable_lifters
from posepipe.pipeline.live.present import Desk, Presenter
from posepipe.pipeline.live.recorder import Recording, Target, target_now
from posepipe.pipeline.live.report import LiveSummary
from posepipe.pipeline.live.stages import Detected, Processed, Watch
from posepipe.pipeline.live.times import LiveTimes
from posepipe.pipeline.runner import Detector
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.live import Captured, Gate, LiveSource
from posepipe.pipeline.view.protocol import Viewer

_FILE_DEPTH = 4  # frames that may wait in front of a stage where every frame counts
_GRACE_SECONDS = 1.0  # for threads to end; one that hangs in a driver is left behind


@dataclass(frozen=True)
class LiveOptions:
    """folder: for recordings and snapshots. record: from the first frame on. target: its files (None: named by the
    time). every: no frame may be dropped, as a file wants it; otherwise only the newest frame counts.

    depth: of the queues where every frame counts."""

    folder: Path = Path("out")
    record: bool = False
    target: Target | None = None
    every: bool = False
    depth: int = _FILE_DEPTH


def run_live(
    source: LiveSource,
    viewer: Viewer,
    settings: RunSettings,
    options: LiveOptions | None = None,
    say: Callable[[str], None] = lambda line: None,
    make_detector: Callable[[], AbstractContextManager[Detector]] | None = None,
    make_lifter: Callable[[RunSettings, Intrinsics, str, bool], Lifter] = LiftStage,
    on_end: Callable[[LiveSummary], None] = lambda summary: None,
) -> LiveSummary:
    """Run until the source ends, somebody quits, or settings.max_frames frames are finished.

    Call it from the main thread (windows want that). say: gets lines for people: counters every 5 s, trouble with the
    source, files written. make_detector: None for the one of the settings. on_end: gets the summary also when the run
    ends by an exception or Ctrl-C; everything has stopped by then. Recordings are completed in any case, except that
    one of a file (options.every) that failed is thrown away. An exception of any thread is raised here, with its own
    traceback, within a few tens of milliseconds.
    """
    session = _Session(source, viewer, settings, options or LiveOptions(), say)
    try:
        session.start(make_detector or (lambda: open_detector(settings)), make_lifter)
        session.run()
    except BaseException:
        on_end(session.end(failed=True))
        raise
    summary = session.end(failed=False)
    on_end(summary)
    session.crew.check()
    return summary


class _Session:
    def __init__(
        self,
        source: LiveSource,
        viewer: Viewer,
        settings: RunSettings,
        options: LiveOptions,
        say: Callable[[str], None],
    ) -> None:
        self._source, self._viewer, self._settings, self._options, self._say = source, viewer, settings, options, say
        newest = not options.every
        depth = 1 if newest else options.depth
        self._captured: Channel[Captured] = Channel(depth, newest)
        self._detected: Channel[Detected] = Channel(depth, newest)
        self._shown: Channel[Processed] = Channel(1, newest=True)  # the presenter drops, the pipeline never waits
        self._watch = Watch(Gate(), Counters(), LiveTimes())
        self.crew = Crew(self._watch.gate)
        self._recording: Recording | None = None
        self._files: tuple[Path, ...] = ()
        self._last: Processed | None = None
        self._first_done = self._last_done = 0.0
        self._started = False
        desk = Desk(
            self._shown,
            viewer,
            source,
            self._watch,
            say,
            self._record,
            options.folder,
            usable_lifters(settings.lifter),
        )
        controls = Controls(settings.lifter, settings.hypotheses, recording=options.record)
        self._presenter = Presenter(desk, controls)

    def start(
        self,
        make_detector: Callable[[], AbstractContextManager[Detector]],
        make_lifter: Callable[[RunSettings, Intrinsics, str, bool], Lifter],
    ) -> None:
        info, watch, every = self._source.info, self._watch, self._options.every
        camera = self._settings.camera(info.width, info.height, info.lens)
        self._say(camera.described)
        ready = (threading.Event(), threading.Event())
        limit = self._settings.max_frames if every else None
        if self._options.record:
            self._record(True)
        self._started = True  # from here on the capture thread owns the source, and closes it
        self.crew.start("capture", lambda: stages.capture(self._source, self._captured, watch, ready, not every, limit))
        self.crew.start("detect", lambda: stages.detect(make_detector, self._captured, self._detected, watch, ready[0]))
        self.crew.start("lift", lambda: self._lift(make_lifter, camera, ready[1]))

    def _lift(
        self,
        make_lifter: Callable[[RunSettings, Intrinsics, str, bool], Lifter],
        camera: Intrinsics,
        ready: threading.Event,
    ) -> None:
        try:
            stages.lift(
                lambda: make_lifter(self._settings, camera, self._source.info.identity, not self._options.every),
                self._detected,
                self._done,
                self._watch,
                ready,
                lambda: self._presenter.controls,
            )
        finally:
            self._shown.close()

    def run(self) -> None:
        self._viewer.open(f"posepipe - {self._source.info.name}")
        while self._presenter.step():
            self.crew.check()
        self.crew.check()

    def end(self, failed: bool) -> LiveSummary:
        """Stop everything, account for what was waiting, finish the files."""
        watch = self._watch
        watch.gate.stop()
        try:
            for channel in (self._captured, self._detected):
                watch.counters.drop("stopped", len(channel.abandon()))
            watch.counters.add("unshown", len(self._shown.abandon()))
            self.crew.join(("detect", "lift"), _GRACE_SECONDS)
            self._finish_recording(keep=not (failed and self._options.every))
        finally:
            self._viewer.close()
            if not self._started:
                self._source.close()
        stuck = self.crew.join(("capture", "detect", "lift"), _GRACE_SECONDS)
        seconds = max(self._last_done - self._first_done, 0.0)
        counts = watch.counters.now
        made = self._last.made if self._last else None
        return LiveSummary(
            self._source.info.name,
            seconds,
            (counts.processed - 1) / seconds if seconds else 0.0,
            counts,
            self._source.counts,
            watch.times.summary(),
            made.settings.lifter_name if made else self._settings.lifter_name,
            made.hypotheses if made else 0,
            made.runner.backend if made else "",
            self._viewer.name,
            self._files,
            stuck,
        )

    def _done(self, processed: Processed) -> None:
        """A finished frame, in the lift thread."""
        counters, tracks = self._watch.counters, processed.result.tracks
        count = counters.add("processed")
        counters.add("with_person", int(any(t.pose3d is not None for t in tracks)))
        counters.add("corrupt", int(processed.result.frame.corrupt))
        self._last, self._last_done = processed, time.monotonic()
        self._first_done = self._first_done or self._last_done
        recording = self._recording
        if recording is not None:
            recording.offer(processed)
        try:
            if self._shown.put(processed) is not None:
                counters.add("unshown")
        except Closed:
            counters.add("unshown")
        if not self._options.every and count == self._settings.max_frames:
            self._shown.close()
            raise Closed

    def _record(self, on: bool) -> str:
        """Start or finish a recording, in the main thread; returns a line for the person."""
        if not on:
            return self._finish_recording(keep=True)
        overlay = self._settings.overlay
        target = self._options.target or target_now(self._options.folder, self._source.info.name, overlay)
        self._recording = Recording(target, self._source.info, self.crew, self._watch, wait=self._options.every)
        return f"recording to {target.recording}"

    def _finish_recording(self, keep: bool) -> str:
        recording, self._recording = self._recording, None
        if recording is None:
            return ""
        files = recording.finish(keep)
        self._files += files
        return f"wrote {', '.join(str(f) for f in files)}" if files else "nothing was recorded"
