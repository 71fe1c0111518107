"""Speed of `posepipe batch`: a worker beside the detector alone, two workers beside one, and where the time goes.

    python benchmarks/batch_speed.py VIDEO [--repeat 3] [--no-overlay] [-o docs/batch_speed]

Writes OUT.json and OUT.md. The batches are real ones, started as a user does, over clips that are VIDEO once, twice and
three times in a row. Ways take turns; the medians of the repeats are shown. "one core": the command may use one only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

HERE = Path(__file__).resolve().parent


def make_clips(video: Path, folder: Path, copies: int = 2) -> None:
    """VIDEO once, twice and three times in a row, `copies` of each, in the size and at the rate of VIDEO."""
    from posepipe.pipeline.sink.video import VideoWriter
    from posepipe.pipeline.source.file import VideoFile

    for times in (1, 2, 3):
        with VideoFile(video) as first:
            info = first.info
        path = folder / f"{times}x0.mp4"
        with VideoWriter(path, info.width, info.height, info.fps, crf=20, preset="veryfast") as writer:
            count = 0
            for _ in range(times):
                with VideoFile(video) as frames:
                    for frame in frames:
                        writer.write(frame.image, count / info.fps)
                        count += 1
        for copy in range(1, copies):
            os.link(path, folder / f"{times}x{copy}.mp4")


def batch(folder: Path, jobs: int, overlay: bool, cores: int | None = None) -> dict[str, object]:
    """One run of the command: wall and processor seconds, and what it says of every video."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "posepipe", "batch", str(folder), "-o", out, "--jobs", str(jobs), "--json"]
        before, began = _children(), time.perf_counter()
        done = subprocess.run(
            command + ["--no-overlay"] * (not overlay),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            preexec_fn=None
            if cores is None
            else lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores]),
        )
        wall, cpu = time.perf_counter() - began, _children() - before
    videos = json.loads(done.stdout)["videos"]
    frames = sum(v["frames"] for v in videos)
    start, each, rate = worker_line([(v["frames"], v["seconds"]) for v in videos], jobs, wall)
    written = sum(o["bytes"] for v in videos for o in v["outputs"])
    return {
        "frames": frames,
        "wall": wall,
        "cpu_ms_per_frame": 1e3 * cpu / frames,
        "frames_per_s": frames / wall,
        "worker_frames_per_s": rate,
        "start": start,
        "per_video": each,
        "bytes_per_frame": (written + sum(p.stat().st_size for p in folder.iterdir())) / frames,
    }


def _some_cores(count: int) -> set[int]:
    return set(sorted(os.sched_getaffinity(0))[:count])


def worker_line(videos: list[tuple[int, float]], jobs: int, wall: float) -> tuple[float, float, float]:
    """(seconds before a worker's first frame, seconds per video, frames/s) of workers whose videos took so long.

    videos: (frames, seconds) in the order in which they ended. Those that a worker did first carry its imports, so the
    line seconds = per video + frames / rate is fitted to the others."""
    later = np.array(videos[jobs:], float)
    design = np.stack([np.ones(len(later)), later[:, 0]], axis=1)
    (each, per_frame), *_ = np.linalg.lstsq(design, later[:, 1], rcond=None)
    expected = sum(each + per_frame * frames for frames, _ in videos)
    return max(0.0, wall - expected / jobs), max(0.0, float(each)), 1 / float(per_frame)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _script(name: str, *argv: str) -> str:
    done = subprocess.run([sys.executable, str(HERE / name), *argv], capture_output=True, text=True, check=True)
    return done.stdout


def _alone(video: Path) -> float:
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); from pathlib import Path; import throughput as t; "
    code += f"n, s = t.detector_alone(Path({str(video)!r})); print(n / s)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def fsync_seconds(folder: Path, count: int = 50) -> float:
    """Seconds per manifest line."""
    from posepipe.pipeline import manifest

    entry = manifest.Entry(
        "video.mp4", "0" * 64, "0" * 64, manifest.OK, outputs=(manifest.Output("a", 1, "0" * 64),) * 2
    )
    began = time.perf_counter()
    for _ in range(count):
        manifest.append(folder, entry)
    return (time.perf_counter() - began) / count


def measure(video: Path, repeat: int, overlay: bool) -> dict[str, object]:
    cores = len(os.sched_getaffinity(0))
    ways = {
        f"1 worker, {cores} cores": (1, None),
        "1 worker, one core": (1, 1),
        f"{cores} workers, {cores} cores": (cores, None),
    }
    runs: dict[str, list[dict]] = {name: [] for name in ways}
    alone: list[float] = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        made = Path(folder) / "in"
        made.mkdir()
        make_clips(video, made)
        longest = made / "3x0.mp4"
        for _ in range(repeat):
            alone.append(_alone(longest))
            for name, (jobs, limit) in ways.items():
                runs[name].append(batch(made, jobs, overlay, limit))
        stages = json.loads(_script("cpu_stages.py", str(longest), "--json", *["--no-overlay"] * (not overlay)))
        fsync = fsync_seconds(Path(folder))
    middle = {n: {k: median(r[k] for r in each) for k in each[0]} for n, each in runs.items()}
    return {
        "video": video.name,
        "cores": cores,
        "overlay": overlay,
        "repeat": repeat,
        "detector_alone": median(alone),
        "ways": middle,
        "stages": stages,
        "manifest_seconds": fsync,
    }


def report(found: dict) -> str:
    """The measurement as Markdown."""
    cores, alone, ways = found["cores"], found["detector_alone"], found["ways"]
    names = list(ways)
    whole = ways[names[0]]["worker_frames_per_s"]
    lines = [
        f"`python benchmarks/batch_speed.py {found['video']} --repeat {found['repeat']}"
        f"{'' if found['overlay'] else ' --no-overlay'}` on {cores} cores; medians. Our decoder and detector "
        f"alone, in one thread: **{alone:.1f} frames/s**.",
        "",
        "| | frames/s of a worker | of detector alone | all workers, frames/s | of 1 worker on all cores | "
        "of 1 on one core | CPU ms per frame | start s | per video s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, way in ways.items():
        jobs = int(name.split()[0])
        rate = way["worker_frames_per_s"]
        one = ways[names[1]]["worker_frames_per_s"]
        lines.append(
            f"| {name} | {rate:.1f} | {rate / alone:.2f} | {jobs * rate:.1f} | {jobs * rate / whole:.2f} | "
            f"{jobs * rate / one:.2f} | {way['cpu_ms_per_frame']:.1f} | {way['start']:.1f} | {way['per_video']:.2f} |"
        )
    total = found["stages"]["all"]
    share = " · ".join(f"{n} {ms:.1f}" for n, ms in found["stages"].items() if n != "all")
    busy = total * whole / 1e3
    lines += [
        "",
        f"Processor time of one worker, ms per frame: {share}; **{total:.1f}** in all. So one worker on "
        f"{cores} cores keeps {busy:.2f} of them busy; more workers can at most be {cores / busy:.2f} times as fast.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-overlay", action="store_true")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/batch_speed"))
    args = parser.parse_args()
    found = measure(args.video, args.repeat, not args.no_overlay)
    name = args.out.name + ("_no_overlay" if args.no_overlay else "")
    args.out.with_name(f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    args.out.with_name(f"{name}.md").write_text(report(found))
    print(report(found))


if __name__ == "__main__":
    main()
