"""The faults: a trial starts a batch, does something to it, and checks what has to be true then and after a resume."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from posepipe.pipeline import manifest
from tests.faults.batches import (
    Watcher,
    check,
    check_partly,
    check_text,
    check_whole,
    leftovers,
    results,
    run,
    start,
    until,
)
from tests.faults.disks import make_read_only, resize, small_disk
from tests.faults.zoo import flipped, zeroed


@dataclass
class Bench:
    """videos: the inputs. oracle: what an uninterrupted batch made of them. seconds: how long that took. out: where
    the trial works (kept when a promise is broken). jobs: videos at a time."""

    videos: Path
    oracle: dict[str, bytes]
    seconds: float
    out: Path
    rng: random.Random
    jobs: int = 2
    seen: dict[str, int] = field(default_factory=dict)  # numbers for the summary

    def count(self, name: str, number: int = 1) -> None:
        self.seen[name] = self.seen.get(name, 0) + number

    def options(self) -> tuple[str, ...]:
        return ("--jobs", str(self.jobs), "--resume")

    def moment(self) -> float:
        """Seconds after the start, anywhere in the batch."""
        return self.rng.uniform(0, self.seconds)

    def resume(self, out: Path | None = None) -> None:
        """To the end; everything is then as if nothing had happened."""
        ended = run(self.videos, out or self.out, *self.options())
        check(ended.code == 0, f"a resumed batch ends with 0, not {ended.code}: {ended.error}")
        check_whole(out or self.out, self.oracle)


def _made(out: Path) -> dict[str, int]:
    """Results of videos that the manifest has a line of -> when they were written."""
    known = manifest.read(out) if out.exists() else {}
    return {o.path: (out / o.path).stat().st_mtime_ns for e in known.values() for o in e.outputs}


def sigkill(bench: Bench) -> None:
    """SIGKILL to all processes at a random moment, again and again, resumed each time, until the batch is done."""
    shutil.rmtree(bench.out, ignore_errors=True)
    with Watcher(bench.out, bench.oracle) as watcher:
        for _ in range(bench.rng.randint(1, 4)):
            before, began = _made(bench.out), time.monotonic()
            batch = start(bench.videos, bench.out, *bench.options())
            until(lambda batch=batch: batch.process.poll() is not None, bench.moment())
            if batch.process.poll() is not None:
                batch.end()
                if not before:  # the machine is less busy than when the oracle was made
                    bench.seconds = min(bench.seconds, time.monotonic() - began)
                break
            working = len(batch.workers())
            batch.signal_all(signal.SIGKILL)
            batch.end()
            bench.count("SIGKILLs")
            after = _made(bench.out)
            check(before.items() <= after.items(), "what was done before is not done again")
            check_partly(bench.out, bench.oracle)
            finished = {n for n in results(bench.out) if n.endswith(".h5")}
            lines = {o.path for e in manifest.read(bench.out).values() for o in e.outputs if o.path.endswith(".h5")}
            redone = len(finished - lines)
            check(redone + working <= 2 * bench.jobs, f"{redone} finished videos without a line, {working} in work")
            check(redone <= bench.jobs, f"{redone} finished videos would be done again")
            bench.count("finished videos done again", redone)
        bench.resume()
    check(not watcher.wrong, f"never a final name that is not complete: {watcher.wrong}")
    bench.count("files at first sight", watcher.sights)


def kill_first(bench: Bench) -> None:
    """SIGKILL to the batch alone: its workers notice, end and clean up."""
    shutil.rmtree(bench.out, ignore_errors=True)
    batch = start(bench.videos, bench.out, *bench.options())
    until(lambda: batch.workers(), of=batch)
    time.sleep(bench.rng.uniform(0, 2))
    workers = batch.workers()
    batch.signal_first(signal.SIGKILL)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), 60)
    check(not any(os.path.exists(f"/proc/{pid}") for pid in workers), "orphaned workers end by themselves")
    batch.end()
    check_partly(bench.out, bench.oracle)
    bench.resume()


def kill_worker(bench: Bench) -> None:
    """SIGKILL to one worker: its video fails, the others do not; a resume makes it good."""
    shutil.rmtree(bench.out, ignore_errors=True)
    batch = start(bench.videos, bench.out, *bench.options())
    check(until(lambda: batch.workers(), of=batch), "the batch starts working")
    time.sleep(bench.rng.uniform(0, 0.5))
    workers = batch.workers()
    if workers:
        os.kill(bench.rng.choice(workers), signal.SIGKILL)
    ended = batch.end()
    check_text(ended)
    failed = [e for e in manifest.read(bench.out).values() if e.status == manifest.FAILED]
    check(len(failed) <= 1, f"one video fails, not {len(failed)}")
    check(ended.code == (1 if failed else 0), f"exit code {ended.code} with {len(failed)} failures")
    for entry in failed:
        check("killed by signal 9" in entry.reason, entry.reason)
        bench.count("videos that failed")
    check(len(results(bench.out)) == len(bench.oracle) - 2 * len(failed), "all others are there")
    check_partly(bench.out, bench.oracle)
    bench.resume()


def _asked(bench: Bench, sent: signal.Signals, code: int) -> None:
    shutil.rmtree(bench.out, ignore_errors=True)
    batch = start(bench.videos, bench.out, *bench.options())
    until(lambda: (bench.out / manifest.NAME).exists(), of=batch)
    until(lambda: batch.process.poll() is not None, bench.rng.uniform(0, bench.seconds / 2))
    if batch.process.poll() is None:
        if sent == signal.SIGINT:
            batch.signal_all(sent)
        else:
            batch.signal_first(sent)
        ended = batch.end()
        check_text(ended)
        check(ended.code in (code, 0), f"exit code {ended.code}, not {code}: {ended.error}")
        check(ended.code == 0 or ended.error.count("\n") == 1, f"one line: {ended.error}")
        # a loaded machine needs longer than the promised two seconds
        check(ended.seconds < 30, f"{ended.seconds:.1f} s to the end")
        bench.seen["slowest end, ms"] = max(bench.seen.get("slowest end, ms", 0), round(1000 * ended.seconds))
        check(not leftovers(bench.out), f"half-written files are left: {leftovers(bench.out)}")
        check_partly(bench.out, bench.oracle)
    else:
        batch.end()
    bench.resume()


def sigterm(bench: Bench) -> None:
    """SIGTERM: 143, one line, nothing half-written."""
    _asked(bench, signal.SIGTERM, 143)


def ctrl_c(bench: Bench) -> None:
    """Ctrl-C, which a terminal sends to all processes: 130, one line, nothing half-written."""
    _asked(bench, signal.SIGINT, 130)


def stop_and_go(bench: Bench) -> None:
    """SIGSTOP to all for seconds (Ctrl-Z, a laptop that sleeps), then SIGCONT: nothing happened."""
    shutil.rmtree(bench.out, ignore_errors=True)
    batch = start(bench.videos, bench.out, *bench.options())
    for _ in range(2):
        until(lambda: batch.process.poll() is not None, bench.moment() / 2)
        if batch.process.poll() is None:
            batch.signal_all(signal.SIGSTOP)
            time.sleep(bench.rng.uniform(0.5, 3))
            batch.signal_all(signal.SIGCONT)
    ended = batch.end()
    check_text(ended)
    check(ended.code == 0, f"exit code {ended.code}: {ended.error}")
    check_whole(bench.out, bench.oracle)


def full_disk(bench: Bench) -> None:
    """Results go to a disk that fills up, or becomes read-only; then there is room again."""
    shutil.rmtree(bench.out, ignore_errors=True)
    whole = sum(map(len, bench.oracle.values())) // 1024
    place = bench.out.with_name("disk")
    with small_disk(place, max(64, round(whole * bench.rng.uniform(0.05, 0.9)))) as disk:
        out = disk / "out"
        batch = start(bench.videos, out, *bench.options())
        read_only = bench.rng.random() < 0.3
        if read_only:
            until(lambda: batch.process.poll() is not None, bench.moment())
            make_read_only(disk)  # or not, and the disk fills up or the batch comes to its end
        ended = batch.end()
        check_text(ended)
        check(ended.code in ((0, 1) if read_only else (1,)), f"exit code {ended.code} on a full disk: {ended.error}")
        check_partly(out, bench.oracle)
        if not read_only:
            check(not leftovers(out), f"half-written files are left: {leftovers(out)}")
        for entry in manifest.read(out).values():
            check(entry.status != manifest.FAILED or "choose another folder" in entry.reason, entry.reason)
            bench.count("videos that did not fit", entry.status == manifest.FAILED)
        resize(disk, 4 * whole + 4096)
        bench.resume(out)


def file_limit(bench: Bench) -> None:
    """A limit on the size of files, as a quota or an old file system has."""
    shutil.rmtree(bench.out, ignore_errors=True)
    sizes = sorted(map(len, bench.oracle.values()))
    limit = bench.rng.randint(sizes[0], sizes[-1])
    batch = start(
        bench.videos, bench.out, *bench.options(),
        preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    ended = batch.end()
    check_text(ended)
    check_partly(bench.out, bench.oracle)
    check(not leftovers(bench.out), f"half-written files are left: {leftovers(bench.out)}")
    bench.resume()


def corrupt(bench: Bench) -> None:
    """Some of the videos are damaged: they fail or give what is there, the others are as ever."""
    shutil.rmtree(bench.out, ignore_errors=True)
    folder = bench.out.with_name("damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bench.videos, folder)
    paths = sorted(folder.rglob("*.mp4"))
    chosen = bench.rng.sample(paths, len(paths) // 3)
    for path in chosen:
        data = path.read_bytes()
        kind = bench.rng.randrange(4)
        cut = data[: int(len(data) * bench.rng.random())]
        path.write_bytes(
            (cut, zeroed(data, bench.rng.random(), 0.2), flipped(data, 20, bench.rng.randrange(10**6)),
             flipped(data, 400, bench.rng.randrange(10**6)))[kind]
        )  # fmt: skip
    ended = run(folder, bench.out, "--jobs", str(bench.jobs))
    check_text(ended)
    entries = manifest.read(bench.out)
    check(len(entries) == len(paths), f"{len(entries)} lines for {len(paths)} videos")
    failed = [e for e in entries.values() if e.status == manifest.FAILED]
    check(ended.code == (1 if failed else 0), f"exit code {ended.code} with {len(failed)} failures")
    found, names = results(bench.out), {p.relative_to(folder).as_posix() for p in chosen}
    for name, entry in entries.items():
        check(entry.status != manifest.FAILED or (bool(entry.reason) and "\n" not in entry.reason), entry.reason)
        check("Internal error" not in entry.reason, entry.reason)
        if name not in names:
            check(entry.status != manifest.FAILED, f"{name}: {entry.reason}")
            check(all(found.get(o.path) == bench.oracle[o.path] for o in entry.outputs), f"{name} is as ever")
        bench.count(f"damaged: {entry.status}", name in names)


def removed(bench: Bench) -> None:
    """Videos disappear while the batch runs (a disk is pulled out); put back, they are done."""
    shutil.rmtree(bench.out, ignore_errors=True)
    folder = bench.out.with_name("leaving")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bench.videos, folder)
    batch = start(folder, bench.out, *bench.options())
    until(lambda: (bench.out / manifest.NAME).exists(), of=batch)
    until(lambda: batch.process.poll() is not None, bench.moment() / 2)
    gone = bench.rng.sample(sorted(folder.rglob("*.mp4")), 5)
    for path in gone:
        path.rename(path.with_suffix(".gone"))
    ended = batch.end()
    check_text(ended)
    failed = [e for e in manifest.read(bench.out).values() if e.status == manifest.FAILED]
    check(ended.code == (1 if failed else 0), f"exit code {ended.code} with {len(failed)} failures")
    check({e.input for e in failed} <= {p.relative_to(folder).as_posix() for p in gone}, "only what is gone fails")
    check(all("Internal error" not in e.reason for e in failed), str([e.reason for e in failed]))
    check_partly(bench.out, bench.oracle)
    bench.count("videos that were gone", len(failed))
    for path in gone:
        path.with_suffix(".gone").rename(path)
    ended = run(folder, bench.out, *bench.options())
    check(ended.code == 0, f"a resumed batch ends with 0, not {ended.code}: {ended.error}")
    check_whole(bench.out, bench.oracle)


TRIALS: dict[str, Callable[[Bench], None]] = {
    trial.__name__: trial
    for trial in (
        sigkill, kill_first, kill_worker, sigterm, ctrl_c, stop_and_go, full_disk, file_limit, corrupt, removed,
    )
}  # fmt: skip
