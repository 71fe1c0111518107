"""A live run with every part replaceable: sources, detectors and lifters that fail as they are told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from posepipe.pipeline.live.lifting import Made
from posepipe.pipeline.runner import FrameResult
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts, SourceInfo
from posepipe.types import Frame, Hypotheses, Pose2D, Pose3D, Track

SIZE = (64, 48)  # width, height
HYPOTHESES = 3


@dataclass
class FakeSource:
    """count frames (None: for ever), at fps in real time or as fast as they are taken (0)."""

    count: int | None = 100
    fps: float = 0.0
    live: bool = True
    fail_at: int | None = None
    size: tuple[int, int] = SIZE
    trouble: str = ""
    closed: bool = False
    closed_by: str = ""
    failed_at: float = 0.0
    counts: SourceCounts = field(default_factory=SourceCounts)

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("fake source", "fake", *self.size, self.fps or 30.0)

    def frames(self, gate: Gate) -> Iterator[Captured]:
        image = np.full((self.size[1], self.size[0], 3), 90, np.uint8)
        zero, index = time.monotonic(), 0
        while self.count is None or index < self.count:
            gate.hold() if not self.live else None
            if index == self.fail_at:
                self.failed_at = time.monotonic()
                raise RuntimeError("the source broke")
            at = time.monotonic()
            if self.fps:
                at = zero + index / self.fps
                if gate.wait(at - time.monotonic()):
                    return
            yield Captured(Frame(index, index / (self.fps or 30.0), image), at)
            index += 1

    def close(self) -> None:
        self.closed, self.closed_by = True, threading.current_thread().name


@dataclass
class FakeDetector:
    """Finds the actor's exact landmarks (without looking) after `seconds`; nobody in the frames of `nobody`."""

    seconds: Callable[[int], float] = lambda index: 0.0
    fail_at: int | None = None
    nobody: frozenset[int] = frozenset()
    failed_at: float = 0.0

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]:
        if self.fail_at is not None and frame.index >= self.fail_at:  # that very one may have been dropped
            self.failed_at = time.monotonic()
            raise RuntimeError("the detector broke")
        wait = self.seconds(frame.index)
        if wait:
            time.sleep(wait)
        if frame.index in self.nobody:
            return ()
        return (landmarks(frame.index),)

    @contextmanager
    def __call__(self) -> Iterator[FakeDetector]:
        yield self


_ACTOR = ActorSource(ActorScene("wave", seconds=10, fps=30, width=64, height=64))


def in_time(seconds: float, promised: float, bound: float) -> None:
    """The promise is for a machine that has time to run this; where others take it, only the wider bound is asked."""
    busy = os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)
    assert seconds <= (bound if busy else promised)


def landmarks(index: int) -> Pose2D:
    points = _ACTOR.truth(index % len(_ACTOR)).blazepose.astype(np.float32)
    return Pose2D(points, np.full(33, 0.9, np.float32), "blazepose33")


class FakeLifter:
    """A pose that says which frame it is of: joint j of frame i is at (i, j, h)."""

    def __init__(self, settings: RunSettings, camera: Any, source: str, live: bool, fail_at: int | None = None) -> None:
        contract = SimpleNamespace(fixed_hypotheses=None, steps=None)
        runner = SimpleNamespace(contract=contract, backend="fake", checkpoint_sha256="0" * 64)
        self.made = Made(settings, runner, camera, settings.hypotheses or HYPOTHESES)
        self.fail_at, self.failed_at = fail_at, 0.0

    def lift(self, frame: Frame, poses: Any, wanted: Any) -> FrameResult:
        if self.fail_at is not None and frame.index >= self.fail_at:  # that very one may have been dropped
            self.failed_at = time.monotonic()
            raise RuntimeError("the lifter broke")
        if wanted.hypotheses:
            self.made = Made(self.made.settings, self.made.runner, self.made.camera, wanted.hypotheses)
        count = self.made.hypotheses
        tracks = []
        for number, pose in enumerate(poses):
            joints = np.zeros((count, 17, 3), np.float32)
            joints[..., 0], joints[..., 1] = 0.001 * frame.index, np.linspace(-0.8, 0.8, 17)
            joints[..., 2] = np.arange(count)[:, None] * 0.01
            flat = Pose2D(np.full((17, 2), 20.0, np.float32), np.ones(17, np.float32), "h36m17")
            result = Hypotheses(joints, np.full(count, -np.log(count), np.float32))
            pose3d = Pose3D(joints[0], np.full(17, 0.05, np.float32), np.array([0, 0, 3], np.float32))
            tracks.append(Track(number, flat, pose, result, pose3d))
        return FrameResult(frame, tuple(tracks))

    def close(self) -> None:
        pass


@dataclass
class FakeViewer:
    """Notes what it was shown; types `script[n]` after the n-th picture."""

    seconds: float = 0.0
    script: dict[int, str] = field(default_factory=dict)
    fail_at: int | None = None
    failed_at: float = 0.0
    name: str = "fake"
    shows: bool = True
    closed: bool = False

    def __post_init__(self) -> None:
        self.seen: list[Any] = []
        self._typed: list[str] = []

    def open(self, title: str) -> None:
        self.title = title

    def show(self, frame: Any) -> None:
        if self.fail_at is not None and frame.frame.index >= self.fail_at:
            self.failed_at = time.monotonic()
            raise RuntimeError("the viewer broke")
        self.seen.append(frame)
        if not frame.repeated:
            self._typed += self.script.get(len({f.frame.index for f in self.seen}), "")
        if self.seconds:
            time.sleep(self.seconds)

    def keys(self) -> tuple[str, ...]:
        typed, self._typed = tuple(self._typed), []
        return typed

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    return SimpleNamespace(
        Source=FakeSource,
        Detector=FakeDetector,
        Lifter=FakeLifter,
        Viewer=FakeViewer,
        SIZE=SIZE,
        HYPOTHESES=HYPOTHESES,
        landmarks=landmarks,
        in_time=in_time,
    )
