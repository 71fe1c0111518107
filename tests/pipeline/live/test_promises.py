"""What docs/live.md promises, with its numbers, in short; benchmarks/live_promises.py has the long versions."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posepipe.camera import from_fov
from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.lifters.catalogue import entry
from posepipe.pipeline.live.channel import Channel, Closed
from posepipe.pipeline.live.controls import Choices, Controls, press
from posepipe.pipeline.live.session import run_live
from posepipe.pipeline.people import Lifting, PeopleState, people_in
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.pipeline.source import stream
from posepipe.pipeline.source.live import Gate
from posepipe.pipeline.source.stream import StreamSource
from posepipe.pipeline.source.webcam import Webcam
from posepipe.trt_build.runners.ort import OrtRunner
from posepipe.types import Frame, Pose2D

BREAKING = Path(__file__).with_name("breaking_run.py")


def test_r1_age_and_rate_behind_a_detector_three_times_too_slow(fakes):
    """30 frames/s, 100 ms each: what is shown is 133 ms old and a little. A second try where the machine was busy."""
    for last in (False, True):
        viewer = fakes.Viewer()
        summary = run_live(
            fakes.Source(120, 30.0),
            viewer,
            RunSettings(smooth=False),
            make_detector=fakes.Detector(lambda i: 0.1),
            make_lifter=fakes.Lifter,
        )
        counts = summary.counts
        assert counts.captured == 120 == counts.processed + counts.lost
        assert set(counts.dropped) <= {"late", "stopped"}
        indices = [f.frame.index for f in viewer.seen if not f.repeated]
        assert indices == sorted(set(indices))
        age = next(s for s in summary.stages if s.name == "age")
        if not last and (age.p99 > 250 or counts.processed < 38):
            continue
        fakes.in_time(age.p99, 250, 1500)
        fakes.in_time(40 / max(counts.processed, 1), 1.05, 3)  # 10 a second
        assert counts.processed <= 42
        return


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 3))
def test_r1_a_queue_of_the_newest_never_holds_more_than_it_may_and_loses_only_the_oldest(steps, depth):
    channel, put, taken, gone = Channel(depth, newest=True), 0, [], []
    for is_put in steps:
        if is_put:
            old = channel.put(put)
            gone += [] if old is None else [old]
            put += 1
        elif (item := channel.get(0)) is not None:
            taken.append(item)
        assert len(channel) <= depth
    left = channel.abandon()
    assert sorted(taken + gone + left) == list(range(put))
    assert taken == sorted(taken)
    assert gone == sorted(gone)
    with pytest.raises(Closed):
        channel.put(0)


@pytest.mark.parametrize(
    ("place", "at", "how"),
    [
        ("source", 20, "newest"),
        ("detect", 0, "every"),
        ("lift", 39, "every"),
        ("aggregate", 20, "newest"),
        ("render", 0, "newest"),
        ("sink", 39, "every"),
    ],
)
def test_r4_the_process_ends_with_the_traceback_and_finished_files_stay(fakes, tmp_path, place, at, how, start):
    """Every place at every frame is in test_session; here is what the system sees of it."""
    process = start(
        [sys.executable, str(BREAKING), str(tmp_path), place, str(at), how],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, err = process.communicate(timeout=60)
    ended = time.monotonic()
    assert process.returncode == 1, err
    fakes.in_time(ended - float((tmp_path / "moment").read_text()), 3.0, 15.0)
    lines = err.strip().splitlines()
    assert lines[-1] == f"RuntimeError: broken: {place}"
    assert any("in broken" in line for line in lines)
    assert len(read_h5(tmp_path / "finished.h5").pts) == 5
    left = {p.name for p in tmp_path.iterdir()} - {"finished.h5", "moment"}
    assert left <= ({"broken.h5"} if how == "newest" else set())
    for name in left:
        read_h5(tmp_path / name)


def test_r5_a_second_ctrl_c_does_not_wait_for_the_disk(fakes, tmp_path, start):
    process = start(
        [sys.executable, str(BREAKING), str(tmp_path), "disk", "0", "newest"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n"
    deadline = time.monotonic() + 30
    while not any(p.name.startswith(".broken") for p in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)  # sixteen frames wait for the disk by now: eight seconds
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None  # finishing what is waiting
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    process.communicate(timeout=30)
    fakes.in_time(time.monotonic() - sent, 1.0, 5.0)
    assert process.returncode in (130, -signal.SIGINT)
    assert len(read_h5(tmp_path / "finished.h5").pts) == 5
    assert not (tmp_path / "broken.h5").exists()


def test_r9_attempts_come_after_1_2_4_to_30_seconds_with_jitter(monkeypatch):
    """A host that answers all along but has no stream: nothing but the back-off decides."""
    source = StreamSource.__new__(StreamSource)
    source._url, source._reconnects, source.trouble = "rtsp://user:hunter2@camera/x", 0, ""
    source.info = fakes_info()
    clock, attempts = [0.0], []

    class Stepping(Gate):
        def wait(self, seconds):
            clock[0] += seconds
            return len(attempts) >= 9

    def refused():
        attempts.append(clock[0])
        raise OSError("refused")

    monkeypatch.setattr(stream.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(stream, "reachable", lambda url: True)
    monkeypatch.setattr(source, "_connect", refused)
    delays = []
    for _ in range(2):
        clock[0] = 0.0
        attempts.clear()
        assert not source._reconnect(Stepping())
        delays.append(np.diff([0.0, *attempts]))
    wanted = np.array([1, 2, 4, 8, 16, 30, 30, 30, 30])
    for found in delays:
        assert (found <= wanted + 1e-6).all()
        assert (found >= 0.84 * wanted).all()
    assert not np.allclose(*delays)
    assert "hunter2" not in source.trouble


def fakes_info():
    from posepipe.pipeline.source.live import SourceInfo

    return SourceInfo("rtsp://camera/x", "x", 64, 48, 25.0)


class Unplugged:
    """OpenCV's capture of a camera that is pulled out after `good` pictures; it fails at once, as V4L2 does."""

    def __init__(self, good):
        self.good, self.last = good, 0.0

    def isOpened(self):
        return True

    def read(self):
        if self.good <= 0:
            return False, None
        time.sleep(0.01)
        self.good -= 1
        self.last = time.monotonic()
        return True, np.zeros((48, 64, 3), np.uint8)

    def get(self, option):
        return 30.0

    def release(self):
        pass


