"""What `posepipe run` promises when a part of it fails, when it is interrupted, and when it is asked again."""

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from posepipe.pipeline import batch_worker, lift, manifest, people, run
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.run import run_file
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.file import VideoFile
from posepipe.skeleton import BLAZEPOSE_33
from posepipe.types import Pose2D

FRAMES = 9


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, 160, 120, 15) as writer:
        for i in range(FRAMES):
            writer.write(np.full((120, 160, 3), 80 + i, np.uint8), i / 15)
    return path


def standing(index):
    """Somebody, a little further to the right in every frame."""
    points = np.stack([np.linspace(50, 90, 33) + index, np.linspace(20, 100, 33)], axis=1)
    points[::2, 0] += 15
    return Pose2D(points.astype(np.float32), np.full(33, 0.9, np.float32), BLAZEPOSE_33.name)


class Detector:
    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def detect(self, frame):
        time.sleep(self.seconds)
        return (standing(frame.index),)


@pytest.fixture
def quick(monkeypatch):
    """A detector that costs nothing, in the place of the real one."""

    @contextmanager
    def open_detector(settings, threads=None):
        yield Detector()

    monkeypatch.setattr(run, "open_detector", open_detector)


# stage -> the object and the name of the function that does its work, once a frame
PLACES = {
    "source": (VideoFile, "_frame"),
    "detect": (Detector, "detect"),
    "lift": (people, "lift"),
    "aggregate": (lift, "aggregate"),
    "render": (run, "compose"),
    "sink": (run, "write_result"),
}


def _in_time(seconds, promised, bound):
    """The promise is for a machine that has time to run this; where others take it, only the wider bound is asked."""
    busy = os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)
    assert seconds <= (bound if busy else promised)


def _break(monkeypatch, place, at):
    """Let a stage fail at its frame number `at`; the list gets the moment."""
    holder, name = PLACES[place]
    honest, calls, failed = getattr(holder, name), [0], []

    def breaking(*given, **more):
        calls[0] += 1
        if calls[0] == at + 1:
            failed.append(time.monotonic())
            raise RuntimeError(f"{place} broke")
        return honest(*given, **more)

    monkeypatch.setattr(holder, name, breaking)
    return failed


@pytest.mark.parametrize("at", [0, FRAMES // 2, FRAMES - 1])
@pytest.mark.parametrize("place", PLACES)
def test_a_failing_stage_ends_the_run_with_its_own_traceback(clip, quick, monkeypatch, tmp_path, place, at):
    failed, threads = _break(monkeypatch, place, at), threading.active_count()
    (tmp_path / "clip.h5").write_bytes(b"of an earlier run")
    with pytest.raises(RuntimeError, match=f"{place} broke") as caught:
        run_file(clip, tmp_path, RunSettings())
    _in_time(time.monotonic() - failed[0], 3.0, 30.0)
    assert "breaking" in [f.name for f in traceback.extract_tb(caught.value.__traceback__)]
    assert threading.active_count() == threads
    assert [p.name for p in tmp_path.iterdir()] == ["clip.h5"]
    assert (tmp_path / "clip.h5").read_bytes() == b"of an earlier run"


def test_in_a_batch_a_failing_stage_fails_its_video_and_the_worker_goes_on(clip, quick, monkeypatch, tmp_path):
    item = WorkItem("clip.mp4", clip, tmp_path, clip.stat().st_size)
    entries = []
    for place in (None, *PLACES, None):
        with monkeypatch.context() as patch:
            if place:
                _break(patch, place, FRAMES // 2)
            made = batch_worker.work_on(item, tmp_path, RunSettings(), "s", 1, lambda progress: None)
        entries.append(made)
        if place:
            assert made.status == manifest.FAILED
            assert f"{place} broke" in made.reason
            assert "--debug" in made.reason
        else:
            assert made.status == manifest.OK, made.reason
        assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.h5", "clip.overlay.mp4"]  # of the first time
    assert entries[0].outputs == entries[-1].outputs


def test_a_slow_detector_loses_no_frame(tmp_path, monkeypatch):
    """300 frames, a detector slower than the decoder: 300 rows, in order, each with its time."""
    path = tmp_path / "long.mp4"
    with VideoWriter(path, 160, 120, 30) as writer:
        for i in range(300):
            writer.write(np.full((120, 160, 3), i % 200, np.uint8), i / 30)

    @contextmanager
    def open_detector(settings, threads=None):
        yield Detector(seconds=0.005)

    monkeypatch.setattr(run, "open_detector", open_detector)
    run_file(path, tmp_path, RunSettings(overlay=False))
    recording = read_h5(tmp_path / "long.h5")
    np.testing.assert_allclose(recording.pts, np.arange(300) / 30, atol=1e-4)
    assert recording.tracks[0].frame.tolist() == list(range(300))


def test_ten_runs_give_the_same_bytes(clip, quick, tmp_path):
    digests = set()
    for i in range(10):
        run_file(clip, tmp_path / str(i), RunSettings(seed=3))
        digests.add(tuple(p.read_bytes() for p in sorted((tmp_path / str(i)).iterdir())))
    assert len(digests) == 1
    run_file(clip, tmp_path / "other", RunSettings(seed=4, overlay=False))
    assert (tmp_path / "other" / "clip.h5").read_bytes() not in next(iter(digests))


def test_a_second_ctrl_c_does_not_wait_for_the_first(tmp_path, start):
    path = tmp_path / "long.mp4"
    with VideoWriter(path, 160, 120, 30) as writer:
        for i in range(2000):
            writer.write(np.full((120, 160, 3), i % 200, np.uint8), i / 30)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "posepipe", "run", str(path), "-o", str(out)]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(out.glob(".*overlay.mp4.tmp*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)  # two at once would be one
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    _in_time(time.monotonic() - began, 2.0, 30.0)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert not [p for p in out.iterdir() if not p.name.startswith(".")]
