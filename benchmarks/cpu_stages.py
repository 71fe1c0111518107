"""Processor time of one `posepipe run` by stage, not by clock: what other programs do meanwhile hardly counts.

    python benchmarks/cpu_stages.py VIDEO [--no-overlay] [--frames N]

The clock's time of a stage is no measure of what it costs once stages run beside each other and wait for cores. Here
the time comes from the kernel: per thread, and inside the thread that lifts, draws and encodes, per stage.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posepipe.pipeline.stats import StageTimes

_TICKS = os.sysconf("SC_CLK_TCK")


class CpuTimes(StageTimes):
    """Also sums the processor time of the calling thread in each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        began = time.thread_time()
        with super().measure(stage):
            yield
        self.cpu[stage] = self.cpu.get(stage, 0.0) + time.thread_time() - began


def thread_seconds() -> dict[str, float]:
    """Processor seconds of this process's threads so far, by name: Python's names, or those in the kernel."""
    python = {t.native_id: t.name for t in threading.enumerate()}
    found: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        name = python.get(int(task.name)) or text.partition("(")[2].rpartition(")")[0]
        found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def stages(video: Path, overlay: bool, frames: int | None = None) -> dict[str, float]:
    """Milliseconds of processor time per frame: each stage, `all` of the process, and `frames`."""
    from posepipe.pipeline.run import run_file
    from posepipe.pipeline.settings import RunSettings

    settings = RunSettings(overlay=overlay, max_frames=frames)
    times, marks = CpuTimes(), []

    def mark() -> None:
        # The threads that read ahead end before the last frame is written: their last sight counts.
        marks[1:] = [(time.process_time(), (marks[-1][1] if marks else {}) | thread_seconds())]

    def start(expected: int | None) -> None:
        marks.append((time.process_time(), thread_seconds()))

    def on_frame(result: object) -> None:
        mark()

    with tempfile.TemporaryDirectory() as folder:
        summary = run_file(video, Path(folder), settings, times, start, on_frame)
    (cpu0, before), (cpu1, after) = marks[0], marks[-1]
    count = summary.frames
    each = {name: 1e3 * (after[name] - before.get(name, 0.0)) / count for name in after}
    graph = sum(ms for name, ms in each.items() if name.startswith("mediapipe"))
    found = {"decode": each.get("decode", 0.0), "detect": graph + each.get("detect", 0.0)}
    found |= {name: 1e3 * seconds / count for name, seconds in times.cpu.items() if name not in found}
    found["all"] = 1e3 * (cpu1 - cpu0) / count
    found["other"] = found["all"] - sum(ms for name, ms in found.items() if name != "all")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--no-overlay", action="store_true")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = stages(args.video, not args.no_overlay, args.frames)
    if args.json:
        print(json.dumps(found))
        return
    for name, ms in found.items():
        print(f"{name:<8}{ms:7.2f} ms of processor time per frame")


if __name__ == "__main__":
    main()
