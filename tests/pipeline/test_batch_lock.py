"""Two batches into one folder: the second says so and touches nothing; one that was killed is in nobody's way."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.pipeline import manifest
from posepipe.pipeline.sink.video import VideoWriter


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    with VideoWriter(folder / "grey.mp4", 160, 120, 15) as writer:
        for i in range(400):
            writer.write(np.full((120, 160, 3), i % 200, np.uint8), i / 15)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_the_second_batch_into_a_folder_is_refused(videos, tmp_path, capfd, start):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "posepipe", "batch", str(videos), "-o", str(out), "--jobs", "1", "--no-overlay"]
    first = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "manifest.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert main(["batch", str(videos), "-o", str(out), "--no-overlay", "--jobs", "1"]) == 1
    assert f"Another `posepipe batch` is writing into {out}." in capfd.readouterr().err
    first.send_signal(signal.SIGKILL)
    first.wait(timeout=60)
    # Nobody is found on grey frames: 1 as well, but from the end of a whole batch.
    assert main(["batch", str(videos), "-o", str(out), "--no-overlay", "--jobs", "1", "--resume"]) == 1
    assert "No person was found" in capfd.readouterr().err
    assert manifest.read(out)["grey.mp4"].status == "no person"
