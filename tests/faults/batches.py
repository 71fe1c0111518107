"""Batches as their users start them, what they leave, and what has to be true of it at every moment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from posepipe.pipeline import manifest
from posepipe.pipeline.film import film
from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.actor import ActorScene

ROOT = Path(__file__).resolve().parents[2]
MOTIONS = ("wave", "walk", "squat", "turn")
TEMPORARY = re.compile(r"^\..+\.tmp-\d+$")


class Violation(AssertionError):
    """A promise that was not kept."""


def check(kept: bool, promise: str) -> None:
    if not kept:
        raise Violation(promise)


def make_videos(folder: Path, count: int, frames: int = 6, size: int = 128) -> None:
    """count short films of the actor, in subfolders and with odd names; no two are the same."""
    names = ("clip", "schöner Tanz", "踊り", "a b", "[x]")
    for i in range(count):
        path = folder / f"{'abc'[i % 3]}" / f"{names[i % len(names)]} {i:02}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = ActorScene(MOTIONS[i % 4], frames / 15, 15, size, size, 55, yaw_deg=20 + i, seed=i)
        film((scene,), path)


def make_long_video(path: Path, frames: int = 3000) -> None:
    import numpy as np

    with VideoWriter(path, 160, 120, 30) as writer:
        for i in range(frames):
            writer.write(np.full((120, 160, 3), i % 200, np.uint8), i / 30)


def results(out: Path) -> dict[str, bytes]:
    """Relative path -> contents of everything under a final name, but the manifest (which holds timings)."""
    found = {}
    for path in out.rglob("*"):
        if path.is_file() and path.name != manifest.NAME and not TEMPORARY.match(path.name):
            try:
                found[path.relative_to(out).as_posix()] = path.read_bytes()
            except FileNotFoundError:  # replaced by its next version just now
                continue
    return found


def leftovers(out: Path) -> list[str]:
    return [p.name for p in out.rglob(".*") if TEMPORARY.match(p.name)]


@dataclass(frozen=True)
class Ended:
    """How a batch ended. seconds: from `asked` (or the start) to the end."""

    code: int
    printed: str
    error: str
    seconds: float


@dataclass
class Batch:
    """A running `posepipe batch`, in a session of its own (so that a signal to its group is what a terminal sends)."""

    process: subprocess.Popen[str]
    out: Path
    asked: float = field(default_factory=time.monotonic)

    def signal_all(self, sent: signal.Signals) -> None:
        self.asked = time.monotonic()
        os.killpg(self.process.pid, sent)

    def signal_first(self, sent: signal.Signals) -> None:
        self.asked = time.monotonic()
        self.process.send_signal(sent)

    def workers(self) -> list[int]:
        """Process numbers of those that are writing."""
        return sorted({int(p.name.rpartition("-")[2]) for p in self.out.rglob(".*.h5.tmp-*")})

    def end(self, timeout: float = 600) -> Ended:
        try:
            printed, error = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Violation(f"the batch did not end within {timeout:.0f} s") from None
        return Ended(self.process.returncode, printed, error, time.monotonic() - self.asked)


def start(folder: Path, out: Path, *argv: str, preexec: Callable[[], None] | None = None) -> Batch:
    command = [sys.executable, "-m", "posepipe", "batch", str(folder), "-o", str(out), *argv]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, errors="replace", start_new_session=True, preexec_fn=preexec,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return Batch(process, out)


def run(folder: Path, out: Path, *argv: str) -> Ended:
    return start(folder, out, *argv).end()


def until(condition: Callable[[], object], seconds: float = 120, of: Batch | None = None) -> bool:
    """Whether it became true before the time, or the process, was over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or (of is not None and of.process.poll() is not None):
            return False
        time.sleep(0.01)
    return True


def check_text(ended: Ended) -> None:
    check("Traceback" not in ended.printed + ended.error, f"never a traceback: {ended.error[-2000:]}")


def check_partly(out: Path, oracle: Mapping[str, bytes]) -> None:
    """Whatever has a final name is complete; the manifest can be read."""
    for name, data in results(out).items():
        check(data == oracle.get(name), f"{name} is not what an uninterrupted run gives ({len(data)} bytes)")
    manifest.read(out)


def check_whole(out: Path, oracle: Mapping[str, bytes]) -> None:
    """Nothing lost, nothing more, every byte the same, nothing half-written."""
    found = results(out)
    lost = sorted(oracle.keys() - found.keys())
    more = sorted(found.keys() - oracle.keys())
    check(not lost and not more, f"lost {lost}, more {more}")
    check_partly(out, oracle)
    check(not leftovers(out), f"half-written files are left: {leftovers(out)}")


class Watcher:
    """Looks at a folder over and over, as a program does that picks up results; whatever appears under a final name has
    to be complete at first sight."""

    def __init__(self, out: Path, oracle: Mapping[str, bytes], may_differ: frozenset[str] = frozenset()) -> None:
        self._out, self._oracle, self._may_differ = out, oracle, may_differ
        self._stop = threading.Event()
        self._seen: dict[str, int] = {}
        self.sights, self.wrong = 0, list[str]()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            for path in [p for p in self._out.rglob("*") if not TEMPORARY.match(p.name)]:
                self._look(path)

    def _look(self, path: Path) -> None:
        name = path.relative_to(self._out).as_posix()
        try:
            if not path.is_file() or path.name == manifest.NAME or self._seen.get(name) == path.stat().st_mtime_ns:
                return
            self._seen[name] = path.stat().st_mtime_ns
            data = path.read_bytes()
        except FileNotFoundError:
            return
        self.sights += 1
        if name not in self._may_differ and data != self._oracle.get(name):
            self.wrong.append(f"{name}: {len(data)} bytes at first sight")
