"""How long detectors take for one picture: BlazePose, the finder of people, and HRNet's graph with random weights.

    python benchmarks/detector_speed.py film.mp4 [--people 1 2 4] [--threads 1 2] [--name hrnet-w32] [--rounds 10]

Needs torch and onnx to make the graphs (with and without the mirrored crop), in a temporary folder. Medians in
milliseconds, the ways taking turns in one process. The table belongs into docs/detectors.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np

from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.detect.boxes import whole_picture
from posepipe.pipeline.detect.people_finder import PeopleFinder
from posepipe.pipeline.detect.topdown import HeatmapEstimator
from posepipe.pipeline.source.file import VideoFile
from posepipe.trt_build.detector.catalogue import entry
from posepipe.trt_build.detector.graph import write_detector
from posepipe.trt_build.detector.make import load_detector
from posepipe.trt_build.runners.heatmaps import OrtHeatmaps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--name", default="hrnet-w32")
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    with VideoFile(args.film) as film:
        frames = list(islice(film, args.rounds))
    ways: dict[str, Callable[[int], object]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        blazepose = stack.enter_context(BlazePose(max_threads=1))
        finder = PeopleFinder()
        stack.callback(finder.close)
        ways["blazepose, one person, 1 thread"] = lambda i: blazepose.detect(frames[i])
        ways["finder, 1 thread"] = lambda i: finder(frames[i].image)
        for flip in (True, False):
            net, contract = load_detector(entry(args.name), "random", flip)
            graph = Path(folder) / f"{flip}.onnx"
            write_detector(net, contract, graph)
            for threads in args.threads:
                estimator = HeatmapEstimator(stack.enter_context(OrtHeatmaps(graph, threads)))
                for people in args.people:
                    label = f"{args.name}{'' if flip else ' --no-flip'}, {people} people, {threads} threads"
                    ways[label] = _asked(estimator, frames, people)
        times: dict[str, list[float]] = {label: [] for label in ways}
        for i in range(len(frames)):
            for label, way in ways.items():
                start = time.perf_counter()
                way(i)
                times[label].append(1e3 * (time.perf_counter() - start))
    print("| | ms per picture |\n|---|---|")
    for label, measured in times.items():
        print(f"| {label} | {np.median(measured[1:] or measured):.1f} |")


def _asked(estimator: HeatmapEstimator, frames: list, people: int) -> Callable[[int], object]:
    return lambda i: estimator.poses(frames[i].image, np.repeat(whole_picture(frames[i].image), people, axis=0))


if __name__ == "__main__":
    main()
