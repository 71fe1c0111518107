"""How old is the picture on the screen? A 720p camera of 30 frames/s through the live path.

    python benchmarks/live_latency.py                       # the default lifter: no window, drawn only, in a window
    python benchmarks/live_latency.py --write docs/live_latency.md
    python benchmarks/live_latency.py --lifter martinez --lifter mdn --seconds 60 --view window

The camera is a film of the rendered actor (H.264), played in real time again and again: a frame counts as taken when
its time has come, so the age at the end of drawing holds decoding, detection, lifting, drawing and every wait between,
but not a real camera's exposure and transfer. `drawn` makes the window's picture and shows it nowhere; `window` opens
it, on a screen of its own (Xvfb) where there is none, and is left out without either. Run it on a quiet machine with
nothing else; the load before the start is part of the table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from posepipe.pipeline.film import film
from posepipe.pipeline.live.report import LiveSummary
from posepipe.pipeline.live.session import run_live
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene
from posepipe.pipeline.source.live import Captured, Gate, SourceCounts
from posepipe.pipeline.source.playback import Playback
from posepipe.pipeline.view.display import display_problem
from posepipe.pipeline.view.none import NoViewer
from posepipe.pipeline.view.protocol import Viewer, ViewFrame
from posepipe.pipeline.view.window import WindowViewer, picture_of
from posepipe.types import Frame

_FILM_SECONDS = 6.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Drawn(NoViewer):
    """Draws what the window would show."""

    name = "drawn"
    shows = True

    def __init__(self) -> None:
        self._ground = GroundState()

    def show(self, frame: ViewFrame) -> None:
        self._ground = update_ground(self._ground, frame.tracks, frame.view)
        picture_of(frame, self._ground)


class Looped:
    """A film in real time for `seconds`: the playback is started anew at its end, stamps and numbers go on.

    on_start: called when the first frame is wanted, so when everything is loaded."""

    live = True
    trouble = ""
    counts = SourceCounts()

    def __init__(self, path: Path, seconds: float = float("inf"), on_start: Callable[[], None] = lambda: None) -> None:
        self._path, self._seconds, self._on_start = path, seconds, on_start
        video = Playback(path, live=True)
        self.info = video.info
        video.close()

    def frames(self, gate: Gate) -> Iterator[Captured]:
        index, zero = 0, time.monotonic()
        self._on_start()
        while not gate.stopped and time.monotonic() - zero < self._seconds:
            video = Playback(self._path, live=True)
            for captured in video.frames(gate):
                yield Captured(Frame(index, captured.at - zero, captured.frame.image), captured.at, captured.cost)
                index += 1
                if time.monotonic() - zero > self._seconds:
                    break
            video.close()

    def close(self) -> None:
        pass


def filmed(folder: str | Path) -> Path:
    """The camera's film: the actor waves, 1280 x 720, 30 frames/s."""
    path = Path(folder) / "actor.mp4"
    scene = ActorScene("wave", seconds=_FILM_SECONDS, fps=30, width=1280, height=720, fov_deg=55, yaw_deg=20)
    film((scene,), path)
    return path


class Threads:
    """Processor time of every thread of this process, by name; looks four times a second."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, float]] = {}
        self._stop = threading.Event()
        self.start()
        self._thread = threading.Thread(target=self._watch, name="measuring", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Count from now on."""
        self._before = {task: ticks for task, _, ticks in _tasks()}

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            names = {t.native_id: t.name for t in threading.enumerate()}
            for task, kind, ticks in _tasks():
                name = names.get(task) or self._seen.get(task, (kind, 0.0))[0]
                self._seen[task] = (name, (ticks - self._before.get(task, 0)) / _TICKS)

    def stop(self) -> dict[str, float]:
        """Seconds by thread; those of libraries under the name that they give themselves."""
        self._stop.set()
        self._thread.join()
        found: dict[str, float] = {}
        for name, seconds in self._seen.values():
            name = "MediaPipe's" if name.startswith("mediapipe") else name
            found[name] = found.get(name, 0.0) + seconds
        return {n: s for n, s in found.items() if n != "measuring"}


def _tasks() -> Iterator[tuple[int, str, int]]:
    for folder in Path("/proc/self/task").iterdir():
        try:
            text = (folder / "stat").read_text()
        except OSError:  # it has just ended
            continue
        rest = text[text.rindex(")") + 2 :].split()
        yield int(folder.name), text[text.index("(") + 1 : text.rindex(")")], int(rest[11]) + int(rest[12])


