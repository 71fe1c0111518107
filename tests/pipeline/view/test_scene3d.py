"""The 3D scene of the viewers against known geometry, and the Open3D window drawn without a screen and under Xvfb."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from view_frames import CAMERA, STANDING, frame_of

from posepipe.camera import project
from posepipe.errors import MissingDependencyError
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.view.choose import choose_viewer
from posepipe.pipeline.view.scene import bones_of, frustum_lines, number_lines, scene_of

needs_open3d = pytest.mark.skipif(find_spec("open3d") is None, reason="needs open3d")


def scene(frame):
    return scene_of(frame, update_ground(GroundState(), frame.tracks, frame.view))


def test_people_stand_before_the_camera_as_far_away_as_they_are():
    seen = scene(frame_of(0, people=2))
    for person, root in zip(seen.people, ((-0.6, 0.1, 4.0), (0.6, 0.1, 4.0)), strict=True):
        # From the camera that the scene draws, everybody projects to where the picture has them.
        pixels = project(person.joints - seen.camera, CAMERA)
        assert np.allclose(pixels, project(STANDING + np.array(root), CAMERA), atol=1e-3)
        assert person.fan.shape == (20, 17, 3)
        assert (np.diff(person.radii) >= 0).all()  # the frame's uncertainty grows from joint to joint
        assert person.radii[16] > 2 * person.radii[0]
        assert abs(person.joints[[3, 6], 1].max()) < 0.1  # ankles at the floor


def test_the_frustum_goes_through_the_corners_of_the_picture():
    at = np.array([0.0, -1.4, 0.0])
    lines = frustum_lines(at, CAMERA, frame_of(0).view)
    corners = project(lines[:4, 1] - at, CAMERA)
    assert np.allclose(corners, [(0, 0), (640, 0), (640, 360), (0, 360)])


def test_unknown_joints_take_their_bones_with_them():
    joints = STANDING.astype(float).copy()
    joints[2] = np.nan  # the right knee: thigh and shin go
    assert (~bones_of(joints)[1]).sum() == 2


def test_numbers_read_like_a_seven_segment_display():
    right = np.array([1.0, 0.0, 0.0])
    assert [len(number_lines(n, np.zeros(3), right)) for n in range(10)] == [6, 2, 5, 5, 4, 5, 6, 3, 7, 6]
    wide = number_lines(180, np.zeros(3), right, size=1.0)
    assert wide[..., 0].max() == pytest.approx(2.0)
    assert (wide[..., 1] <= 0).all()  # above the point, as y is down


@needs_open3d
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL")
def test_open3d_draws_people_and_takes_them_away_again():
    script = """
import numpy as np
from view_frames import frame_of
from posepipe.pipeline.view.open3d_scene import Open3DViewer
viewer = Open3DViewer(offscreen=True)
viewer.open("x")
seen = []
for people in (0, 2, 0):
    for index in range(3):
        viewer.show(frame_of(index, people=people))
        assert viewer.keys() == ()
    picture = viewer.picture()
    seen.append(int((picture.max(2) > 150).sum()))
viewer.close()
viewer.close()
print(seen)
assert seen[1] > 5000 and seen[0] < 100 and seen[2] < 100, seen
"""
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"} | {"PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    if "create_window" in done.stderr or "could not open" in done.stderr:
        pytest.skip("no EGL here")
    assert done.returncode == 0, done.stderr


@needs_open3d
def test_open3d_without_a_screen_is_a_sentence(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    viewer, _ = choose_viewer("open3d")
    if sys.platform.startswith("linux"):
        with pytest.raises(MissingDependencyError, match="--view rerun"):
            viewer.open("x")
    viewer.close()


@pytest.mark.skipif(find_spec("open3d") is not None, reason="open3d is installed")
def test_without_open3d_the_sentence_names_what_installs_it():
    with pytest.raises(MissingDependencyError, match=r"posepipe\[open3d\]"):
        choose_viewer("open3d")


@needs_open3d
@pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")
def test_open3d_window_hears_keys():
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1300x820x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        screen = f":{pipe.readline().strip()}"
    script = """
import time
from view_frames import frame_of
from posepipe.pipeline.view.open3d_scene import Open3DViewer
viewer = Open3DViewer()
viewer.open("posepipe - test")
typed, until, index = "", time.monotonic() + 120, 0
while "q" not in typed and time.monotonic() < until:
    viewer.show(frame_of(index, people=1))
    typed += "".join(viewer.keys())
    index += 1
    print("shown", repr(typed), flush=True)
viewer.close()
"""
    environment = {**os.environ, "DISPLAY": screen, "PYTHONPATH": os.path.dirname(__file__)}
    child = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    lines = []

    def line():
        lines.append(child.stdout.readline())
        return lines[-1]

    try:
        while (text := line()) and not text.startswith("shown"):
            pass
        search = ["xdotool", "search", "--name", "posepipe - test"]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = subprocess.run(search, env=environment, capture_output=True, text=True, check=False).stdout.split()
            if found:
                break
            time.sleep(0.2)
        for key, typed in ("h", "h"), ("minus", "h-"), ("space", "h- "), ("q", "h- q"):
            subprocess.run(["xdotool", "key", "--window", found[-1], key], env=environment, check=True)
            while (text := line()) and text != f"shown {typed!r}\n":
                pass
        child.wait(20)
    finally:
        child.kill()
        server.terminate()
        server.wait()
    assert "shown 'h- q'\n" in lines
    assert child.returncode == 0


@needs_open3d
@pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool") and shutil.which("xwd")),
    reason="needs Xvfb, xdotool and xwd (apt-get install xvfb xdotool x11-apps)",
)
def test_open3d_is_turned_with_the_mouse_while_frames_keep_coming():
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1300x820x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        screen = f":{pipe.readline().strip()}"
    script = """
import time
from view_frames import frame_of
from posepipe.pipeline.view.open3d_scene import Open3DViewer
viewer = Open3DViewer()
viewer.open("posepipe - test")
until = time.monotonic() + 60
while time.monotonic() < until:
    viewer.show(frame_of(0, people=1))
    viewer.keys()
    print("shown", flush=True)
"""
    environment = {**os.environ, "DISPLAY": screen, "PYTHONPATH": os.path.dirname(__file__)}
    child = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)

    def shot():
        for _ in range(6):
            while (text := child.stdout.readline()) and text != "shown\n":
                pass
        dump = subprocess.run(["xwd", "-silent", "-root"], env=environment, stdout=subprocess.PIPE, check=True).stdout
        return np.frombuffer(dump[-1300 * 820 * 4 :], np.uint8)

    def mouse(*words):
        subprocess.run(["xdotool", *map(str, words)], env=environment, check=True)

    try:
        before, again = shot(), shot()
        mouse("mousemove", 640, 400, "mousedown", 1)
        for x in range(660, 800, 20):
            mouse("mousemove", x, 390)
            shot()
        mouse("mouseup", 1)
        after = shot()
    finally:
        child.kill()
        child.wait()
        server.terminate()
        server.wait()
    assert (before != again).mean() < 0.001  # the same frame from the same place
    assert (before != after).mean() > 0.01
