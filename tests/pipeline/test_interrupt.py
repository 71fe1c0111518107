"""Ctrl-C and SIGTERM in the middle of a run: the right exit code, one line, nothing left behind."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from posepipe.pipeline.sink.video import VideoWriter


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    with VideoWriter(path, 160, 120, 30) as writer:
        for i in range(3000):
            writer.write(np.full((120, 160, 3), i % 200, np.uint8), i / 30)
    return path


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_cleanly(long_video, tmp_path, sent, code, start):
    command = [sys.executable, "-m", "posepipe", "run", str(long_video), "-o", str(tmp_path)]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob(".*overlay.mp4.tmp*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(sent)
    _, error = process.communicate(timeout=30)
    assert process.returncode == code, error
    assert error.count("\n") == 1
    assert "nothing half-written" in error
    assert list(tmp_path.iterdir()) == []


def test_a_second_ctrl_c_while_python_ends_changes_nothing():
    script = """
import atexit, os, signal, sys
from posepipe import __main__, doctor

def late():
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # the only one that Python's own end leaves in place
    os.kill(os.getpid(), signal.SIGINT)

atexit.register(late)
doctor.main = lambda verb, argv: os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["posepipe", "doctor"]
sys.exit(__main__.command())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == "posepipe doctor: interrupted; nothing half-written was kept.\n"
