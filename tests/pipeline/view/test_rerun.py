"""What Rerun is given, read back with its own reader; its page, fetched as a browser would."""

from __future__ import annotations

import socket
import urllib.request
from importlib.util import find_spec

import numpy as np
import pytest
from view_frames import CAMERA, STANDING, frame_of

from posepipe.camera import project
from posepipe.errors import MissingDependencyError, UsageError
from posepipe.pipeline.view.choose import choose_viewer, saved_beside
from posepipe.pipeline.view.none import NoViewer

needs_rerun = pytest.mark.skipif(find_spec("rerun") is None, reason="needs rerun-sdk")


def cells(view, entity, component):
    """The values of one component of one entity, a list per frame."""
    table = view.select("frame", f"{entity}:{component}").read_all()
    return table.column(1).to_pylist()


@needs_rerun
def test_file_holds_picture_keypoints_people_and_times(tmp_path):
    from rerun.dataframe import load_recording

    path = tmp_path / "x" / "run.rrd"
    viewer = saved_beside(NoViewer(), path)
    viewer.open("posepipe")
    for index, people in enumerate((1, 2, 0)):
        viewer.show(frame_of(index, people=people))
        viewer.show(frame_of(index, people=people, repeated=True))  # adds nothing
        assert not path.exists()
    viewer.close()
    viewer.close()
    assert [p.name for p in path.parent.iterdir()] == ["run.rrd"]
    view = load_recording(path).view(index="frame", contents="/**")
    points = cells(view, "/world/camera/image/keypoints", "Position2D")
    assert [len(p) for p in points] == [17, 34, 0]
    truth = project(STANDING + np.array([-0.6, 0.1, 4.0]), CAMERA)
    assert np.allclose(points[0], truth, atol=1e-2)
    joints = np.array(cells(view, "/world/joints", "Position3D")[1])
    assert np.allclose(joints[17:, 0] - joints[:17, 0], 1.2, atol=1e-4)  # the second person, 1.2 m to the right
    assert np.allclose(joints[:17] - joints[0], STANDING, atol=1e-5)
    assert [len(c) for c in cells(view, "/world/hypotheses", "LineStrip3D")] == [320, 640, 0]
    assert cells(view, "/world/ids", "Text")[1] == ["#1", "#2"]
    assert cells(view, "/times/detect", "Scalar") == [[19.0]] * 3
    assert all(cell is not None for cell in cells(view, "/world/camera/image", "Blob"))


@needs_rerun
def test_page_is_served_on_loopback_and_goes_away():
    viewer, line = choose_viewer("rerun")
    assert line.startswith("Watch it at http://127.0.0.1:")
    page = line.split()[-1]
    port = int(page.split(":")[2].split("/")[0])
    viewer.open("posepipe - test")
    try:
        for index in range(3):
            viewer.show(frame_of(index))
        assert b"<html" in urllib.request.urlopen(page, timeout=10).read().lower()
        # An address of this machine other than loopback; nothing may answer there.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            outside = probe.getsockname()[0]
        if not outside.startswith("127."):
            with pytest.raises(OSError, match=r"refused|timed out"):
                socket.create_connection((outside, port), 2).close()
    finally:
        viewer.close()
        viewer.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 2).close()


@pytest.mark.skipif(find_spec("rerun") is not None, reason="rerun-sdk is installed")
def test_without_rerun_the_sentence_names_what_installs_it(tmp_path):
    with pytest.raises(MissingDependencyError, match=r"posepipe\[rerun\]"):
        choose_viewer("rerun")
    with pytest.raises(MissingDependencyError, match=r"posepipe\[rerun\]"):
        saved_beside(NoViewer(), tmp_path / "x.rrd")


def test_save_wants_a_name_that_rerun_reads(tmp_path):
    with pytest.raises(UsageError, match=r"\.rrd"):
        saved_beside(NoViewer(), tmp_path / "x.mp4")
    viewer = NoViewer()
    assert saved_beside(viewer, None) is viewer
