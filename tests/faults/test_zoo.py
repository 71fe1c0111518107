"""Every kind of bad video in one batch: each has its line, what can be used is used, and nobody sees a traceback."""

import av
import pytest

from posepipe.pipeline import manifest
from posepipe.pipeline.sink.h5 import read_h5
from tests.faults.batches import results, run
from tests.faults.zoo import build


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    expected = build(folder / "in")
    return folder / "out", expected, run(folder / "in", folder / "out", "--jobs", "2")


def test_every_animal_has_its_line_and_the_right_one(zoo):
    out, expected, ended = zoo
    entries = manifest.read(out)
    assert entries.keys() == expected.keys()
    wrong = {n: (e.status, e.reason) for n, e in entries.items() if e.status not in expected[n]}
    assert not wrong
    assert ended.code == 1
    assert "Traceback" not in ended.printed + ended.error
    for entry in entries.values():
        assert "\n" not in entry.reason
        assert "Internal error" not in entry.reason
        assert bool(entry.reason) == (entry.status == manifest.FAILED)


def test_what_was_made_can_be_read_and_failures_leave_nothing(zoo):
    out, _, _ = zoo
    entries = manifest.read(out)
    named = {o.path for e in entries.values() for o in e.outputs}
    assert results(out).keys() == named
    for entry in entries.values():
        for output in entry.outputs:
            if output.path.endswith(".h5"):
                assert len(read_h5(out / output.path).pts) == entry.frames
            else:
                with av.open(str(out / output.path)) as video:
                    assert sum(1 for _ in video.decode(video=0)) == entry.frames


def test_the_same_pictures_give_the_same_poses_whatever_they_are_called(zoo):
    out, _, _ = zoo
    entries = manifest.read(out)
    plain, named = entries["good.mp4"], entries["Ünïcode 踊り \U0001f483.mp4"]
    assert plain.frames == named.frames == 12
    assert plain.input_sha256 == named.input_sha256


def test_times_of_an_uneven_video_are_its_own(zoo):
    out, _, _ = zoo
    pts = read_h5(out / "uneven.h5").pts
    assert pts.round(2).tolist() == [0, 0.01, 0.5, 0.52, 2.0]
