"""Writes the frames of a run to a result file and a video, in a thread of its own."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from posepipe.pipeline.live.channel import Channel, Closed
from posepipe.pipeline.live.crew import Crew
from posepipe.pipeline.live.stages import Processed, Watch
from posepipe.pipeline.recording import header, write_result
from posepipe.pipeline.render.layout import Caption, compose, picture_size
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.sink.h5 import H5Writer
from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.live import SourceInfo

_WAITING = 16  # frames; writing is faster than detecting, so this only covers a slow moment of the disk
_FINISH_SECONDS = 60.0


class _Unwanted(Exception):
    """The recording is not to be kept."""


@dataclass(frozen=True)
class Target:
    """Where a recording goes. video: None for none."""

    recording: Path
    video: Path | None


def target_now(folder: Path, name: str, video: bool = True) -> Target:
    """FOLDER/<name>-<date>-<time>.h5 and .overlay.mp4."""
    stem = stamped(name)
    return Target(folder / f"{stem}.h5", folder / f"{stem}.overlay.mp4" if video else None)


def stamped(name: str) -> str:
    """A file's name from a source's: its letters and digits, and the local time."""
    short = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-40:].strip("-") or "live"
    return f"{short}-{time.strftime('%Y%m%d-%H%M%S')}"


class Recording:
    """Takes frames with offer() until finish(); the files appear then, whole, under their names.

    wait: offer() waits for the disk (a file's frames all count); otherwise it counts the frame as unrecorded.
    A failure to write ends the run through the crew."""

    def __init__(self, target: Target, info: SourceInfo, crew: Crew, watch: Watch, wait: bool) -> None:
        self.target = target
        self._info, self._watch, self._wait = info, watch, wait
        self._inbox: Channel[Processed] = Channel(_WAITING, newest=False)
        self._unwanted = False
        self.written = 0
        self._thread = crew.start("record", self._run)

    def offer(self, processed: Processed) -> None:
        try:
            if self._wait:
                self._inbox.put(processed)
            elif not self._inbox.try_put(processed):
                self._watch.counters.add("unrecorded")
        except Closed:
            self._watch.counters.add("unrecorded")

    def finish(self, keep: bool = True) -> tuple[Path, ...]:
        """Write what is waiting and close the files, or throw them away; returns what there is now."""
        self._unwanted = not keep
        self._inbox.close()
        self._thread.join(_FINISH_SECONDS)
        if not keep or not self.written:
            return ()
        return tuple(p for p in (self.target.recording, self.target.video) if p is not None and p.is_file())

    def _run(self) -> None:
        try:
            self._write()
        except _Unwanted:
            pass
        finally:
            self._watch.counters.add("unrecorded", len(self._inbox.abandon()))

    def _write(self) -> None:
        try:
            first = self._inbox.get()
        except Closed:
            return
        assert first is not None
        made, info, view = first.made, self._info, ViewSettings()
        name = made.settings.lifter_name
        with ExitStack() as stack:
            attributes = header(
                info.name,
                info.sha256,
                info.fps,
                made.settings,
                name,
                made.camera,
                made.runner,
                made.hypotheses,
                made.conversion,
                lift_smoothed=not self._wait,
            )
            rows = stack.enter_context(H5Writer(self.target.recording, attributes))
            video = None
            if self.target.video is not None:
                size = picture_size(info.width, info.height, view)
                video = stack.enter_context(VideoWriter(self.target.video, *size, info.fps))
            caption = Caption(info.fps, name, made.hypotheses, made.settings.detector_name, made.runner.backend)
            ground = GroundState()
            item: Processed | None = first
            while item is not None:
                ground = self._one(item, rows, video, caption, view, ground)
                try:
                    item = self._inbox.get()
                except Closed:
                    item = None
                if self._unwanted:
                    raise _Unwanted

    def _one(
        self,
        item: Processed,
        rows: H5Writer,
        video: VideoWriter | None,
        caption: Caption,
        view: ViewSettings,
        ground: GroundState,
    ) -> GroundState:
        result, times = item.result, self._watch.times
        with times.measure("write"):
            write_result(rows, result)
        if video is not None:
            with times.measure("draw"):
                ground = update_ground(ground, result.shown, view)
                picture = compose(result.frame.image, result.shown, caption, view, ground)
            with times.measure("encode"):
                video.write(picture, result.frame.pts)
        self.written += 1
        self._watch.counters.add("recorded")
        return ground
