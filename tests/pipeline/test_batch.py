"""A folder of videos end to end, in real processes that are killed, interrupted and started again."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.errors import InputError, UsageError
from posepipe.hashing import file_sha256
from posepipe.pipeline import manifest
from posepipe.pipeline.batch_leftovers import remove_leftovers
from posepipe.pipeline.batch_list import work_list
from posepipe.pipeline.batch_settings import absolute, settings_hash
from posepipe.pipeline.film import film
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.footer import source_sha256
from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.actor import ActorScene

GOOD = ("a/clip.mp4", "c/same.mkv", "c/same.mp4", "grey.mp4", "schöner Tanz 踊り/clip.mp4")
RESULTS = {  # input -> the stem of its results: c/same.* would collide
    name: name[:-4] if not name.startswith("c/") else f"{name}/same" for name in GOOD
}


def _film(path, motion, frames=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    film((ActorScene(motion, seconds=frames / 15, fps=15, width=160, height=160, fov_deg=55, yaw_deg=20),), path)


def _grey(path, frames=8):
    with VideoWriter(path, 160, 120, 15) as writer:
        for i in range(frames):
            writer.write(np.full((120, 160, 3), 90 + i, np.uint8), i / 15)


def _remux(source, path, container, options):
    """The same pictures in another container."""
    with av.open(str(source)) as given, av.open(str(path), "w", format=container, options=options) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos") / "in"
    for name, motion in ("a/clip.mp4", "wave"), ("c/same.mp4", "turn"), ("schöner Tanz 踊り/clip.mp4", "wave"):
        _film(folder / name, motion)
    _remux(folder / "a/clip.mp4", folder / "c/same.mkv", "matroska", {})
    _grey(folder / "grey.mp4")
    (folder / "notes.txt").write_text("not a video, and not meant to be one")
    (folder / ".hidden.mp4").write_text("neither")
    return folder


def _batch(folder, out, *argv):
    return main(["batch", str(folder), "-o", str(out), *argv])


@pytest.fixture(scope="module")
def reference(good, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "out"
    assert _batch(good, out, "--jobs", "1") == 0
    return _files(out)


def _files(out):
    """Relative path -> contents, of everything but the manifest (which holds timings)."""
    paths = (p for p in out.rglob("*") if p.is_file() and p.name != manifest.NAME)
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in paths}


def _start(folder, out, *argv, **more):
    command = [sys.executable, "-m", "posepipe", "batch", str(folder), "-o", str(out), *argv]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes, **more)


def _until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return value


def _temporary(out):
    return [p for p in out.rglob(".*tmp-*") if "manifest" not in p.name]


def test_every_video_has_its_results_and_its_line(good, reference):
    expected = {f"{stem}{end}" for stem in RESULTS.values() for end in (".h5", ".overlay.mp4")}
    assert set(reference) == expected


def test_two_jobs_give_the_same_bytes_and_a_true_manifest(good, reference, tmp_path):
    out = tmp_path / "out"
    assert _batch(good, out, "--jobs", "2") == 0
    assert _files(out) == reference
    lines = [json.loads(line) for line in (out / manifest.NAME).read_text("ascii").splitlines()]
    assert [line["input"] for line in lines] == list(GOOD)
    assert [line["status"] for line in lines] == ["ok", "ok", "ok", "no person", "ok"]
    for line in lines:
        assert line["input_sha256"] == file_sha256(good / line["input"])
        assert line["frames"] == 8
        assert {"decode", "detect", "lift", "write", "encode"} <= set(line["stages"])
        assert [o["path"] for o in line["outputs"]] == [
            f"{RESULTS[line['input']]}{end}" for end in (".h5", ".overlay.mp4")
        ]
        for output in line["outputs"]:
            assert output["bytes"] == len(reference[output["path"]])
            assert output["sha256"] == file_sha256(out / output["path"])


@pytest.mark.parametrize("lines", [0, 2])
def test_killed_at_any_moment_then_resumed_gives_the_same_bytes(good, reference, tmp_path, lines):
    out = tmp_path / "out"
    process = _start(good, out, "--jobs", "2", "--resume")
    _until(lambda: len(manifest.read(out)) >= lines and _temporary(out))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for path, data in _files(out).items():  # whatever has a final name is complete
        assert ".tmp-" in path or data == reference[path]
    known = manifest.read(out)
    assert lines <= len(known) < len(GOOD)
    done = {o.path: (out / o.path).stat().st_mtime_ns for e in known.values() for o in e.outputs}
    assert _batch(good, out, "--jobs", "2", "--resume") == 0
    assert _files(out) == reference
    assert done == {path: (out / path).stat().st_mtime_ns for path in done}
    assert len(manifest.read(out)) == len(GOOD)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_workers_at_once_and_cleanly(good, reference, tmp_path, sent, code):
    out = tmp_path / "out"
    process = _start(good, out, "--jobs", "2")
    workers = {int(p.name.rpartition("-")[2]) for p in _until(lambda: _temporary(out))}
    began = time.monotonic()
    os.killpg(process.pid, sent) if sent == signal.SIGINT else process.send_signal(sent)  # as a terminal does
    _, error = process.communicate(timeout=30)
    assert time.monotonic() - began < 2
    assert process.returncode == code, error
    assert error.count("\n") == 1
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)
    assert all(data == reference[path] for path, data in _files(out).items())


def test_a_worker_that_is_killed_fails_its_video_only(good, reference, tmp_path):
    out = tmp_path / "out"
    process = _start(good, out, "--jobs", "2")
    victim = _until(lambda: _temporary(out))[0]
    os.kill(int(victim.name.rpartition("-")[2]), signal.SIGKILL)
    printed, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, "")
    failed = [e for e in manifest.read(out).values() if e.status == manifest.FAILED]
    assert len(failed) == 1
    assert "killed by signal 9" in failed[0].reason
    assert f"failed: {failed[0].input}: " in printed
    lost = {f"{RESULTS[failed[0].input]}{end}" for end in (".h5", ".overlay.mp4")}
    assert _files(out) == {path: data for path, data in reference.items() if path not in lost}


@pytest.fixture
def done(tmp_path):
    """A folder of one film, its results, and what resuming it does: True where the results were made again."""
    _film(tmp_path / "in" / "clip.mp4", "wave", 6)
    out = tmp_path / "out"
    assert _batch(tmp_path / "in", out) == 0
    recording = out / "clip.h5"

    def redone(*argv):
        before, data = recording.exists() and recording.stat().st_mtime_ns, _files(out)
        assert _batch(tmp_path / "in", out, "--resume", *argv) == 0
        assert source_sha256(recording)
        assert data.keys() <= _files(out).keys()
        return recording.stat().st_mtime_ns != before

    return tmp_path / "in" / "clip.mp4", out, redone


def test_resume_does_again_what_is_not_complete_or_made_otherwise(done):
    video, out, redone = done
    assert not redone()
    recording, overlay = out / "clip.h5", out / "clip.overlay.mp4"
    recording.write_bytes(recording.read_bytes()[:-100])
    assert redone()
    overlay.unlink()
    assert redone()
    assert redone("--seed", "1")
    assert not redone("--seed", "1")
    _film(video, "turn", 6)
    assert redone("--seed", "1")
    with open(out / manifest.NAME, "ab") as file:
        file.write(b'{"input": "clip.mp4", "sta')  # torn by a crash: the line before still counts
    assert not redone("--seed", "1")
    assert (out / manifest.NAME).read_bytes().count(b"\n") == 1


def test_settings_hash_tells_contents_and_resolved_defaults(tmp_path, monkeypatch):
    camera = {"fx": 100.0, "fy": 100.0, "cx": 80.0, "cy": 80.0}
    for name, fx in (("one", 100.0), ("same", 100.0), ("other", 101.0)):
        (tmp_path / name).write_text(json.dumps(camera | {"fx": fx}))
    one, same, other = (settings_hash(RunSettings(intrinsics=tmp_path / n)) for n in ("one", "same", "other"))
    assert one == same != other
    monkeypatch.chdir(tmp_path)
    relative = RunSettings(intrinsics=Path("one"), lifter="mdn")
    assert absolute(relative) == RunSettings(intrinsics=tmp_path / "one", lifter="mdn")
    assert settings_hash(relative) == one
    default = settings_hash(RunSettings(overlay=False))
    assert default not in (one, settings_hash(RunSettings()), settings_hash(RunSettings(overlay=False, max_frames=3)))


def _damaged(folder, good):
    shutil.copytree(good / "a", folder / "a")
    film_bytes = (good / "a" / "clip.mp4").read_bytes()
    (folder / "text.mp4").write_text("hello\n" * 100)
    (folder / "[bold]empty.avi").touch()
    (folder / "cut.mp4").write_bytes(film_bytes[: len(film_bytes) // 2])  # its index, at the end, is gone
    _remux(good / "a" / "clip.mp4", folder / "short.mp4", "mp4", {"movflags": "+faststart"})
    whole = (folder / "short.mp4").read_bytes()
    (folder / "short.mp4").write_bytes(whole[: int(len(whole) * 0.8)])
    (folder / "no_suffix").write_bytes(film_bytes)
    (folder / "data_without_suffix").write_bytes(bytes(range(256)) * 50)


def test_damaged_inputs_fail_with_a_reason_and_the_rest_goes_on(good, reference, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    _damaged(folder, good)
    assert _batch(folder, out, "--jobs", "2") == 1
    captured = capsys.readouterr()
    entries = manifest.read(out)
    status = {name: entry.status for name, entry in entries.items()}
    assert status == {
        "a/clip.mp4": "ok",
        "text.mp4": "failed",
        "[bold]empty.avi": "failed",
        "cut.mp4": "failed",
        "short.mp4": "partial",
        "no_suffix": "ok",
    }
    assert entries["short.mp4"].cut_short or entries["short.mp4"].bad_frames
    assert 0 < entries["short.mp4"].frames < 8
    for name in ("text.mp4", "[bold]empty.avi", "cut.mp4"):
        assert entries[name].reason.count("\n") == 0
        assert f"failed: {name}: {entries[name].reason}" in captured.out
    assert "2 ok, 1 partial, 3 failed" in captured.out
    assert "Traceback" not in captured.out + captured.err
    assert (out / "a/clip.h5").read_bytes() == reference["a/clip.h5"]
    assert {p.split(".")[0] for p in _files(out)} == {"a/clip", "short", "no_suffix"}


def test_on_error_stop_says_what_is_left(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.mp4").write_bytes(bytes(500_000))  # the largest is the first
    for name in ("2.mp4", "3.mp4"):
        _grey(folder / name)
    assert _batch(folder, tmp_path / "out", "--on-error", "stop", "--jobs", "1") == 1
    assert "2 left (2.mp4, 3.mp4)" in capsys.readouterr().out
    assert _files(tmp_path / "out") == {}


def test_a_full_disk_fails_that_video_and_leaves_nothing_of_it(good, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(good / "a", folder / "a")
    shutil.copy(good / "grey.mp4", folder)
    limit = 150_000  # between the two overlay videos; a disk that is full answers in the same way
    process = _start(folder, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, "")
    entries = manifest.read(out)
    assert {n: e.status for n, e in entries.items()} == {"a/clip.mp4": "failed", "grey.mp4": "no person"}
    assert "choose another folder with -o" in entries["a/clip.mp4"].reason
    assert set(_files(out)) == {"grey.h5", "grey.overlay.mp4"}


def test_a_file_in_the_way_of_a_folder_fails_what_goes_there(good, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(good / "a", folder / "a")
    shutil.copy(good / "grey.mp4", folder)
    out.mkdir()
    (out / "a").touch()
    assert _batch(folder, out, "--no-overlay") == 1
    assert "not a folder" in manifest.read(out)["a/clip.mp4"].reason
    assert set(_files(out)) == {"a", "grey.h5"}


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, living, other = f".x.h5.tmp-{ended.pid}", f".y.overlay.mp4.tmp-{os.getpid()}", f".note.tmp-{ended.pid}"
    for name in (dead, living, other):
        (tmp_path / name).touch()
    remove_leftovers([tmp_path, tmp_path / "missing"])
    assert {p.name for p in tmp_path.iterdir()} == {living, other}


def test_results_never_lie_among_the_videos(tmp_path):
    for name in ("x.mp4", "x.overlay.mp4", "sub/y.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="among the videos"):
        work_list(tmp_path, tmp_path / "sub" / "..")
    inside = tmp_path / "results"
    (inside / "old").mkdir(parents=True)
    (inside / "old" / "x.overlay.mp4").touch()
    assert [i.name for i in work_list(tmp_path, inside)] == ["sub/y.mp4", "x.mp4", "x.overlay.mp4"]
    nested = tmp_path / "n"
    for name in ("n/x.mp4", "n/n/x.mp4", "n/x.overlay.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="would replace videos"):
        work_list(nested, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no video"):
        work_list(tmp_path / "empty", tmp_path / "out")


def test_manifest_lines_that_are_none_are_ignored(tmp_path):
    entry = manifest.Entry("a\nb\udcff.mp4", None, "s", manifest.FAILED, "why", outputs=(manifest.Output("p", 1, "h"),))
    manifest.append(tmp_path, entry)
    with open(tmp_path / manifest.NAME, "ab") as file:
        file.write(b'[]\n{}\nnull\n\xff\n{"input": 1}\n' + entry.line().replace(b"failed", b"odd") + entry.line()[:-1])
    assert manifest.read(tmp_path) == {entry.input: entry}


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--address", "10.0.0.1:6379"], "Add --engine ray"),
        (["--engine", "ray", "--cores-per-worker", "0"], "--cores-per-worker 0"),
        (["--jobs", "0"], "--jobs 0"),
        (["--lifter", "mdm"], "Did you mean mdn?"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(good, tmp_path, capsys, argv, says):
    assert _batch(good, tmp_path / "out", *argv) == 2
    assert re.search(re.escape(says), capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_nobody_anywhere_is_said_as_run_says_it(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("1.mp4", "2.mp4"):
        _grey(tmp_path / "in" / name, 3)
    for argv in ((), ("--resume",)):
        assert _batch(tmp_path / "in", tmp_path / "out", "--no-overlay", *argv) == 1
        assert "No person was found in any of the 2 videos" in capsys.readouterr().err
