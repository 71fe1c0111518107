"""A short course of the faults that `python -m tests.faults` goes through for hours."""

import random
import signal

import pytest

from posepipe.pipeline import manifest
from tests.faults.batches import (
    Watcher,
    check_partly,
    check_whole,
    leftovers,
    make_videos,
    results,
    run,
    start,
    until,
)
from tests.faults.disks import why_not
from tests.faults.trials import Bench, full_disk, sigkill


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    make_videos(folder / "videos", 4, frames=4, size=96)
    ended = run(folder / "videos", folder / "oracle", "--jobs", "2")
    assert ended.code == 0, ended.error
    oracle = results(folder / "oracle")
    assert len(oracle) == 8
    return Bench(folder / "videos", oracle, ended.seconds, folder / "out", random.Random(0))


def test_killed_again_and_again_then_resumed_gives_the_same_bytes(bench):
    """And whoever watches the folder never sees a result that is not complete."""
    while bench.seen.get("SIGKILLs", 0) < 3:
        sigkill(bench)
    assert bench.seen["files at first sight"] >= len(bench.oracle)


def test_a_second_ctrl_c_ends_at_once(bench, tmp_path):
    batch = start(bench.videos, tmp_path / "out", "--jobs", "2")
    assert until(batch.workers, of=batch)
    batch.signal_all(signal.SIGINT)
    batch.signal_all(signal.SIGINT)
    ended = batch.end(60)
    assert ended.code == 130
    assert "Traceback" not in ended.error
    check_partly(tmp_path / "out", bench.oracle)


def test_a_disk_that_is_full_and_has_room_again(bench, tmp_path):
    bench.out = tmp_path / "out"
    if reason := why_not(tmp_path):
        pytest.skip(f"no tmpfs can be mounted here ({reason}); as root: python -m tests.faults --only full_disk")
    full_disk(bench)


def test_the_checks_can_fail(bench, tmp_path):
    """A result with one byte changed, a lost one, a half-written one and a late one are seen."""
    out = tmp_path / "out"
    for name, data in bench.oracle.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    check_whole(out, bench.oracle)
    first = out / min(bench.oracle)
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(AssertionError, match="not what an uninterrupted run gives"):
        check_partly(out, bench.oracle)
    first.unlink()
    with pytest.raises(AssertionError, match="lost"):
        check_whole(out, bench.oracle)
    (out / ".x.h5.tmp-1").touch()
    assert leftovers(out) == [".x.h5.tmp-1"]
    assert manifest.read(out) == {}
    with Watcher(out, bench.oracle) as watcher:
        first.write_bytes(b"half of it")
        assert until(lambda: watcher.wrong, 30)