@dataclass(frozen=True)
class Measured:
    """threads: CPU milliseconds per processed frame."""

    lifter: str
    summary: LiveSummary
    threads: dict[str, float]

    def row(self) -> str:
        stages = {s.name: s for s in self.summary.stages}
        age, counts = stages["age"], self.summary.counts
        times = " / ".join(f"{stages[n].p50:.1f}" if n in stages else "" for n in ("capture", "detect", "lift", "show"))
        cpu = sum(self.threads.values())
        return (
            f"| {self.lifter} | {self.summary.view} | {age.p50:.0f} / {age.p95:.0f} / {age.p99:.0f} "
            f"| {self.summary.fps:.1f} | {counts.captured} = {counts.processed} + {counts.lost} | {times} | {cpu:.1f} |"
        )

    def costs(self) -> str:
        ordered = sorted(self.threads.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} {ms:.1f}" for name, ms in ordered if ms >= 0.1)
        return f"- {self.lifter}, {self.summary.view}: {shown}"


HEAD = (
    "| lifter | view | age ms p50 / p95 / p99 | frames/s | captured = processed + dropped "
    "| ms p50: decode / detect / lift / show | CPU ms per frame |\n|---|---|---|---|---|---|---|"
)


def measure(path: Path, lifter: str, viewer: Viewer, seconds: float) -> Measured:
    threads = Threads()
    summary = run_live(Looped(path, seconds, threads.start), viewer, RunSettings(lifter=lifter))
    frames = max(summary.counts.processed, 1)
    return Measured(lifter, summary, {name: 1e3 * s / frames for name, s in threads.stop().items()})


@contextmanager
def a_screen() -> Iterator[str]:
    """Which screen windows are opened on: the one there is, or one of our own; "" for none."""
    if not display_problem():
        yield f"DISPLAY={os.environ['DISPLAY']}"
        return
    if shutil.which("Xvfb") is None:
        yield ""
        return
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1920x1080x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        os.environ["DISPLAY"] = f":{pipe.readline().strip()}"
    try:
        yield "Xvfb"
    finally:
        del os.environ["DISPLAY"]
        server.terminate()
        server.wait()


def machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{len(os.sched_getaffinity(0))} cores of {model}, load {os.getloadavg()[0]:.1f} before the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifter", action="append")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--view", action="append", choices=("none", "drawn", "window"))
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    args = parser.parse_args()
    about = machine()
    print(about, f"\n\n{HEAD}", sep="", flush=True)
    done: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder, a_screen() as screen:
        path = filmed(folder)
        for lifter in args.lifter or [RunSettings().lifter]:
            for view in args.view or ("none", "drawn", "window"):
                if view == "window" and not screen:
                    continue
                viewer: Viewer = {"none": NoViewer, "drawn": Drawn, "window": WindowViewer}[view]()
                done.append(measure(path, lifter, viewer, args.seconds))
                print(done[-1].row(), flush=True)
    costs = "\n".join(m.costs() for m in done)
    print(f"\n{costs}")
    if args.write:
        rows = "\n".join(m.row() for m in done)
        args.write.write_text(PAGE.format(command=_command(args), about=about, screen=screen or "no screen",
                                          head=HEAD, rows=rows, costs=costs))  # fmt: skip


def _command(args: argparse.Namespace) -> str:
    lifters = "".join(f" --lifter {name}" for name in args.lifter or ())
    views = "".join(f" --view {name}" for name in args.view or ())
    return f"python benchmarks/live_latency.py{lifters}{views} --seconds {args.seconds:g} --write docs/live_latency.md"


PAGE = """# Live: how old the picture on the screen is

    {command}

{about}; windows on {screen}.
A 1280 x 720 film at 30 frames/s played in real time. Age: from the moment at which a frame's time has come to the end
of drawing it, so with decoding, detection, lifting, drawing and all waits, without a real camera's exposure and
transfer. Asked for with the default lifter on two cores: p50 <= 90 ms, p99 <= 160 ms, 25 frames/s.

{head}
{rows}

Processor milliseconds per processed frame, by thread (MainThread draws and shows; detect and MediaPipe's own are the
detector):

{costs}
"""


if __name__ == "__main__":
    main()
