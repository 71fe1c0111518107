"""The promises of docs/live.md at their full length: one command each, one line of a markdown table each.

    python benchmarks/live_promises.py lag      [--seconds 60]      # R1: a detector three times too slow
    python benchmarks/live_promises.py memory   [--frames 20000]    # R3: live, and every frame with a recording
    python benchmarks/live_promises.py stream   [--away 5 30]       # R9: a server that is killed, and comes back
    python benchmarks/live_promises.py same     [--runs 10]         # R11: ten runs, the same bytes
    python benchmarks/live_promises.py soak     [--hours 8]         # R18: BlazePose, lifter, drawing; a looped film

Short versions of all but the last are in tests/pipeline/live. Ages want a quiet machine; the rest does not care.
Exit code 1 when a promise was not kept.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from live_latency import Drawn, Looped, filmed

from posepipe.pipeline.live.recorder import Target
from posepipe.pipeline.live.report import LiveSummary
from posepipe.pipeline.live.session import LiveOptions, run_live
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts, SourceInfo
from posepipe.pipeline.source.stream import StreamSource
from posepipe.pipeline.stats import StageSummary
from posepipe.pipeline.view.none import NoViewer
from posepipe.pipeline.view.protocol import ViewFrame
from posepipe.types import Frame, Pose2D

SERVER = Path(__file__).parents[1] / "tests" / "pipeline" / "live" / "stream_server.py"
LIVE_MIB = 50.0  # that a long run may grow by


@dataclass
class Synthetic:
    """Grey pictures: `count` of them, at fps in real time or as fast as they are taken (0). at: called with every
    index before its frame is handed on."""

    count: int
    fps: float = 0.0
    live: bool = True
    size: tuple[int, int] = (640, 360)
    at: Callable[[int], None] = lambda index: None
    trouble: str = ""
    counts: SourceCounts = SourceCounts()  # noqa: RUF009 - frozen

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("synthetic", "synthetic", *self.size, self.fps or 30.0)

    def frames(self, gate: Gate) -> Iterator[Captured]:
        zero = time.monotonic()
        for index in range(self.count):
            self.at(index)
            now = zero + index / self.fps if self.fps else time.monotonic()
            if self.fps and gate.wait(now - time.monotonic()):
                return
            image = np.full((self.size[1], self.size[0], 3), index % 200, np.uint8)
            yield Captured(Frame(index, index / (self.fps or 30.0), image), now)

    def close(self) -> None:
        pass


class Waving:
    """A detector that looks at nothing: the landmarks of the actor, after `seconds`."""

    def __init__(self, size: tuple[int, int], seconds: Callable[[], float] = lambda: 0.0) -> None:
        actor = ActorSource(ActorScene("wave", seconds=10, fps=30, width=size[0], height=size[1]))
        self._seconds = seconds
        self._poses = [actor.truth(i).blazepose.astype(np.float32) for i in range(0, len(actor), 3)]

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]:
        time.sleep(self._seconds())
        points = self._poses[frame.index % len(self._poses)]
        return (Pose2D(points, np.full(len(points), 0.9, np.float32), "blazepose33"),)

    @contextmanager
    def __call__(self) -> Iterator[Waving]:
        yield self


def lag(seconds: float) -> bool:
    source = Synthetic(round(30 * seconds), 30.0)
    summary = run_live(source, Drawn(), RunSettings(), make_detector=Waving(source.size, lambda: 0.1))
    counts, age = summary.counts, _age(summary)
    whole = counts.captured == source.count == counts.processed + counts.lost
    # 100 ms of waiting and what it costs to take and hand on a frame; 600 in 60 s would be with nothing else to do.
    rate = counts.processed / (10 * seconds)
    kept = whole and age.p99 <= 250 and abs(rate - 1) <= 0.05
    seen = f"age p50 / p99 {age.p50:.0f} / {age.p99:.0f} ms; {counts.captured} = {counts.processed} + {counts.lost}"
    _row("R1", f"{seconds:.0f} s of 30 frames/s, a detector that sleeps 100 ms", seen, kept)
    return kept


def memory(frames: int) -> bool:
    kept = True
    for every in (False, True):
        marks: dict[int, float] = {}

        def note(index: int, marks: dict[int, float] = marks) -> None:
            if index in (2000, frames - 1):
                marks[index] = _resident()

        source = Synthetic(frames, 0.0 if every else 100.0, live=not every, size=(320, 240), at=note)
        with tempfile.TemporaryDirectory() as folder:
            target = Target(Path(folder) / "x.h5", None)
            options = LiveOptions(Path(folder), record=every, target=target, every=every)
            summary = run_live(source, Drawn(), RunSettings(), options, make_detector=Waving(source.size))
        counts = summary.counts
        grown = marks[frames - 1] - marks[2000]
        good = grown <= LIVE_MIB and counts.captured == frames == counts.processed + counts.lost
        kind = "every frame, recorded" if every else "newest frame only"
        seen = f"{marks[2000]:.0f} MiB after 2,000, {grown:+.1f} MiB at the end; {counts.processed} processed"
        _row("R3", f"{frames} frames, {kind}, 20 hypotheses, drawn", seen, good)
        kept &= good
    return kept


class Server:
    """The camera of the tests (moving pictures over HTTP), as a process that can be killed."""

    def __init__(self) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(SERVER), str(self.port)], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def stream(away: list[float]) -> bool:
    kept = True
    for seconds in away:
        server, viewer, moments = Server(), _Ending(), {}
        said: list[tuple[float, str]] = []

        def accident(server: Server = server, moments: dict[str, float] = moments, seconds: float = seconds) -> None:
            time.sleep(2.0)
            server.kill()
            moments["killed"] = time.monotonic()
            time.sleep(seconds)
            server.start()
            moments["back"] = time.monotonic()

        def say(line: str, said: list = said, viewer: _Ending = viewer) -> None:
            said.append((time.monotonic(), line))
            if line.endswith("is back"):
                viewer.until = time.monotonic() + 1.0

        source = StreamSource(f"http://user:hunter2@127.0.0.1:{server.port}/live")
        threading.Thread(target=accident, daemon=True).start()
        try:
            summary = run_live(source, viewer, RunSettings(), say=say, make_detector=Waving((160, 120)))
        finally:
            server.kill()
        noticed = next(at for at, line in said if "lost" in line) - moments["killed"]
        found = next(at for at, line in said if line.endswith("is back")) - moments["back"]
        secret = any("hunter2" in line for _, line in said) or "hunter2" in summary.to_json()
        counts = summary.counts
        good = noticed <= 5 and found <= 2 and not secret and counts.captured == counts.processed + counts.lost
        seen = f"noticed after {noticed:.1f} s, back {found:.1f} s after it; {summary.origin.reconnects} reconnect"
        _row("R9", f"HTTP server killed for {seconds:.0f} s", seen, good)
        kept &= good
    return kept


class _Ending(NoViewer):
    """Presses q when `until` has come."""

    until = float("inf")

    def keys(self) -> tuple[str, ...]:
        return ("q",) if time.monotonic() > self.until else ()


def same(runs: int) -> bool:
    dice, seen = random.Random(5), set()
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            target = Target(Path(folder) / "x.h5", None)
            options = LiveOptions(Path(folder), record=True, target=target, every=True, depth=dice.choice((1, 4, 32)))
            slow = dice.choice((0.0, 0.01))
            detector = Waving((640, 360), lambda slow=slow: slow * dice.random())  # type: ignore[misc]
            run_live(Synthetic(200, live=False), Drawn() if run % 2 else NoViewer(), RunSettings(seed=3), options,
                     make_detector=detector)  # fmt: skip
            seen.add(hashlib.sha256(target.recording.read_bytes()).hexdigest())
    _row("R11", f"{runs} runs of 200 frames; queues, threads and viewers differ", f"{len(seen)} different file(s)",
         len(seen) == 1)  # fmt: skip
    return len(seen) == 1


def soak(hours: float) -> bool:
    """BlazePose and all: a film of 6 s, played in real time again and again."""
    with tempfile.TemporaryDirectory() as folder:
        path = filmed(folder)
        began, viewer = time.monotonic(), _Soaking(3600 * hours)
        summary = run_live(Looped(path), viewer, RunSettings())
    counts, age = summary.counts, _age(summary)
    hour = (time.monotonic() - began) / 3600
    drift = 1e3 * viewer.drift()
    grown = viewer.memory[-1] - viewer.memory[min(2, len(viewer.memory) - 1)]
    good = counts.captured == counts.processed + counts.lost and grown <= LIVE_MIB
    seen = (
        f"{counts.captured} = {counts.processed} + {counts.lost}, {summary.fps:.1f} frames/s; age p50 / p99 "
        f"{age.p50:.0f} / {age.p99:.0f} ms, drift of its minutes' medians {drift:+.1f} ms/h; "
        f"{grown:+.1f} MiB after minute 2"
    )
    _row("R18", f"{hour:.2f} h of a 720p film at 30 frames/s, BlazePose, drawn", seen, good)
    return good


class _Soaking(Drawn):
    """Draws, keeps each minute's median age and the memory at its end, and quits when the time is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._until = self._minute = float("inf")
        self._ages: list[float] = []
        self.medians: list[float] = []
        self.memory = [_resident()]

    def show(self, frame: ViewFrame) -> None:
        super().show(frame)
        if self._until == float("inf"):  # loading is over
            self._minute = time.monotonic()
            self._until = self._minute + self._seconds
        self._ages.append(frame.status.age_ms / 1e3)
        if time.monotonic() - self._minute > 60:
            self._minute = time.monotonic()
            self.medians.append(float(np.median(self._ages)))
            self.memory.append(_resident())
            self._ages.clear()

    def keys(self) -> tuple[str, ...]:
        return ("q",) if time.monotonic() > self._until else ()

    def drift(self) -> float:
        """Seconds per hour, by least squares over the minutes."""
        if len(self.medians) < 3:
            return float("nan")
        return float(np.polyfit(np.arange(len(self.medians)) / 60, self.medians, 1)[0])


def _age(summary: LiveSummary) -> StageSummary:
    return next(s for s in summary.stages if s.name == "age")


def _resident() -> float:
    """MiB in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _row(promise: str, what: str, seen: str, kept: bool) -> None:
    print(f"| {promise} | {what} | {seen} | {'kept' if kept else 'NOT KEPT'} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("promise", choices=("lag", "memory", "stream", "same", "soak"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--away", type=float, nargs="+", default=[5.0, 30.0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--hours", type=float, default=8.0)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    work = {
        "lag": lambda: lag(args.seconds),
        "memory": lambda: memory(args.frames),
        "stream": lambda: stream(args.away),
        "same": lambda: same(args.runs),
        "soak": lambda: soak(args.hours),
    }[args.promise]
    return 0 if work() else 1


if __name__ == "__main__":
    sys.exit(main())