def test_r10_an_unplugged_camera_is_said_within_two_seconds_and_costs_no_time_while_it_is_away(fakes):
    first, opened, said, away = Unplugged(20), [], [], {}

    def opener(device):
        opened.append(time.monotonic())
        return first if len(opened) == 1 else Unplugged(0 if len(opened) < 5 else 1000)

    def say(line):
        said.append((time.monotonic(), line))
        if "unplugged" in line:
            away["cpu"], away["at"] = time.process_time(), time.monotonic()
        if "is back" in line:
            away["cpu"] = (time.process_time() - away["cpu"]) / (time.monotonic() - away["at"])

    summary = run_live(
        Webcam("0", opener),
        fakes.Viewer(),
        RunSettings(max_frames=40, smooth=False),
        say=say,
        make_detector=fakes.Detector(),
        make_lifter=fakes.Lifter,
    )
    assert summary.origin.reconnects == 1
    fakes.in_time(next(at for at, line in said if "unplugged" in line) - first.last, 2.0, 5.0)
    assert (np.diff(opened[1:]) > 0.9).all()  # no busy loop
    assert away["cpu"] < 0.05


def test_r11_nine_people_in_any_order_and_one_who_leaves_for_less_than_half_a_second(fakes):
    """R14 as well: everybody keeps the id and the poses, and nobody is shown who was not found."""
    pytest.importorskip("norfair")
    camera, body = from_fov(1280, 720), fakes.landmarks(0).keypoints
    body = (body - body.mean(0)) * 60 / body.std()
    dice = np.random.default_rng(3)

    def person(number):
        place = np.array([70 + 140 * number, 360.0])
        return Pose2D((body + place).astype(np.float32), np.full(33, 0.9, np.float32), "blazepose33")

    def film(order, gone):
        state, seen = PeopleState(), []
        for i in range(30):
            # The first frame decides who is who; it comes in one order.
            here = [n for n in (range(9) if i == 0 else order(i)) if not (n == 4 and i in gone)]
            state, tracks = people_in(state, Frame(i, i / 30, EMPTY), [person(n) for n in here], how)
            assert len(tracks) == len(here)
            by_place = {round((t.pose2d.keypoints[0, 0] - 70) / 140): t for t in tracks}
            assert sorted(by_place) == sorted(here)
            seen.append(by_place)
        return seen

    with OrtRunner(Path(entry("mdn").graph_path)) as runner:
        how = Lifting(runner, BLAZEPOSE33_H36M17, camera, "film", 0, 5, several=True)
        plain = film(lambda i: range(9), range(0))
        mixed = film(lambda i: dice.permutation(9), range(10, 22))  # away for 0.4 s
    assert len({t.id for t in plain[0].values()}) == 9
    for i, (a, b) in enumerate(zip(plain, mixed, strict=True)):
        for place, track in b.items():
            assert track.id == a[place].id, (i, place)
            np.testing.assert_allclose(track.hypotheses.joints, a[place].hypotheses.joints, atol=1e-5)
    assert [4 in frame for frame in mixed] == [i not in range(10, 22) for i in range(30)]


EMPTY = np.zeros((2, 2, 3), np.uint8)


def test_keys_before_the_first_picture_change_no_numbers():
    controls = Controls("mdn")
    for key in "+-":
        after = press(controls, key, Choices(("mdn",), 0, busy=True))
        assert after.hypotheses is None
        assert after.note == "still loading"


def test_a_viewer_of_200_ms_holds_up_nothing(fakes):
    viewer = fakes.Viewer(seconds=0.2)
    summary = run_live(
        fakes.Source(90, 30.0),
        viewer,
        RunSettings(smooth=False),
        make_detector=fakes.Detector(),
        make_lifter=fakes.Lifter,
    )
    counts = summary.counts
    assert counts.captured == 90 == counts.processed + counts.lost
    fakes.in_time(90 - counts.processed, 5, 45)  # nothing is dropped for the viewer's sake
    fakes.in_time(summary.seconds, 3.5, 6.0)  # at the viewer's speed it would be 18 s
    assert counts.shown <= 17
    assert counts.processed == counts.shown + counts.unshown
