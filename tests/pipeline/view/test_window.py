"""The OpenCV window on a virtual screen (Xvfb), and what happens where there is no screen."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from posepipe.errors import MissingDependencyError, UsageError
from posepipe.pipeline.view.choose import choose_viewer
from posepipe.pipeline.view.display import display_problem
from posepipe.pipeline.view.none import NoViewer

SCRIPT = """
import sys, time
import numpy as np
from posepipe.camera import from_fov
from posepipe.pipeline.render.layout import Caption
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.view.protocol import Status, ViewFrame
from posepipe.pipeline.view.window import WindowViewer
from posepipe.types import Frame

viewer = WindowViewer()
viewer.open("posepipe - test")
image = np.zeros((360, 640, 3), np.uint8)
image[:, :, 1] = 255
typed = ""
until = time.monotonic() + 40
index = 0
while "q" not in typed and time.monotonic() < until:
    status = Status(25.0, 61.0, 10, 2, trouble="the camera is gone" if "t" in typed else "")
    viewer.show(ViewFrame(Frame(index, index / 25, image), (), Caption(25, "mdn", 20, "blazepose", "x", live=True),
                          ViewSettings(), from_fov(640, 360), status))
    typed += "".join(viewer.keys())
    index += 1
    print("shown", repr(typed), flush=True)
    time.sleep(0.02)
viewer.close()
viewer.close()
print("typed", repr(typed), flush=True)
"""


@pytest.fixture(scope="module")
def screen():
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs Xvfb and xdotool (apt-get install xvfb xdotool)")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1700x800x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


def _window(screen):
    found = subprocess.run(
        ["xdotool", "search", "--name", "posepipe - test"],
        env={**os.environ, "DISPLAY": screen}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.split()[-1] if found.stdout.split() else None


def _colour(screen, x, y):
    """The colour of a pixel of the screen."""
    dump = subprocess.run(
        ["xwd", "-silent", "-root"], env={**os.environ, "DISPLAY": screen}, capture_output=True, check=True
    ).stdout
    header = np.frombuffer(dump[:100], ">u4")
    start, bits, line = int(header[0] + header[19] * 12), int(header[11]), int(header[12])
    at = start + y * line + x * bits // 8
    return tuple(dump[at : at + 3][::-1])


def test_window_shows_the_picture_and_hears_keys(screen):
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "DISPLAY": screen}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline().startswith("shown")
        deadline = time.monotonic() + 20
        while (window := _window(screen)) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        for _ in range(10):
            child.stdout.readline()
        if shutil.which("xwd"):
            assert _colour(screen, 300, 200) == (0, 255, 0)
        for key, typed in ("h", "h"), ("plus", "h+"), ("space", "h+ "), ("q", None):
            subprocess.run(
                ["xdotool", "key", "--window", window, key],
                env={**os.environ, "DISPLAY": screen}, check=True, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            # OpenCV remembers one key at a time, so the next one waits until this one was heard.
            while typed is not None and (line := child.stdout.readline()) and line != f"shown {typed!r}\n":
                pass
        rest = child.communicate(timeout=40)[0]
    finally:
        child.kill()
    assert rest.splitlines()[-1] == "typed 'h+ q'"
    assert child.returncode == 0


def test_without_a_screen_there_is_a_sentence_and_not_an_abort(monkeypatch, screen):
    assert display_problem({"DISPLAY": screen}, "linux") == ""
    assert "not set" in display_problem({}, "linux")
    assert "no X server" in display_problem({"DISPLAY": ":4711"}, "linux")
    assert display_problem({}, "darwin") == ""
    monkeypatch.setenv("DISPLAY", ":4711")
    viewer, _ = choose_viewer("window")
    with pytest.raises(MissingDependencyError, match="--view none"):
        viewer.open("x")
    viewer.close()


def test_auto_is_the_window_only_where_there_is_a_screen(monkeypatch, screen):
    monkeypatch.setenv("DISPLAY", screen)
    assert choose_viewer("auto")[0].name == "window"
    monkeypatch.delenv("DISPLAY")
    viewer, line = choose_viewer("auto")
    assert isinstance(viewer, NoViewer)
    assert "DISPLAY is not set" in line
    assert choose_viewer("none")[1] == ""
    with pytest.raises(UsageError):
        choose_viewer("television")
