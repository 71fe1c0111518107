"""What a batch of 1, 1,000 and 1,000,000 hours of video takes and costs, simulated from measured numbers of one worker.

    python benchmarks/scaling.py [--measured docs/batch_speed.json] [--check VIDEO] [-o docs/scaling]

Writes OUT.md and OUT.png. What was measured comes from benchmarks/batch_speed.py; everything else is an option with the
value it has here named in the text. --check also runs real batches with 1 and 2 workers over clips of VIDEO of other
lengths than those that were measured, and puts what the simulation says of them beside (kept in OUT.check.json).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scaling_model import Cluster, Worker, limits, simulate, video_frames

HOURS = (1, 1_000, 1_000_000)
WORKERS = {
    1: (1, 2, 4, 8, 16, 64),
    1_000: (1, 10, 100, 300, 1_000, 6_000),
    1_000_000: (100, 1_000, 10_000, 30_000, 100_000),
}
EFFICIENT = 0.8


def measured_worker(found: dict) -> Worker:
    """A worker with one core on a machine whose every core has one: the last of the measured ways."""
    name = list(found["ways"])[-1]
    way = found["ways"][name]
    return Worker(way["worker_frames_per_s"], way["start"], way["per_video"], found["cores"] / int(name.split()[0]))


def _demand(found: dict) -> float:
    """Bytes read and written per frame."""
    return float(found["ways"][list(found["ways"])[-1]]["bytes_per_frame"])


def rows(args: argparse.Namespace, found: dict) -> list[dict]:
    worker, demand, table = measured_worker(found), _demand(found), []
    for hours in HOURS:
        # A hundredth of a large cluster: of the videos, the workers, the storage, and of the driver's time.
        part = 100 if hours > 100_000 else 1
        frames = video_frames(hours / part, args.fps, args.minutes, args.longest)
        for count in WORKERS[hours]:
            cluster = Cluster(count // part, args.storage * 1e6 / part, demand, found["manifest_seconds"] * part)
            seconds = simulate(frames, worker, cluster).seconds
            bounds = limits(frames, worker, cluster)
            ideal = bounds["work"] - worker.start
            binding = max(bounds, key=lambda k: bounds[k])
            if binding == "work" and ideal / seconds < EFFICIENT:
                binding = "start" if worker.start > (seconds - worker.start) / 4 else "the last videos"
            table.append(
                {
                    "hours": hours,
                    "videos": len(frames) * part,
                    "workers": count,
                    "seconds": seconds,
                    "frames_per_s": part * float(frames.sum()) / seconds,
                    "efficiency": ideal / seconds,
                    "cost": count * worker.cores * seconds / 3600 * args.core_hour,
                    "binding": binding,
                    "bounds": bounds,
                }
            )
    return table


def knee(args: argparse.Namespace, found: dict, hours: int) -> tuple[int, str]:
    """The most workers (of 1, 2, 5, 10 ...) that still work at EFFICIENT, and what stops more."""
    worker, demand = measured_worker(found), _demand(found)
    frames = video_frames(hours, args.fps, args.minutes, args.longest)
    last, why = 1, ""
    for count in (n * 10**k for k in range(7) for n in (1, 2, 5)):
        bounds = limits(frames, worker, Cluster(count, args.storage * 1e6, demand, found["manifest_seconds"]))
        # The bounds and not the simulation, which would take minutes for each of these; they are within a few per cent.
        longest = max(bounds, key=lambda k: bounds[k])
        if (bounds["work"] - worker.start) / bounds[longest] < EFFICIENT:
            return last, longest if longest != "work" else "start"
        last = count
    return last, why


def clock(seconds: float) -> str:
    for unit, size in (("years", 31_557_600), ("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def plot(table: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(HOURS), figsize=(13, 4.2), constrained_layout=True)
    for axis, hours in zip(axes, HOURS, strict=True):
        chosen = [r for r in table if r["hours"] == hours]
        x = [r["workers"] for r in chosen]
        axis.loglog(x, [r["bounds"]["work"] for r in chosen], color="0.7", lw=1.2, label="evenly spread work")
        for name, style in (("longest video", ":"), ("storage", "--"), ("manifest", "-.")):
            axis.loglog(x, [r["bounds"][name] for r in chosen], style, lw=1.1, label=f"bound: {name}")
        axis.loglog(x, [r["seconds"] for r in chosen], "o-", color="black", ms=4, lw=1.5, label="simulated")
        axis.set_title(f"{hours:,} hour{'s' * (hours > 1)} of video, {chosen[0]['videos']:,} videos", fontsize=10)
        axis.set_xlabel("workers")
        axis.grid(True, which="major", lw=0.3)
    axes[0].set_ylabel("seconds until the manifest is complete")
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def report(args: argparse.Namespace, found: dict, table: list[dict], checked: list[dict] | None) -> str:
    parts = [_given(args, found), _table(args, table), _where_it_stops(args, found)]
    return "\n".join([*parts, _checked(checked)] if checked else parts)


def _given(args: argparse.Namespace, found: dict) -> str:
    worker, cores = measured_worker(found), found["cores"]
    return f"""# How far a batch scales

