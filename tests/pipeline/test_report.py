"""`posepipe report`: a page that another parser takes, that says what is in the files and asks for nothing."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import cv2
import h5py
import html5lib
import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.hashing import file_sha256
from posepipe.pipeline import manifest
from posepipe.pipeline.manifest import FAILED, NO_PERSON, OK, PARTIAL, Entry, Output
from posepipe.pipeline.report import page as report_page
from posepipe.pipeline.report.chart import chart
from posepipe.pipeline.report.digest import digest
from posepipe.pipeline.sink.video import VideoWriter

NASTY = "<script>alert(1)</script>&\"' ü\u202e.mp4"
CHROMIUM = shutil.which("chromium")
_SVG = "{http://www.w3.org/2000/svg}"
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--virtual-time-budget=3000"),
)


def parsed(path: Path) -> ElementTree.Element:
    """Strict: html5lib raises on what the HTML standard calls an error."""
    parser = html5lib.HTMLParser(html5lib.getTreeBuilder("etree"), strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text("utf-8"))


def rows(tree: ElementTree.Element) -> list[ElementTree.Element]:
    return tree.findall(".//tbody/tr[@data-name]")


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def overlay(path: Path, frames: int) -> Path:
    """640x480 gives an overlay picture of 1600 x 720, whose left 960 show the source: green here, the rest blue."""
    image = np.zeros((720, 1600, 3), np.uint8)
    image[:, :960, 1], image[:, 960:, 2] = 200, 200
    with VideoWriter(path, 1600, 720, 25.0) as out:
        for index in range(frames):
            out.write(image, index / 25)
    return path


def output(folder: Path, path: Path) -> Output:
    return Output(path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path))


@pytest.fixture
def batch(tmp_path: Path, figure: Callable, record: Callable) -> Path:
    """A folder as `posepipe batch` leaves it: two good videos, a partial one, one without anybody, one that failed."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    one = {0: {"frame": np.arange(20), "pose": figure(rng, 20)}}
    two = {n: {"frame": np.arange(5, 15), "pose": figure(rng, 10)} for n in (0, 4)}
    good = record(folder / "deep" / (NASTY[:-4].replace("/", "_") + ".h5"), one, 20)
    partial = record(folder / "partial.h5", two, 30)
    nobody = record(folder / "room.h5", {}, 3)
    shown = overlay(good.with_suffix(".overlay.mp4"), 20)
    base = Entry(
        "deep/" + NASTY.replace("/", "_"),
        "0" * 64,
        "1" * 64,
        OK,
        frames=20,
        frames_with_person=20,
        tracks=1,
        outputs=(output(folder, good), output(folder, shown)),
        seconds=4.0,
        stages={"decode": {"mean": 3.0, "p50": 2.5, "p95": 7.25}, "lift": {"mean": 1.0, "p50": 0.9, "p95": 2.0}},
    )
    cut = replace(base, input="partial.mkv", status=PARTIAL, frames=30, frames_with_person=10, tracks=2, seconds=1.0)
    empty = replace(base, input="room.mp4", status=NO_PERSON, frames=3, frames_with_person=0, tracks=0)
    entries = (
        base,
        replace(cut, bad_frames=2, cut_short=True, outputs=(output(folder, partial),)),
        replace(empty, outputs=(output(folder, nobody),)),
        Entry("torn.mp4", None, "1" * 64, FAILED, "torn.mp4 <is> broken. Copy it again.", seconds=0.1),
    )
    manifest.rewrite(folder, entries)
    return folder


