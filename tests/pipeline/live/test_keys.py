"""Every key in the real window, through the whole program: a filmed actor, BlazePose, the lifter, files."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from posepipe.pipeline.film import film
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.pipeline.source.actor import ActorScene

DEMO = Path(__file__).parents[3] / "demo" / "webcam.py"
NEEDED = ("Xvfb", "xdotool", "xwd")
SIZE = (1700, 700)


@pytest.fixture
def screen():
    if not all(map(shutil.which, NEEDED)):
        pytest.skip("needs Xvfb, xdotool and xwd (apt-get install xvfb xdotool x11-apps)")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield {**os.environ, "DISPLAY": f":{number}"}
    server.terminate()
    server.wait()


class Program:
    """The demo on a screen, in a folder of its own."""

    def __init__(self, source, screen, folder):
        command = [sys.executable, str(DEMO), str(source), "--view", "window"]
        self.process = subprocess.Popen(
            command, env=screen, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._screen, self.lines = screen, []
        threading.Thread(target=lambda: self.lines.extend(iter(self.process.stderr.readline, "")), daemon=True).start()

    def heard(self, text, times=1):
        """Wait until it has said so, so many times."""
        until = time.monotonic() + 60
        while "".join(self.lines).count(text) < times:
            assert time.monotonic() < until, f"never said '{text}': {self.lines}"
            assert self.process.poll() is None, self.lines
            time.sleep(0.1)

    def key(self, name):
        found = subprocess.run(
            ["xdotool", "search", "--name", "posepipe -"], env=self._screen, capture_output=True, text=True, check=True
        )
        command = ["xdotool", "key", "--window", found.stdout.split()[-1], name]
        subprocess.run(command, env=self._screen, check=True, stderr=subprocess.DEVNULL)

    def picture(self):
        dump = subprocess.run(["xwd", "-silent", "-root"], env=self._screen, stdout=subprocess.PIPE, check=True).stdout
        return np.frombuffer(dump[-SIZE[0] * SIZE[1] * 3 :], np.uint8).astype(int)


@pytest.mark.slow
def test_every_key_does_what_it_says(screen, tmp_path):
    path = tmp_path / "actor.mp4"
    film((ActorScene("wave", seconds=90, fps=2, width=320, height=180, fov_deg=55, yaw_deg=20),), path)
    program = Program(path, screen, tmp_path)
    try:
        program.heard("processed")
        program.key("s")
        program.heard(".png")
        program.key("plus")
        time.sleep(3)
        program.key("r")
        program.heard("recording to")
        time.sleep(4)
        program.key("plus")
        program.heard("stop recording (r)")
        program.key("r")
        program.heard(".h5", 2)
        program.key("space")
        time.sleep(1.5)
        still = program.picture()
        changed = []
        for name in ("h", "v"):  # nothing else moves while it is paused, but the age
            program.key(name)
            time.sleep(1.0)
            changed.append((np.abs(program.picture() - still) > 20).mean())
        program.key("space")
        time.sleep(1.0)
        program.key("l")
        time.sleep(5.0)
        program.key("q")
        out, _ = program.process.communicate(timeout=30)
    finally:
        program.process.kill()
    assert program.process.returncode == 0
    summary = json.loads(out)
    assert summary["lifter"] == "mdn:means"
    assert len(list((tmp_path / "out").glob("*.png"))) == 1
    h5, video = sorted(Path(tmp_path / f) for f in summary["files"])
    assert read_h5(h5).header["hypotheses"] == 50  # the next on the ladder after 20
    assert video.stat().st_size > 1000
    assert changed[0] > 0.001  # the fan is gone
    assert changed[1] > changed[0]  # and the scene turned
    counts = summary["counts"]
    assert counts["captured"] == counts["processed"] + sum(counts["dropped"].values())
