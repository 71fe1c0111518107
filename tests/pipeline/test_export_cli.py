"""`posepipe export`: the right file under the right name, and one sentence for whatever cannot work."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest

from posepipe.__main__ import main

KINDS = ["csv", "json", "npz", "bvh", "c3d", "trc", "glb", *(["rrd"] if find_spec("rerun") else [])]


@pytest.fixture
def source(tmp_path: Path, figure: Callable, record: Callable) -> Path:
    rng = np.random.default_rng(4)
    people = {n: {"frame": np.arange(4), "pose": figure(rng, 4)} for n in (0, 3)}
    return record(tmp_path / "clip.h5", people, 4)


RRD = pytest.param("rrd", marks=pytest.mark.skipif(find_spec("rerun") is None, reason="needs rerun-sdk"))


@pytest.mark.parametrize("kind", ["csv", "json", "npz", "glb", RRD])
def test_beside_the_result_file_by_default(source: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", str(source), "--to", kind]) == 0
    assert capsys.readouterr().out == f"wrote {source.with_suffix('.' + kind)}\n"
    assert source.with_suffix("." + kind).stat().st_size > 100


@pytest.mark.parametrize("kind", ["bvh", "trc", "c3d"])
def test_a_file_per_person(source: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    assert main(["export", str(source), "--to", kind, "-o", str(folder), "--pose", "hypothesis:2"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == [f"clip.track0.{kind}", f"clip.track3.{kind}"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["export", str(source), "--to", kind, "-o", str(tmp_path / f"one.{kind}"), "--track", "3"]) == 0
    written = (tmp_path / f"one.{kind}").read_bytes()
    assert main(["export", str(source), "--to", kind, "-o", str(folder)]) == 0
    together = (folder / f"clip.track3.{kind}").read_bytes()
    if kind == "trc":  # its first line names the file
        written, together = (text.partition(b"\n")[2] for text in (written, together))
    assert written == together


def failure(capsys: pytest.CaptureFixture, *argv: str) -> tuple[int, str]:
    code = main(["export", *argv])
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("posepipe export: ")
    assert len(said.err.splitlines()) == 1
    return code, said.err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--to", "fbx"], 2, "csv, json, npz, bvh, c3d, trc, rrd, glb"),
        (["--to", "csv", "--pose", "hypothesis:3"], 2, "0 to 2"),
        (["--to", "csv", "--pose", "hypothesis:-1"], 2, "hypothesis:K"),
        (["--to", "csv", "--pose", "hypothesis:²"], 2, "hypothesis:K"),
        (["--to", "csv", "--pose", "mean"], 2, "aggregate"),
        (["--to", "bvh", "--track", "1"], 2, "0, 3"),
    ],
)
def test_what_cannot_work(
    source: Path, capsys: pytest.CaptureFixture, options: list[str], code: int, words: str
) -> None:
    before = set(source.parent.iterdir())
    got, said = failure(capsys, str(source), *options)
    assert (got, words in said) == (code, True), said
    assert set(source.parent.iterdir()) == before


def test_the_result_file_is_not_overwritten(source: Path, capsys: pytest.CaptureFixture) -> None:
    before = source.read_bytes()
    assert failure(capsys, str(source), "--to", "csv", "-o", str(source))[0] == 2
    assert source.read_bytes() == before


def test_files_that_are_no_result(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text, foreign, torn, missing = (tmp_path / n for n in ("text.h5", "foreign.h5", "torn.h5", "missing.h5"))
    text.write_text("hello")
    with h5py.File(foreign, "w") as file:
        file["x"] = 1
    torn.write_bytes(source.read_bytes()[:-2000])
    for path in (text, foreign, torn, missing):
        code, said = failure(capsys, str(path), "--to", "bvh")
        assert code == 1
        assert path.name in said
        assert not path.with_suffix(".bvh").exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.attrs.pop("frames"), "incomplete"),
        (lambda file: file["tracks/0/frame"].__setitem__(0, -1), "out of order"),
        (lambda file: file["tracks/3/frame"].__setitem__(3, 99), "out of order"),
        (lambda file: file.attrs.__setitem__("skeleton", "coco17"), "h36m17"),
        (lambda file: file.attrs.__setitem__("format_version", 2), "format version 2"),
    ],
)
def test_result_files_that_do_not_fit_together(
    source: Path, capsys: pytest.CaptureFixture, spoil: Callable, words: str
) -> None:
    with h5py.File(source, "r+") as file:
        spoil(file)
    code, said = failure(capsys, str(source), "--to", "csv")
    assert (code, words in said) == (1, True), said


def test_names_that_the_file_system_refuses(source: Path, capsys: pytest.CaptureFixture) -> None:
    assert failure(capsys, "x" * 5000, "--to", "csv")[0] == 1
    assert failure(capsys, str(source), "--to", "csv", "-o", "x" * 5000)[0] == 1


def test_targets_that_cannot_be_written(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    targets = [tmp_path / "file" / "a.bvh"]
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        targets.append(tmp_path / "locked" / "a.bvh")
    for kind in KINDS:
        for target in targets:
            code, said = failure(capsys, str(source), "--to", kind, "-o", str(target))
            assert code == 1
            assert "Cannot write" in said


def test_a_folder_in_the_way_of_one_person_leaves_no_other(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "out"
    (folder / "clip.track3.bvh").mkdir(parents=True)
    assert failure(capsys, str(source), "--to", "bvh", "-o", str(folder))[0] == 1
    assert [p.name for p in folder.iterdir()] == ["clip.track3.bvh"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_nothing_new(tmp_path: Path, figure: Callable, record: Callable, kind: str) -> None:
    """A limit on the size of files stands for the disk; the older export stays."""
    pose = figure(np.random.default_rng(1), 150)
    source = record(tmp_path / "clip.h5", {0: {"frame": np.arange(150), "pose": pose}}, 150)
    target = tmp_path / f"clip.{kind}"
    target.write_text("older")
    done = subprocess.run(
        [sys.executable, "-m", "posepipe", "export", str(source), "--to", kind],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert target.read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["clip.h5", f"clip.{kind}"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_export_is_replaced(source: Path, kind: str) -> None:
    target = source.with_name(f"other.{kind}")
    target.write_text("older")
    assert main(["export", str(source), "--to", kind, "-o", str(target), "--track", "0"]) == 0
    assert target.read_bytes()[:5] != b"older"


def test_rrd_without_its_library(source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    code, said = failure(capsys, str(source), "--to", "rrd")
    assert (code, "posepipe[rerun]" in said) == (1, True), said
    assert not source.with_suffix(".rrd").exists()
