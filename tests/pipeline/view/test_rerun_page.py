"""Rerun's page in a real browser: it draws, it can be turned with the mouse, and it talks to nobody outside."""

import time
from importlib.util import find_spec
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import PROGRAM, Browser
from view_frames import frame_of

pytestmark = [
    pytest.mark.skipif(find_spec("rerun") is None, reason="needs rerun-sdk (pip install 'posepipe[rerun]')"),
    pytest.mark.skipif(PROGRAM is None, reason="needs a browser (apt-get install chromium)"),
]

PICTURE = (40, 80, 120)  # of the frames in view_frames.py


def share(image, colour, reach):
    """Of the pixels, how many have about this colour."""
    return float((np.abs(image.astype(int) - colour).max(-1) <= reach).mean())


def limbs(image):
    """Of the pixels, the smaller of the shares that are as blue as left limbs and as red as right ones."""
    red, blue = image[..., 0].astype(int), image[..., 2].astype(int)
    return float(min((blue > red + 70).mean(), (red > blue + 70).mean()))


@pytest.mark.slow
def test_the_page_draws_picture_and_people_turns_and_stays_on_this_machine(tmp_path):
    from posepipe.pipeline.view.rerun_page import RerunViewer

    viewer = RerunViewer()
    viewer.open("posepipe - test")
    try:
        with Browser(tmp_path / "home", 1000, 600) as browser:
            assert browser.run("!!document.createElement('canvas').getContext('webgl2')")
            browser.go(viewer.address)
            until, index, image = time.monotonic() + 120, 0, None
            while time.monotonic() < until:
                for _ in range(5):  # frames keep coming while it looks
                    viewer.show(frame_of(index, people=2))
                    index += 1
                image = browser.picture()
                scene = image[:, 420:]
                if share(image[:, :400], PICTURE, 12) > 0.05 and limbs(scene) > 0.0005:
                    break
            # The camera's picture on the left, both sides of people on the right.
            assert share(image[:, :400], PICTURE, 12) > 0.05
            assert limbs(scene) > 0.0005
            before = browser.picture()[60:540, 420:]
            browser.drag((700, 300), (820, 330))
            after = browser.picture()[60:540, 420:]
            assert (np.abs(before.astype(int) - after).max(-1) > 20).mean() > 0.005
            outside = {a for a in browser.asked.values() if urlsplit(a).hostname not in ("127.0.0.1", None)}
            assert outside <= browser.refused, outside - browser.refused
    finally:
        viewer.close()
