"""How old is the picture on the screen? A 720p camera of 30 frames/s through the live path, as a markdown table.

    python benchmarks/live_latency.py                       # the default lifter, without a window and with one
    python benchmarks/live_latency.py --lifter martinez --lifter mdn --seconds 60
    python benchmarks/live_latency.py --slow 100            # promise R1: a detector of 100 ms more
    python benchmarks/live_latency.py --soak 20000          # promise R3: memory over so many frames

The camera is a film of the rendered actor (H.264), played in real time: a frame counts as taken when its time has come,
so the age at the end of drawing holds decoding, detection, lifting, drawing and every wait between, but not a real
camera's exposure and transfer. `drawn` makes the window's picture and shows it nowhere; `window` needs a display (Xvfb
will do) and is left out without one. Run it on a quiet machine; the load before the start is printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.film import film
from posepipe.pipeline.live.report import LiveSummary
from posepipe.pipeline.live.session import LiveOptions, run_live
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts, SourceInfo
from posepipe.pipeline.source.playback import Playback
from posepipe.pipeline.view.display import display_problem
from posepipe.pipeline.view.none import NoViewer
from posepipe.pipeline.view.protocol import Viewer, ViewFrame
from posepipe.pipeline.view.window import WindowViewer, picture_of
from posepipe.types import Frame, Pose2D


class Drawn(NoViewer):
    """Draws what the window would show."""

    name = "drawn"
    shows = True

    def __init__(self) -> None:
        self._ground = GroundState()

    def show(self, frame: ViewFrame) -> None:
        self._ground = update_ground(self._ground, frame.tracks, frame.view)
        picture_of(frame, self._ground)


class SlowDetector:
    """BlazePose, and then a wait."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._detector = seconds, BlazePose()

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]:
        found = self._detector.detect(frame)
        time.sleep(self._seconds)
        return found

    def close(self) -> None:
        self._detector.close()


@contextmanager
def slow_detector(seconds: float) -> Iterator[SlowDetector]:
    detector = SlowDetector(seconds)
    try:
        yield detector
    finally:
        detector.close()


@dataclass
class Still:
    """One picture again and again, as fast as it is taken; notes the memory on the way."""

    image: np.ndarray
    count: int
    live: bool = True
    trouble: str = ""
    counts: SourceCounts = SourceCounts()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        height, width = self.image.shape[:2]
        self.info = SourceInfo("still picture", "still picture", width, height, 30.0)
        self.memory: dict[int, float] = {}

    def frames(self, gate: Gate) -> Iterator[Captured]:
        for index in range(self.count):
            if index in (self.count // 10, self.count - 1):
                self.memory[index] = _resident()
            yield Captured(Frame(index, index / 30, self.image.copy()), time.monotonic())

    def close(self) -> None:
        pass


def _resident() -> float:
    """MiB in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def row(summary: LiveSummary, label: str, cpu: float) -> str:
    stages = {s.name: s for s in summary.stages}
    age, counts = stages["age"], summary.counts
    p50 = " ".join(f"{n} {stages[n].p50:.1f}" for n in ("capture", "detect", "lift", "show") if n in stages)
    return (
        f"| {label} | {summary.view} | {age.p50:.0f} / {age.p95:.0f} / {age.p99:.0f} | {summary.fps:.1f} "
        f"| {counts.captured} = {counts.processed} + {counts.lost} | {p50} | {cpu:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifter", action="append")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--slow", type=float, default=0.0, metavar="MS")
    parser.add_argument("--soak", type=int, default=0, metavar="FRAMES")
    args = parser.parse_args()
    if args.soak:
        _soak(args.soak)
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start\n")
    print(
        "| lifter | view | age ms p50 / p95 / p99 | frames/s | captured = processed + dropped | ms p50 | CPU ms/frame |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "actor.mp4"
        scene = ActorScene("wave", seconds=args.seconds, fps=30, width=1280, height=720, fov_deg=55, yaw_deg=20)
        film((scene,), path)
        for lifter in args.lifter or [RunSettings().lifter]:
            viewers: list[Viewer] = [NoViewer(), Drawn()]
            if not display_problem():
                viewers.append(WindowViewer())
            for viewer in viewers:
                detector = (lambda: slow_detector(args.slow / 1000)) if args.slow else BlazePose
                busy = time.process_time()
                summary = run_live(
                    Playback(path, live=True), viewer, RunSettings(lifter=lifter), make_detector=detector
                )
                busy = 1000 * (time.process_time() - busy) / max(summary.counts.processed, 1)
                name = lifter + (f", detector {args.slow:.0f} ms slower" if args.slow else "")
                print(row(summary, name, busy), flush=True)


def _soak(frames: int) -> None:
    """With BlazePose and the lifter, where nobody is in the picture in most, since that is fastest."""
    image = np.full((120, 160, 3), 90, np.uint8)
    for every in (False, True):
        source = Still(image, frames, live=not every)
        summary = run_live(source, Drawn(), RunSettings(), LiveOptions(every=every))
        first, last = source.memory.values()
        kind = "every frame" if every else "newest frame only"
        print(f"{kind}: {summary.counts.captured} captured = {summary.counts.processed} + {summary.counts.lost}, "
              f"{first:.0f} MiB after a tenth, {last:.0f} MiB at the end", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
