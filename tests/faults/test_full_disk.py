"""Every verb that writes one file, on a real disk that is full: one sentence, exit code 1, and what was there stays."""

import os
from contextlib import suppress

import pytest

from posepipe.__main__ import main
from tests.faults.disks import small_disk, why_not


@pytest.fixture
def full(tmp_path):
    """A tmpfs with an older result on it and room for nothing."""
    if reason := why_not(tmp_path):
        pytest.skip(f"no tmpfs can be mounted here ({reason})")
    with small_disk(tmp_path / "disk", 16) as disk:
        for name in "older.html", "older.png", "older.bvh":
            (disk / name).write_bytes(b"an earlier result")
        with suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        assert os.statvfs(disk).f_bavail == 0
        yield disk


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A small film and what `posepipe run` makes of it."""
    from posepipe.pipeline.film import film
    from posepipe.pipeline.source.actor import ActorScene

    folder = tmp_path_factory.mktemp("results")
    film((ActorScene("wave", seconds=0.4, fps=15, width=160, height=160, fov_deg=55, yaw_deg=20),), folder / "wave.mp4")
    assert main(["run", str(folder / "wave.mp4"), "-o", str(folder / "out"), "--no-overlay"]) == 0
    return folder


@pytest.mark.parametrize(
    ("verb", "source", "name"),
    [("report", "out", "older.html"), ("inspect", "wave.mp4", "older.png"), ("export", "out/wave.h5", "older.bvh")],
)
def test_nothing_is_lost_on_a_full_disk(verb, source, name, full, results, capfd):
    before = sorted((p.name, p.read_bytes()) for p in full.iterdir())
    how = ("--to", "bvh") if verb == "export" else ()
    assert main([verb, str(results / source), "-o", str(full / name), *how]) == 1
    error = capfd.readouterr().err
    assert "No space left on device" in error
    assert "Free some disk space" in error
    assert "Traceback" not in error
    assert sorted((p.name, p.read_bytes()) for p in full.iterdir()) == before


def test_a_graph_does_not_replace_another_on_a_full_disk(full, capfd):
    before = sorted((p.name, p.read_bytes()) for p in full.iterdir())
    assert main(["build-engines", "--lifter", "martinez", "--backend", "onnx", "-o", str(full)]) == 1
    error = capfd.readouterr().err
    assert "No space left on device" in error
    assert "Traceback" not in error
    assert sorted((p.name, p.read_bytes()) for p in full.iterdir()) == before