def test_the_page_says_what_the_manifest_and_the_files_say(batch: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", str(batch)]) == 0
    assert capsys.readouterr().out == f"wrote {batch / 'report.html'}\n"
    tree = parsed(batch / "report.html")
    found = {row.get("data-name"): row for row in rows(tree)}
    assert len(found) == 4
    partial = found["partial.mkv"]
    assert [partial.get(f"data-{key}") for key in ("status", "frames", "person", "bad", "tracks")] == [
        "partial", "30", "10", "2", "2",
    ]  # fmt: skip
    assert float(partial.get("data-std") or "nan") == pytest.approx(50)  # the fixture's joint_std
    assert float(partial.get("data-rate") or "nan") == pytest.approx(30)
    assert "2 bad frames" in words(partial)
    assert "ends in the middle" in words(partial)
    assert [len(partial.findall(f".//{_SVG}path[@class='line c{n}']")) for n in range(3)] == [1, 1, 0]
    assert "7.2" in words(partial.find(".//details/table"))
    warnings = [words(item) for item in tree.findall(".//ul[@class='warnings']/li")]
    assert warnings[0] == "failed torn.mp4: torn.mp4 <is> broken. Copy it again."
    assert len(warnings) == 3
    tiles = {words(tile[1]): words(tile[0]) for tile in tree.findall(".//div[@class='tiles']/div")}
    assert (tiles["videos"], tiles["ok"], tiles["failed"], tiles["frames"], tiles["bad frames"]) == (
        "4",
        "1",
        "1",
        "53",
        "2",
    )
    settings = {words(line[0]): words(line[1]) for line in tree.findall(".//div[@class='beside']/div[1]/table//tr")}
    assert (settings["lifter"], settings["seed"]) == ("lifter", "1")


def test_names_are_data(batch: Path) -> None:
    """A name that is a program stays a name, and links lead to the files."""
    assert main(["report", str(batch)]) == 0
    tree = parsed(batch / "report.html")
    assert len(tree.findall(".//script")) == 1
    row = next(row for row in rows(tree) if "alert" in (row.get("data-name") or ""))
    shown = "deep/" + NASTY.replace("/", "_").replace("\u202e", "?")
    assert row.get("data-name") == shown
    assert words(row.find(".//b")) == " ".join(shown.split())
    links = [a.get("href") or "" for a in tree.findall(".//tbody//a")]
    assert len(links) == 4
    for address in links:
        assert (batch / unquote(urlsplit(address).path)).is_file()


def test_the_page_asks_for_nothing(batch: Path) -> None:
    assert main(["report", str(batch)]) == 0
    tree = parsed(batch / "report.html")
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "data", "action", "poster", "style"):
                assert re.match(r"data:image/jpeg;base64,|\./|#v\d+$", value), (element.tag, name, value[:50])
    policy = tree.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert not re.search(r"url\(|@import|fetch\(|https?://", (batch / "report.html").read_text("utf-8"))


def test_pictures_show_the_frame_and_the_fan(batch: Path) -> None:
    assert main(["report", str(batch)]) == 0
    pictures = {}
    for row in rows(parsed(batch / "report.html")):
        for image in row.findall(".//img"):
            data = base64.b64decode((image.get("src") or "").split(",")[1])
            pictures[row.get("data-name")] = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            shape = pictures[row.get("data-name")].shape
            assert (image.get("width"), image.get("height")) == (str(shape[1]), str(shape[0]))
    assert len(pictures) == 2  # nobody's and the failed one's have none
    alone = pictures.pop("partial.mkv")
    (both,) = pictures.values()
    assert both.shape[1] == alone.shape[1] + round(both.shape[0] * 960 / 720)
    left = both[:, : both.shape[1] - alone.shape[1] - 2].astype(int)
    assert (np.abs(left - (0, 200, 0)).mean(axis=(0, 1)) < 12).all()  # the overlay's picture and nothing of its 3D view
    assert alone.std() > 5  # somebody is drawn


def test_a_folder_of_result_files_alone(tmp_path: Path, figure: Callable, record: Callable) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    pose = figure(np.random.default_rng(1), 4)
    record(folder / "a.h5", {0: {"frame": np.arange(4), "pose": pose}}, 4)
    record(folder / "b.h5", {}, 2)
    with h5py.File(record(folder / "c.h5", {0: {"frame": np.arange(4), "pose": pose}}, 4), "r+") as file:
        del file.attrs["frames"]
    with h5py.File(record(folder / "d.h5", {0: {"frame": np.arange(4), "pose": pose}}, 4), "r+") as file:
        file["frames/status"][2] = 2
    (folder / "e.h5").write_text("not HDF5")
    with h5py.File(record(folder / "f.h5", {0: {"frame": np.arange(4), "pose": pose}}, 4), "r+") as file:
        del file["tracks/0/hypotheses"]
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    tree = parsed(tmp_path / "page.html")
    assert [row.get("data-status") for row in rows(tree)] == ["ok", "no person", "failed", "partial", "failed", "ok"]
    assert "incomplete" in words(rows(tree)[2])
    assert "1 bad frame:" in words(rows(tree)[3])
    assert "damaged" in words(rows(tree)[5])  # no picture, but a line
    assert rows(tree)[0].find(".//a").get("href") == "./out/a.h5"


