"""Frames per second of `posepipe run` beside MediaPipe alone on the same file, in one process, taking turns.

    python benchmarks/throughput.py VIDEO [--repeat 5]

"MediaPipe alone" is what its documentation shows: OpenCV decodes, `mp.solutions.pose.Pose` detects, in one loop.
"detector alone" is posepipe's own decoder and detector without anything behind them. Medians over the repeats.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import median


def mediapipe_alone(video: Path) -> tuple[int, float]:
    import cv2
    import mediapipe as mp

    with mp.solutions.pose.Pose(static_image_mode=False, model_complexity=1) as pose:
        capture, frames, start = cv2.VideoCapture(str(video)), 0, time.perf_counter()
        while True:
            ok, image = capture.read()
            if not ok:
                return frames, time.perf_counter() - start
            pose.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            frames += 1


def detector_alone(video: Path) -> tuple[int, float]:
    from posepipe.pipeline.detect.blazepose import BlazePose
    from posepipe.pipeline.source.file import VideoFile

    with VideoFile(video) as source, BlazePose() as detector:
        frames, start = 0, time.perf_counter()
        for frame in source:
            detector.detect(frame)
            frames += 1
        return frames, time.perf_counter() - start


def posepipe_run(video: Path, overlay: bool) -> tuple[int, float, tuple]:
    from posepipe.pipeline.run import run_file
    from posepipe.pipeline.settings import RunSettings

    with tempfile.TemporaryDirectory() as folder:
        summary = run_file(video, Path(folder), RunSettings(overlay=overlay))
    return summary.frames, summary.seconds, summary.stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    rates: dict[str, list[float]] = {}
    stages: tuple = ()
    for _ in range(args.repeat):
        for name, way in (
            ("MediaPipe alone", lambda: mediapipe_alone(args.video)),
            ("detector alone", lambda: detector_alone(args.video)),
            ("posepipe run", lambda: posepipe_run(args.video, True)),
            ("posepipe run --no-overlay", lambda: posepipe_run(args.video, False)),
        ):
            frames, seconds, *more = way()
            rates.setdefault(name, []).append(frames / seconds)
            if name == "posepipe run":
                stages = more[0]
    base = median(rates["MediaPipe alone"])
    print(f"\n{args.video.name}, median of {args.repeat}")
    for name, values in rates.items():
        line = f"{name:<28}{median(values):7.1f} frames/s   {median(values) / base:5.2f} of MediaPipe alone"
        print(f"{line}   (each: {', '.join(f'{v:.1f}' for v in values)})")
    print("posepipe run, the last one, ms per frame: stage p50 / p95 / p99")
    for s in stages:
        print(f"  {s.name:<8}{s.p50:7.1f} {s.p95:7.1f} {s.p99:7.1f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
