"""Random faults over batches, against what an uninterrupted batch gives:

    python -m tests.faults --hours 1 --seed 1 [--videos 20] [--only sigkill,corrupt] [--kills 50] [--keep FOLDER]

Every trial is drawn from the seed, and prints a line. The first promise that is broken ends the run with exit code 1;
what was there then stays in FOLDER. Filling disks needs the right to mount a tmpfs; without it those are left out.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.batches import Violation, make_videos, results, run
from tests.faults.disks import why_not
from tests.faults.trials import TRIALS, Bench


def main() -> int:
    parser = argparse.ArgumentParser("tests.faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default=",".join(TRIALS), help="names, with commas")
    parser.add_argument("--kills", type=int, help="only sigkill, until there were so many")
    parser.add_argument("--keep", type=Path, help="work here, and leave everything")
    args = parser.parse_args()
    names = ["sigkill"] if args.kills else args.only.split(",")
    unknown = sorted(set(names) - TRIALS.keys())
    if unknown:
        parser.error(f"no trial is called {unknown[0]}; known: {', '.join(TRIALS)}")
    folder = args.keep or Path(tempfile.mkdtemp(prefix="posepipe-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    if "full_disk" in names and why_not(folder):
        print("full_disk is left out: no tmpfs can be mounted here")
        names.remove("full_disk")
    return _run(args, names, folder)


def _run(args: argparse.Namespace, names: list[str], folder: Path) -> int:
    videos, out = folder / "videos", folder / "oracle"
    if not videos.exists():
        make_videos(videos, args.videos)
    ended = run(videos, out, "--jobs", str(args.jobs))
    if ended.code:
        print(f"the uninterrupted batch failed: {ended.printed}{ended.error}")
        return 1
    bench = Bench(videos, results(out), ended.seconds, folder / "out", random.Random(args.seed), args.jobs)
    print(f"{args.videos} videos, {len(bench.oracle)} results, {ended.seconds:.0f} s uninterrupted; in {folder}")
    began, done = time.monotonic(), Counter[str]()
    while _goes_on(args, bench, time.monotonic() - began):
        name = bench.rng.choice(names)
        start = time.monotonic()
        try:
            TRIALS[name](bench)
        except Violation as violation:
            print(f"BROKEN in trial {sum(done.values()) + 1} ({name}, seed {args.seed}): {violation}\nsee {folder}")
            return 1
        done[name] += 1
        kills = f" ({bench.seen.get('SIGKILLs', 0)} SIGKILLs so far)" if name == "sigkill" else ""
        print(f"{time.strftime('%H:%M:%S')} {name}: kept, {time.monotonic() - start:.0f} s{kills}", flush=True)
    trials = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
    seen = ", ".join(f"{count} {name}" for name, count in sorted(bench.seen.items()))
    print(
        f"{sum(done.values())} trials in {(time.monotonic() - began) / 60:.0f} min: {trials}\n{seen}\nno promise broken"
    )
    return 0


def _goes_on(args: argparse.Namespace, bench: Bench, seconds: float) -> bool:
    if args.kills:
        return bench.seen.get("SIGKILLs", 0) < args.kills
    return seconds < args.hours * 3600


if __name__ == "__main__":
    sys.exit(main())
