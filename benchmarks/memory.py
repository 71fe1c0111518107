"""Memory of `posepipe run` over a long video: it must not grow.

    python benchmarks/memory.py [--frames 20000]

Films the actor once, repeats the film to the wanted length at a small size, runs the main job on it (overlay included),
and prints the resident memory along the way.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np


def resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    args = parser.parse_args()
    from posepipe.pipeline.run import run_file
    from posepipe.pipeline.settings import RunSettings
    from posepipe.pipeline.sink.video import VideoWriter
    from posepipe.pipeline.source.actor import ActorScene, ActorSource

    pictures = [f.image for f, _ in ActorSource(ActorScene("walk", seconds=6.8, fps=15, width=256, height=256))]
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        with VideoWriter(video, 256, 256, 15) as writer:
            for i in range(args.frames):
                writer.write(pictures[i % len(pictures)], i / 15)
        readings: list[float] = []

        def on_frame(result: object) -> None:
            if len(readings) * 500 <= result.frame.index:  # type: ignore[attr-defined]
                readings.append(resident_mib())

        summary = run_file(video, Path(folder) / "out", RunSettings(fov_deg=60), on_frame=on_frame)
    values = np.array(readings)
    quarter = max(len(values) // 4, 1)
    print(f"{summary.frames} frames, {summary.frames_with_person} with a person, {summary.fps:.1f} frames/s")
    print(f"resident memory MiB every 5000 frames: {', '.join(f'{v:.0f}' for v in values[::10])}, end {values[-1]:.0f}")
    print(f"second quarter {values[quarter : 2 * quarter].mean():.1f}, last quarter {values[-quarter:].mean():.1f}")
    print(f"peak {values.max():.0f} MiB")


if __name__ == "__main__":
    main()