Written by `python benchmarks/scaling.py`. Measured (`benchmarks/batch_speed.py`, {found["video"]}, {cores}
workers on {cores} cores{"" if found["overlay"] else ", without overlay videos"}): a worker with
{worker.cores:g} core does **{worker.frames_per_s:.1f} frames/s**, starts in {worker.start:.1f} s, spends
{worker.per_video:.2f} s on each video besides its frames, reads and writes {_demand(found) / 1e3:.1f} kB a
frame; a line of the manifest takes {1e3 * found["manifest_seconds"]:.2f} ms (fsync).

Assumed: {args.fps:g} frames/s; lengths log-normal (sigma 1) around {args.minutes:g} min, none above
{args.longest:g} min; storage that gives {args.storage:g} MB/s to all workers together; {args.core_hour:g} USD
per core-hour, every worker paid for until the end. No GPU appears, because none was measured: the detector runs
on the processor. Where a GPU lifts, `--engine ray` gives one to each worker, and its price joins that of the cores.
"""


def _table(args: argparse.Namespace, table: list[dict]) -> str:
    lines = [
        "| video | videos | workers | wall time | frames/s | efficiency | USD | what holds it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in table:
        cells = (
            f"{r['hours']:,} h",
            f"{r['videos']:,}",
            f"{r['workers']:,}",
            clock(r["seconds"]),
            f"{r['frames_per_s']:,.0f}",
            f"{100 * r['efficiency']:.0f} %",
            f"{r['cost']:,.2f}",
            "" if r["efficiency"] >= EFFICIENT else r["binding"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"![Wall time over workers]({args.out.name}.png)", ""])


def _where_it_stops(args: argparse.Namespace, found: dict) -> str:
    worker, line = measured_worker(found), found["manifest_seconds"]
    lines = ["## Where it stops, and why", ""]
    for hours in HOURS:
        count, why = knee(args, found, hours)
        lines.append(
            f"- **{hours:,} h**: {100 * EFFICIENT:.0f} % efficient up to about {count:,} workers; then: {why}."
        )
    fed = args.storage * 1e6 / (worker.frames_per_s * _demand(found))
    driven = args.minutes * 60 * args.fps / worker.frames_per_s / line
    longest = args.longest * 60 * args.fps / worker.frames_per_s
    return (
        "\n".join(lines)
        + f"""

- **The longest video** is one work item, so nothing ends before it: {args.longest:g} minutes take
  {clock(longest)} on one worker. Splitting it would need the detector's and the smoother's state at the cut and
  would change results, so it is not done. The largest files are given out first, which shortens the
  end.
- **Start-up** of {worker.start:.1f} s (Python, MediaPipe, the lifter) is paid once per worker, not per video.
- **Storage**: {args.storage:g} MB/s feed {fed:,.0f} workers. Most of the bytes are the overlay video's
  (`--no-overlay`).
