"""Webcams, with a capture that behaves as OpenCV's does: no device, a busy one, one that is unplugged."""

import time

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.errors import InputError
from posepipe.pipeline.live.session import run_live
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source import webcam
from posepipe.pipeline.source.live import Gate
from posepipe.pipeline.source.webcam import Webcam
from posepipe.pipeline.view.none import NoViewer


class Capture:
    """Gives `good` pictures of one blue channel, then fails, as when the plug is pulled."""

    def __init__(self, good, opened=True, size=(64, 48)):
        self.good, self.opened, self.size = good, opened, size
        self.released = False

    def isOpened(self):
        return self.opened

    def read(self):
        if self.good <= 0:
            return False, None
        time.sleep(0.02)
        self.good -= 1
        picture = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        picture[..., 0] = 200  # OpenCV's order is BGR
        return True, picture

    def get(self, option):
        return 25.0

    def release(self):
        self.released = True


def _captures(*captures):
    """An opener that hands them out one after the other."""
    left = list(captures)
    return lambda device: left.pop(0)


def _take(source, count, gate=None):
    seen = []
    for captured in source.frames(gate or Gate()):
        seen.append(captured)
        if len(seen) == count:
            break
    return seen


def test_frames_are_rgb_in_order_and_on_our_clock():
    source = Webcam("0", _captures(Capture(10)))
    assert (source.info.width, source.info.height, source.info.fps) == (64, 48, 25.0)
    seen = _take(source, 5)
    assert [c.frame.index for c in seen] == [0, 1, 2, 3, 4]
    assert all((c.frame.image == (0, 0, 200)).all() for c in seen)
    assert (np.diff([c.frame.pts for c in seen]) > 0).all()
    assert all(abs(time.monotonic() - c.at) < 5 for c in seen)


def test_no_camera_is_one_sentence_that_says_what_to_do(capsys):
    assert main(["run", "/dev/video97", "--view", "none"]) == 1
    error = capsys.readouterr().err
    assert "/dev/video97 does not exist" in error
    assert "Traceback" not in error


def test_busy_camera_and_one_without_permission(monkeypatch, tmp_path):
    device = tmp_path / "video0"
    device.write_bytes(b"")
    with pytest.raises(InputError, match="another program"):
        Webcam(str(device), _captures(Capture(0)), busy_patience=0)
    with pytest.raises(InputError, match="another program"):
        Webcam(str(device), _captures(Capture(0, opened=False)), busy_patience=0)
    monkeypatch.setattr(webcam.os, "access", lambda *a: False)
    with pytest.raises(InputError, match="usermod -aG video"):
        Webcam(str(device), _captures(Capture(0, opened=False)))


def test_a_busy_camera_is_said_at_once_and_tried_until_it_is_free(tmp_path):
    device, said = tmp_path / "video0", []
    device.write_bytes(b"")
    start, busy = time.monotonic(), time.process_time()
    taken = Capture(0)
    source = Webcam(
        str(device),
        _captures(taken, Capture(0, opened=False), Capture(10)),
        say=lambda line: said.append((time.monotonic() - start, line)),
    )
    assert len(_take(source, 3)) == 3
    assert len(said) == 1
    assert said[0][0] < 1.0
    assert "another program" in said[0][1]
    assert taken.released
    assert time.monotonic() - start >= 1.9
    assert time.process_time() - busy < 0.3


def test_unplugged_and_plugged_in_again(fakes):
    """R10: said at once, tried again every second without burning time, and the run goes on."""
    first, dead, second = Capture(6), Capture(0, opened=False), Capture(2000, size=(32, 24))
    source, said = Webcam("0", _captures(first, dead, second)), []
    start, busy = time.monotonic(), time.process_time()
    summary = run_live(
        source,
        fakes.Viewer(),
        RunSettings(max_frames=12, smooth=False),
        say=lambda line: said.append((time.monotonic() - start, line)),
        make_detector=fakes.Detector(lambda i: 0.001),
        make_lifter=fakes.Lifter,
    )
    assert summary.origin.reconnects == 1
    assert summary.counts.processed == 12
    assert summary.counts.captured == summary.counts.processed + summary.counts.lost
    when = next(t for t, line in said if "unplugged" in line)
    assert when < 5
    assert any("is back" in line for _, line in said)
    assert first.released
    assert dead.released
    assert time.monotonic() - start > 1.5  # it did wait between the attempts
    assert time.process_time() - busy < 1.5


def test_a_camera_that_stays_away_ends_the_run_with_a_sentence(fakes):
    def opener(device, first=[True]):  # noqa: B006 - the state of the opener
        return Capture(3 if first and first.pop() else 0)

    source = Webcam("0", opener, patience=1.5)
    with pytest.raises(InputError, match="no picture for"):
        run_live(
            source,
            NoViewer(),
            RunSettings(smooth=False),
            make_detector=fakes.Detector(),
            make_lifter=fakes.Lifter,
        )
