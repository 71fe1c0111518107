"""The threads of a run, as plain functions: capture, detect, lift."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from posepipe.pipeline.live.channel import Channel, Closed
from posepipe.pipeline.live.controls import Controls
from posepipe.pipeline.live.counters import Counters
from posepipe.pipeline.live.lifting import Lifter, Made
from posepipe.pipeline.live.times import LiveTimes
from posepipe.pipeline.runner import Detector, FrameResult
from posepipe.pipeline.source.live import Captured, Gate, LiveSource
from posepipe.types import Pose2D

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Detected:
    """A captured frame and what the detector found in it."""

    captured: Captured
    poses: tuple[Pose2D, ...]


@dataclass(frozen=True)
class Processed:
    """A finished frame. at: when it was taken, seconds of time.monotonic(). made: by what."""

    result: FrameResult
    at: float
    made: Made


@dataclass(frozen=True)
class Watch:
    """What every stage has: when to stop, and where to write down what it did."""

    gate: Gate
    counters: Counters
    times: LiveTimes


def capture(
    source: LiveSource,
    out: Channel[Captured],
    watch: Watch,
    ready: tuple[threading.Event, ...],
    newest: bool,
    limit: int | None,
) -> None:
    """Hand the source's frames on, from the moment at which everybody is ready. limit: end after so many frames."""
    try:
        while not all(r.is_set() for r in ready):
            if watch.gate.wait(0.01):
                return
        for captured in source.frames(watch.gate):
            if watch.gate.stopped:
                return
            watch.times.add("capture", captured.cost)
            count = watch.counters.add("captured")
            if newest and watch.gate.paused:
                watch.counters.drop("paused")
                continue
            _put(out, captured, watch.counters)
            if limit is not None and count >= limit:
                return
    except Closed:
        pass
    finally:
        source.close()
        out.close()


def detect(
    make_detector: Callable[[], AbstractContextManager[Detector]],
    inbox: Channel[Captured],
    out: Channel[Detected],
    watch: Watch,
    ready: threading.Event,
) -> None:
    with make_detector() as detector:
        ready.set()

        def work(captured: Captured) -> Detected:
            with watch.times.measure("detect"):
                return Detected(captured, detector.detect(captured.frame))

        _pump(inbox, work, lambda d: _put(out, d, watch.counters), watch)
    out.close()


def lift(
    make_lifter: Callable[[], Lifter],
    inbox: Channel[Detected],
    done: Callable[[Processed], None],
    watch: Watch,
    ready: threading.Event,
    wanted: Callable[[], Controls],
) -> None:
    """done: takes every finished frame."""
    lifter = make_lifter()
    try:
        ready.set()

        def work(d: Detected) -> Processed:
            with watch.times.measure("lift"):
                result = lifter.lift(d.captured.frame, d.poses, wanted())
            return Processed(result, d.captured.at, lifter.made)

        _pump(inbox, work, done, watch)
    finally:
        lifter.close()


def _put(out: Channel[A], item: A, counters: Counters) -> None:
    """Put a frame that somebody will finish, or account for the one that nobody will."""
    try:
        if out.put(item) is not None:
            counters.drop("late")
    except Closed:
        counters.drop("stopped")
        raise


def _pump(inbox: Channel[A], work: Callable[[A], B], emit: Callable[[B], None], watch: Watch) -> None:
    """Take, work, hand on, until there is nothing more to take or nobody to hand it to."""
    try:
        while True:
            item = inbox.get()
            if watch.gate.stopped or item is None:
                watch.counters.drop("stopped")
                return
            try:
                result = work(item)
            except BaseException:
                watch.counters.drop("failed")
                raise
            emit(result)
    except Closed:
        return


def age(processed: Processed) -> float:
    """Seconds since the frame was taken."""
    return time.monotonic() - processed.at
