"""Fuzzing by hand:

    python -m tests.fuzz TARGET [...] --cases 100000 --seed 1 [--jobs 1] [--keep FOLDER]

TARGET: names from tests/fuzz/targets.py, or `all`. Prints a line per target and what was found; exit code 1 if
anything was.
A case is found to be wrong when the reader ends with anything but a result that holds what it has to or a posepipe
error of one line, takes more than 5 s of processor time or 2 GiB of memory, or ends its process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.pool import Result, run, run_inside
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser("tests.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"], metavar="TARGET")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--inside", action="store_true", help="all in this process, which a crash or a hang then ends")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all files here, findings in evidence/")
    args = parser.parse_args()
    bad = False
    for name in TARGETS if "all" in args.targets else args.targets:
        with tempfile.TemporaryDirectory(prefix="posepipe-fuzz-") as temporary:
            folder = args.keep / f"{name}-{args.seed}" if args.keep else Path(temporary)
            if args.inside:
                result = run_inside(name, args.cases, args.seed, Path(temporary) / "inside")
            else:
                result = run(name, args.cases, args.seed, folder, args.jobs)
            _show(result)
            bad |= bool(result.found)
    return int(bad)


def _show(result: Result) -> None:
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(result.outcomes.items()))
    print(f"{result.target}: {result.cases} cases in {result.seconds:.0f} s: {outcomes}", flush=True)
    places = Counter((f["kind"], f["error"], f["where"]) for f in result.found)
    for (kind, error, where), count in places.most_common():
        first = next(f for f in result.found if (f["kind"], f["error"], f["where"]) == (kind, error, where))
        print(
            f"  {count} x {kind}: {error} at {where} (case {first['case']}) {first.get('text', '')[:200]}", flush=True
        )


if __name__ == "__main__":
    sys.exit(main())