- **The driver** syncs one line per video: {1 / line:,.0f} videos/s here, which keeps {driven:,.0f} workers busy
  with videos of {args.minutes:g} minutes. Clips of seconds meet this limit first.
- Not simulated: nodes that fail (each costs the videos it had, half done on average), Ray's own limits, and
  `--resume` over millions of entries, which reads the manifest whole and hashes every input again.
"""
    )


def _checked(checked: list[dict]) -> str:
    lines = [
        "## The simulation beside real batches",
        "",
        f"`python benchmarks/scaling.py --check {checked[0]['video']}`: clips of other lengths",
        "than those that were measured, the whole command by the clock.",
        "",
        "| workers | clips | frames | real s | simulated s | real / simulated |",
        "|---|---|---|---|---|---|",
    ]
    for c in checked:
        ratio = c["real"] / c["simulated"]
        lines.append(
            f"| {c['workers']} | {c['clips']} | {c['frames']} | {c['real']:.1f} | {c['simulated']:.1f} | {ratio:.2f} |"
        )
    return "\n".join(lines) + "\n"


def check(video: Path, found: dict) -> list[dict]:
    """Real batches with 1 and with as many workers as cores, and what the simulation says of them."""
    from posepipe.pipeline.source.file import VideoFile

    with VideoFile(video) as source:
        total = sum(1 for _ in source)
    names = list(found["ways"])
    checked = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        made = Path(folder) / "in"
        made.mkdir()
        frames = _clips(video, made, total)
        for name in (names[0], names[-1]):
            jobs, way = int(name.split()[0]), found["ways"][name]
            command = [
                sys.executable,
                "-m",
                "posepipe",
                "batch",
                str(made),
                "-o",
                f"{folder}/out{jobs}",
                "--jobs",
                str(jobs),
            ]
            began = time.perf_counter()
            done = subprocess.run(command + ["--no-overlay"] * (not found["overlay"]), capture_output=True, check=False)
            real = time.perf_counter() - began
            if done.returncode:
                raise SystemExit(done.stderr.decode())
            worker = Worker(way["worker_frames_per_s"], way["start"], way["per_video"], 1)
            cluster = Cluster(jobs, 1e12, way["bytes_per_frame"], found["manifest_seconds"])
            simulated = simulate(sorted(frames, reverse=True), worker, cluster).seconds
            checked.append(
                {"video": video.name, "workers": jobs, "clips": len(frames), "frames": sum(frames), "real": real}
                | {"simulated": simulated}
            )
    return checked


def _clips(video: Path, folder: Path, total: int) -> list[int]:
    """Clips of quite different lengths."""
    from itertools import islice

    from posepipe.pipeline.sink.video import VideoWriter
    from posepipe.pipeline.source.file import VideoFile

    lengths = [round(total * share) for share in (0.4, 1.0, 0.2, 0.7, 1.0, 0.5, 0.3, 0.9)]
    for number, length in enumerate(lengths):
        with VideoFile(video) as source:
            info = source.info
            with VideoWriter(folder / f"{number}.mp4", info.width, info.height, info.fps, crf=20) as writer:
                for frame in islice(source, length):
                    writer.write(frame.image, frame.pts)
    return lengths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, default=Path("docs/batch_speed.json"))
    parser.add_argument("--check", type=Path, metavar="VIDEO")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="mean length of a video")
    parser.add_argument("--longest", type=float, default=180.0, help="minutes")
    parser.add_argument("--storage", type=float, default=2000.0, metavar="MB/s")
    parser.add_argument("--core-hour", type=float, default=0.04, metavar="USD")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/scaling"))
    args = parser.parse_args()
    found = json.loads(args.measured.read_text())
    kept = args.out.with_name(f"{args.out.name}.check.json")
    if args.check:
        kept.write_text(json.dumps(check(args.check, found), indent=1) + "\n")
    table = rows(args, found)
    plot(table, args.out.with_suffix(".png"))
    text = report(args, found, table, json.loads(kept.read_text()) if kept.exists() else None)
    args.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
