"""Runs the cases of a target in worker processes and counts what became of them; a process that dies is replaced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.target import Cases
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import DIED, FOUND, RIGHT, RUNNING, lift_limit, limit, limited, prepare

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """outcomes: how many cases ended how ("right", the class of a clear error, or "found"). found: what was wrong."""

    target: str
    cases: int
    seconds: float
    outcomes: dict[str, int]
    found: list[dict[str, Any]] = field(default_factory=list)


def run(name: str, cases: int, seed: int, folder: Path, jobs: int = 1) -> Result:
    """Run cases 0 to `cases` of a target. folder: for the files, emptied first; evidence of findings is
    left in folder/evidence."""
    began = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outcomes = folder / "outcomes"
    outcomes.write_bytes(bytes(cases))
    place = folder / "files-0"
    place.mkdir()
    TARGETS[name].build(place)
    bounds = [cases * i // jobs for i in range(jobs + 1)]
    parts = [_Part(name, place, seed, bounds[i], bounds[i + 1], folder, i) for i in range(jobs)]
    while any(not part.finished() for part in parts):
        time.sleep(0.2)
    found = [died for part in parts for died in part.deaths]
    for part in parts:
        report = part.reports / "found.jsonl"
        if report.exists():
            found += [json.loads(line) for line in report.read_text().splitlines()]
    codes = np.frombuffer(outcomes.read_bytes(), np.uint8)
    counts: Counter[str] = Counter()
    for part in parts:
        names = {RIGHT: "right", FOUND: "found", DIED: "found"}
        file = part.reports / "classes.txt"
        names |= {RIGHT + 1 + i: n for i, n in enumerate(file.read_text().split() if file.exists() else ())}
        values, numbers = np.unique(codes[part.first : part.end], return_counts=True)
        for code, number in zip(values.tolist(), numbers.tolist(), strict=True):
            counts[names.get(code, "not run")] += number
    _keep_evidence(name, seed, place, folder / "evidence", found)
    return Result(name, cases, time.perf_counter() - began, dict(counts), found)


def run_inside(name: str, cases: int, seed: int, folder: Path) -> Result:
    """As run, in this process, which a hang or a crash ends: for a few cases; a process costs seconds."""
    began = time.perf_counter()
    folder.mkdir(parents=True)
    TARGETS[name].build(folder)
    known = Cases(TARGETS[name], folder, name, seed)
    prepare(known, folder)
    limit()
    counts, found = Counter[str](), []
    for number in range(cases):
        outcome = limited(known, number, folder)
        counts["found" if isinstance(outcome, dict) else outcome or "right"] += 1
        found += [outcome] if isinstance(outcome, dict) else []
    lift_limit()
    return Result(name, cases, time.perf_counter() - began, dict(counts), found)


class _Part:
    """A stretch of cases and the process that works on it."""

    def __init__(self, name: str, original: Path, seed: int, first: int, end: int, folder: Path, index: int) -> None:
        self.first, self.end = first, end
        self._next, self._name, self._seed = first, name, seed
        self._outcomes = folder / "outcomes"
        self.reports = folder / f"reports-{index}"
        self.reports.mkdir()
        self._original, self._place = original, folder / f"files-{index + 1}"
        self.deaths: list[dict[str, Any]] = []
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        shutil.rmtree(self._place, ignore_errors=True)  # a process that died has left its damaged file there
        subprocess.run(["cp", "-r", str(self._original), str(self._place)], check=True)
        arguments = [self._name, self._place, self._seed, self._next, self.end, self._outcomes, self.reports]
        command = [sys.executable, "-m", "tests.fuzz.worker", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with open(self.reports / "stderr.txt", "wb") as log:
            return subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=environment
            )

    def finished(self) -> bool:
        """Looks after the process; True when all cases are done."""
        code = self._process.poll()
        if code is None:
            return False
        if code == 0:
            return True
        told = (self.reports / "stderr.txt").read_text(errors="replace")[-3000:]
        with open(self._outcomes, "r+b") as file:
            codes = file.read()
            number = codes.find(RUNNING, self.first, self.end)
            if number < 0 or code == 1:  # 1: a traceback of the worker itself
                raise RuntimeError(f"the worker of {self._name} ended with {code} by itself:\n{told}")
            file.seek(number)
            file.write(bytes([DIED]))
        kind = "hang" if -code in (signal.SIGPROF, signal.SIGALRM) else "crash"
        how = signal.Signals(-code).name if code < 0 else f"exit {code}"
        self.deaths.append({"case": number, "kind": kind, "error": how, "where": _place_of(told), "trace": told})
        self._next = number + 1
        if self._next >= self.end:
            return True
        self._process = self._start()
        return False


def _place_of(told: str) -> str:
    """The innermost line of ours in what faulthandler wrote."""
    for line in told.splitlines():
        if "File " in line and "site-packages" not in line and "/lib/python" not in line and "/tests/" not in line:
            return line.strip().removeprefix("File ")
    return "?"


def _keep_evidence(name: str, seed: int, place: Path, folder: Path, found: list[dict[str, Any]]) -> None:
    """The file of each finding; of those at one place in the code, the first three."""
    kept: Counter[tuple[str, str, str]] = Counter()
    cases = Cases(TARGETS[name], place, name, seed)
    for one in found:
        key = (one["kind"], one["error"], one["where"])
        kept[key] += 1
        if kept[key] <= 3:
            case = cases.case(one["case"])
            folder.mkdir(exist_ok=True)
            stem = f"{name}-{seed}-{one['case']}"
            (folder / f"{stem}-{Path(case.seed.path).name}").write_bytes(case.data)
            (folder / f"{stem}.txt").write_text(one["trace"])
