"""`posepipe run` on the live path, whole: a filmed actor played in real time through BlazePose and the lifter."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.pipeline.film import film
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.pipeline.source.actor import ActorScene
from posepipe.pipeline.source.live import Gate
from posepipe.pipeline.source.playback import Playback

ROOT = Path(__file__).parents[3]
FPS = 15


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "actor.mp4"
    film((ActorScene("wave", seconds=2.0, fps=FPS, width=256, height=256, fov_deg=55, yaw_deg=20),), path)
    return path


@pytest.fixture(scope="module")
def long_film(actor, tmp_path_factory):
    """The actor's film twenty times over, so that it lasts longer than the patience of a test."""
    from posepipe.pipeline.sink.video import VideoWriter

    path = tmp_path_factory.mktemp("long") / "long.mp4"
    with av.open(str(actor)) as container:
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    with VideoWriter(path, 256, 256, FPS) as writer:
        for i in range(20 * len(pictures)):
            writer.write(pictures[i % len(pictures)], i / FPS)
    return path


def test_a_file_played_live_and_recorded(actor, tmp_path, capsys):
    command = ["run", str(actor), "--live", "--view", "none", "--record", "-o", str(tmp_path), "--fov", "55"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    counts = summary["counts"]
    assert counts["captured"] == 30 == counts["processed"] + sum(counts["dropped"].values())
    assert counts["with_person"] >= 1  # two seconds long, and the machine may be busy
    assert {"capture", "detect", "lift", "age"} <= set(summary["stages"])
    h5, video = (Path(f) for f in summary["files"])
    assert "wrote" in err
    recording = read_h5(h5)
    assert len(recording.pts) == counts["recorded"]
    assert (np.diff(recording.pts) > 0).all()
    assert recording.tracks[0].pose[:, 0].shape == (len(recording.tracks[0].frame), 3)
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == counts["recorded"]


def test_a_file_that_cannot_be_decoded_in_real_time_slips_instead_of_getting_older(actor):
    source, ages = Playback(actor, live=True), []
    for captured in source.frames(Gate()):
        time.sleep(0.2)  # three times what there is
        ages.append(time.monotonic() - captured.at)
    source.close()
    assert len(ages) == 30
    assert source.counts.slipped > 1.0
    assert max(ages) < 2.0  # it would be 4 s


def test_watching_a_file_writes_what_running_it_writes(actor, tmp_path, monkeypatch, fakes):
    """Every frame, in other threads and behind other queues: the same bytes."""
    from posepipe.pipeline import cli_live

    monkeypatch.setattr(cli_live, "choose_viewer", lambda name: (fakes.Viewer(), ""))
    assert main(["run", str(actor), "--view", "window", "-o", str(tmp_path / "watched")]) == 0
    assert main(["run", str(actor), "-o", str(tmp_path / "plain")]) == 0
    for name in ("actor.h5", "actor.overlay.mp4"):
        assert (tmp_path / "watched" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_recording_and_keeps_it(long_film, tmp_path, fakes, sent, code, start):
    """R5."""
    command = [sys.executable, "-m", "posepipe", "run", str(long_film), "--live", "--view", "none", "--record"]
    process = start([*command, "-o", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not any(tmp_path.glob(".*overlay.mp4.tmp*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    process.send_signal(sent)
    sent_at = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    fakes.in_time(time.monotonic() - sent_at, 2.0, 15.0)
    counts = json.loads(out)["counts"]
    assert counts["captured"] == counts["processed"] + sum(counts["dropped"].values())
    assert "Traceback" not in err
    h5 = next(tmp_path.glob("*.h5"))
    assert len(read_h5(h5).pts) == counts["recorded"] > 0
    with av.open(str(next(tmp_path.glob("*.mp4")))) as container:
        assert sum(1 for _ in container.decode(video=0)) == counts["recorded"]
    assert not list(tmp_path.glob(".*"))


def test_the_demo_is_short_and_runs(long_film, tmp_path):
    demo = ROOT / "demo" / "webcam.py"
    assert len(demo.read_text().splitlines()) < 40
    done = subprocess.run(
        [sys.executable, str(demo), str(long_film), "--view", "none", "--max-frames", "8"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["processed"] == 8
    assert list(tmp_path.iterdir()) == []
    done = subprocess.run(
        [sys.executable, str(demo), "/dev/video97"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