def test_a_manifest_cannot_lead_out_of_the_folder(
    batch: Path, tmp_path: Path, figure: Callable, record: Callable
) -> None:
    record(tmp_path / "secret.h5", {0: {"frame": np.arange(2), "pose": figure(np.random.default_rng(1), 2)}}, 2)
    (batch / "linked.h5").symlink_to(tmp_path / "secret.h5")
    base = next(iter(manifest.read(batch).values()))
    paths = ("../secret.h5", str(tmp_path / "secret.h5"), "linked.h5", "deep/../../secret.h5", "x\0y", "gone.h5")
    manifest.rewrite(batch, [replace(base, input=p, outputs=(Output(p, 1, "0"),)) for p in paths])
    lines = (batch / manifest.NAME).read_bytes()
    odd = json.loads(lines.splitlines()[0]) | {
        "input": "odd",
        "frames": "many",
        "stages": [1],
        "seconds": None,
        "outputs": [],
    }
    (batch / manifest.NAME).write_bytes(lines + json.dumps(odd).encode() + b"\n{torn")
    assert main(["report", str(batch)]) == 0
    tree = parsed(batch / "report.html")
    assert not [a for a in tree.findall(".//tbody//a") if "secret" in (a.get("href") or "")]
    said = {row.get("data-name"): words(row) for row in rows(tree)}
    for path in paths[:4]:
        assert "outside the folder" in said[path]
    assert "is missing" in said["gone.h5"]
    assert "odd" in said


def test_the_size_is_bounded(batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = manifest.read(batch)["partial.mkv"]
    manifest.rewrite(batch, [replace(base, input=f"{n:03}.mp4") for n in range(30)])
    monkeypatch.setattr(report_page, "PICTURE_BYTES", 80_000)
    assert main(["report", str(batch)]) == 0
    tree = parsed(batch / "report.html")
    found = rows(tree)
    drawn = [bool(row.findall(".//img")) and bool(row.findall(f".//{_SVG}svg")) for row in found]
    assert 3 < sum(drawn) < 25
    assert drawn == sorted(drawn, reverse=True)
    assert "videos have no picture" in words(tree)
    rest = (batch / "report.html").stat().st_size - 80_000
    assert rest < 20_000 + 3_000 * len(found)


def test_charts_show_gaps_and_damage(tmp_path: Path, figure: Callable, record: Callable) -> None:
    seen = np.r_[0:10, 20:40]
    path = record(tmp_path / "a.h5", {0: {"frame": seen, "pose": figure(np.random.default_rng(1), 30)}}, 40)
    with h5py.File(path, "r+") as file:
        file["frames/status"][30] = 2
        file["tracks/0/joint_std"][15:] = 0.1  # from frame 25 on
    svg = ElementTree.fromstring(chart(digest(path)))
    (line,) = (p.get("d") for p in svg.iter("path") if p.get("class") == "line c0")
    pieces = [np.array(re.findall(r"([\d.]+) ([\d.]+)", piece), float) for piece in line.split("M")[1:]]
    assert [len(piece) for piece in pieces] == [10, 20]  # broken where nobody was seen
    zero, top = (float(p.get("d").split()[1].split("H")[0]) for p in list(svg.iter("path"))[0:3:2])
    height = (zero - np.concatenate(pieces)[:, 1]) / (zero - top) * 200
    assert np.allclose(height[:15], 50, atol=0.3)
    assert np.allclose(height[15:], 100, atol=0.3)
    marks = {p.get("class"): p.get("d") for p in svg.iter("path")}
    x = {kind: float(re.match(r"M(\d+)", marks[kind])[1]) for kind in ("bad", "nobody")}
    left, right = pieces[0][0, 0], pieces[1][-1, 0]
    assert x["bad"] == pytest.approx(left + 30 / 39 * (right - left), abs=3)
    assert x["nobody"] == pytest.approx(left + 10 / 39 * (right - left), abs=3)


def test_what_cannot_work(batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    for argv, code, said in (
        ([str(tmp_path / "missing")], 1, "is not a folder"),
        ([str(tmp_path / "empty")], 1, "There are no results"),
        ([str(batch), "-o", str(batch / "room.h5")], 2, "HTML"),
        ([str(batch), "-o", str(batch / "room.h5" / "a.html")], 1, "Cannot write"),
        ([str(batch), "-o", "x" * 5000], 1, "Cannot write"),
    ):
        assert main(["report", *argv]) == code
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1
    assert not (batch / "report.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_in_a_browser(batch: Path, tmp_path: Path) -> None:
    """The script runs under the page's own policy, sorts and filters, and nothing complains."""
    assert main(["report", str(batch)]) == 0
    address = (batch / "report.html").as_uri() + "#sort=-frames&hide=failed"
    done = subprocess.run(
        [str(CHROMIUM), *_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    tree = html5lib.parse(done.stdout, namespaceHTMLElements=False)
    assert tree.get("class") == "js"
    found = rows(tree)
    assert [row.get("data-frames") for row in found] == ["30", "20", "3", "0"]
    assert [row.get("hidden") is None for row in found] == [True, True, True, False]
    controls = tree.find(".//div[@class='controls']")
    assert controls.get("hidden") is None
    assert words(controls.find("span")) == "3 of 4 shown"
    assert tree.find(".//th[@data-key='frames']").get("aria-sort") == "descending"
