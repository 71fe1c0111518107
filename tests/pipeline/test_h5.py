"""The result file: what is written comes back, the bytes repeat, memory stays flat, failures leave nothing."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.errors import InputError, OutputError
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.sink.h5 import FORMAT_VERSION, HEADER, H5Writer, read_h5
from posepipe.skeleton import H36M_17


def header(hypotheses: int = 5) -> dict:
    text = {name: name for name in HEADER}
    numbers = {"width": 640, "height": 480, "fps": 29.97, "hypotheses": hypotheses, "steps": 0, "seed": 2**40}
    return {**text, **numbers, "joint_names": H36M_17.joints, "source": "Vidéo ☃.mp4", "camera": json.dumps({"fx": 1})}


def make_row(rng: np.random.Generator, hypotheses: int = 5) -> dict[str, np.ndarray]:
    return {
        "keypoints_2d": rng.normal(300, 100, (17, 2)).astype(np.float32),
        "confidence": rng.random(17, dtype=np.float32),
        "hypotheses": rng.normal(0, 0.4, (hypotheses, 17, 3)).astype(np.float32),
        "log_weights": rng.normal(-2, 1, hypotheses).astype(np.float32),
        "pose": rng.normal(0, 0.4, (17, 3)).astype(np.float32),
        "joint_std": rng.random(17, dtype=np.float32),
        "root": np.array([np.nan, 0.1, 3.0], np.float32),
    }


def write(path: Path, frames: int, hypotheses: int = 5, dtype: str = "float16", tracks: int = 2) -> dict[int, list]:
    rng = np.random.default_rng(7)
    written: dict[int, list] = {}
    with H5Writer(path, header(hypotheses), dtype) as out:
        for index in range(frames):
            assert out.frame(index / 30, index % 3) == index
            for track in range(tracks):
                if (index + track) % 4:
                    row = make_row(rng, hypotheses)
                    out.row(track, index, **row)
                    written.setdefault(track, []).append((index, row))
    return written


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_round_trip_over_several_chunks(tmp_path: Path, dtype: str) -> None:
    written = write(tmp_path / "a.h5", 900, dtype=dtype)
    recording = read_h5(tmp_path / "a.h5")
    expected_header = {**header(), "frames": 900, "format_version": FORMAT_VERSION, "units": "m"}
    assert recording.header == expected_header
    assert recording.header["joint_names"] == H36M_17.joints
    np.testing.assert_array_equal(recording.pts, np.arange(900) / 30)
    np.testing.assert_array_equal(recording.status, np.arange(900) % 3)
    assert list(recording.tracks) == [0, 1]
    for track, rows in written.items():
        record = recording.tracks[track]
        np.testing.assert_array_equal(record.frame, [index for index, _ in rows])
        for name in ("keypoints_2d", "log_weights", "pose", "joint_std", "root"):
            np.testing.assert_array_equal(getattr(record, name), np.stack([row[name] for _, row in rows]))
        np.testing.assert_array_equal(record.keypoint_confidence, np.stack([row["confidence"] for _, row in rows]))
        hypotheses = np.stack([row["hypotheses"] for _, row in rows])
        np.testing.assert_array_equal(record.hypotheses, hypotheses.astype(dtype))
        assert record.hypotheses.dtype == dtype
        inside = np.abs(hypotheses) < 1
        assert np.abs(record.hypotheses.astype(np.float64) - hypotheses)[inside].max() <= 0.00025


def test_layout_is_the_published_one(tmp_path: Path) -> None:
    """Read with plain h5py, as somebody without posepipe does."""
    write(tmp_path / "a.h5", 10)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        shapes = {}
        file.visititems(
            lambda name, item: shapes.update({name: (item.shape, str(item.dtype))} if hasattr(item, "shape") else {})
        )
        assert shapes == {
            "frames/pts": ((10,), "float64"),
            "frames/status": ((10,), "uint8"),
            **{
                f"tracks/{track}/{name}": ((rows, *shape), dtype)
                for track, rows in ((0, 7), (1, 8))
                for name, shape, dtype in (
                    ("frame", (), "int64"),
                    ("keypoints_2d", (17, 2), "float32"),
                    ("keypoint_confidence", (17,), "float32"),
                    ("hypotheses", (5, 17, 3), "float16"),
                    ("log_weights", (5,), "float32"),
                    ("pose", (17, 3), "float32"),
                    ("joint_std", (17,), "float32"),
                    ("root", (3,), "float32"),
                )
            },
        }  # fmt: skip
        assert file.attrs["units"] == "m"
        assert file.attrs["source"] == "Vidéo ☃.mp4"
        assert list(file.attrs["joint_names"]) == list(H36M_17.joints)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_interleaving_of_tracks_reads_back(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    frames = data.draw(st.lists(st.lists(st.integers(0, 2**31), max_size=3, unique=True), max_size=8))
    path = tmp_path_factory.mktemp("any") / "x.h5"
    with H5Writer(path, header(1)) as out:
        for index, ids in enumerate(frames):
            out.frame(float(index), int(not ids))
            for track in ids:
                row = make_row(np.random.default_rng([index, track]), 1)
                out.row(track, index, **row)
    recording = read_h5(path)
    assert len(recording.pts) == len(frames)
    expected = {track: [i for i, ids in enumerate(frames) if track in ids] for ids in frames for track in ids}
    assert {track: list(record.frame) for track, record in recording.tracks.items()} == expected
    for track, record in recording.tracks.items():
        for index, pose in zip(record.frame, record.pose, strict=True):
            np.testing.assert_array_equal(pose, make_row(np.random.default_rng([index, track]), 1)["pose"])


_WRITE_AND_HASH = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_h5 import write
from pathlib import Path
write(Path(sys.argv[2]), 700, hypotheses=int(sys.argv[3]))
print(hashlib.sha256(Path(sys.argv[2]).read_bytes()).hexdigest())
"""


def test_bytes_repeat_in_another_process_at_another_time(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", 700)
    command = [sys.executable, "-c", _WRITE_AND_HASH, str(Path(__file__).parent), str(tmp_path / "other.h5"), "5"]
    time.sleep(1.1)  # HDF5 time stamps count seconds
    other = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert other == hashlib.sha256((tmp_path / "a.h5").read_bytes()).hexdigest()
    command[-1] = "6"
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() != other


def test_memory_is_flat(tmp_path: Path) -> None:
    """Tracks that come and go: what is held does not grow with the frames already written."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    row = make_row(np.random.default_rng(0), 20)
    with H5Writer(tmp_path / "a.h5", header(20)) as out:
        for index in range(12_000):
            out.frame(index / 30, 0)
            out.row(index // 1500, index, **row)
            if index == 3_000:
                early = resident()
        assert resident() - early < 8e6, "9 000 more rows are 25 MB"
    assert sum(len(track.frame) for track in read_h5(tmp_path / "a.h5").tracks.values()) == 12_000


def test_a_caller_may_reuse_its_arrays(tmp_path: Path) -> None:
    row = make_row(np.random.default_rng(0))
    with H5Writer(tmp_path / "a.h5", header()) as out:
        for index in range(3):
            row["pose"][:] = index
            out.row(0, out.frame(index, 0), **row)
    np.testing.assert_array_equal(read_h5(tmp_path / "a.h5").tracks[0].pose[:, 0, 0], [0, 1, 2])


def test_an_exception_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", 3)
    before = (tmp_path / "a.h5").read_bytes()

    def interrupted() -> None:
        with H5Writer(tmp_path / "a.h5", header()) as out:
            out.frame(0.0, 0)
            assert len(list(tmp_path.iterdir())) == 2, "written beside the final name"
            assert (tmp_path / "a.h5").read_bytes() == before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert (tmp_path / "a.h5").read_bytes() == before


def test_wrong_shapes_and_headers_are_refused(tmp_path: Path) -> None:
    row = make_row(np.random.default_rng(0), hypotheses=4)
    with pytest.raises(ValueError, match="hypotheses must have shape"), H5Writer(tmp_path / "a.h5", header(5)) as out:
        out.row(0, 0, **row)
    with pytest.raises(ValueError, match="lacks width, seed"):
        H5Writer(tmp_path / "a.h5", {k: v for k, v in header().items() if k not in ("width", "seed")})
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.h5").mkdir()
    for place, why in (("file/a.h5", "not a folder"), ("folder.h5", "A folder of that name")):
        with pytest.raises(OutputError, match=why), H5Writer(tmp_path / place, header()):
            pass
    with pytest.raises(OutputError, match="Cannot write"), atomic_path("/proc/posepipe/a.h5"):
        pass


_FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_h5
from posepipe.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    test_h5.write(Path(sys.argv[2]), 3000, hypotheses=20)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 1000, 5_000, 100_000, 1_000_000, 6_500_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    """A limit on file size stands for the full disk: write() fails in the same way, only with another errno."""
    command = [sys.executable, "-c", _FULL_DISK, str(Path(__file__).parent), str(tmp_path / "a.h5"), str(limit)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    assert run.stderr == ""
    assert "File too large" in run.stdout
    assert run.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(InputError, match="does not exist"):
        read_h5(path)
    path.write_text("not hdf5")
    with pytest.raises(InputError, match="not a result file"):
        read_h5(path)
    with h5py.File(path, "w") as file:
        file.attrs["a"] = 1
    with pytest.raises(InputError, match="not one of posepipe"):
        read_h5(path)
    write(path, 20)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_h5(path)
    for name, value, match in (("format_version", FORMAT_VERSION + 1, "version 2"), ("frames", 19, "incomplete")):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value
        with pytest.raises(InputError, match=match):
            read_h5(path)
    odd = ("hypotheses", -1), ("hypotheses", 2**40), ("hypotheses", 7), ("more", 1j), ("more", h5py.Empty("f4"))
    for name, value in (*odd, ("more", np.void(b"ab")), (b"\xff", 1.0)):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value
        with pytest.raises(InputError, match="damaged"):
            read_h5(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file.attrs["frames"]
    with pytest.raises(InputError, match="incomplete"):
        read_h5(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["tracks/1/pose"]
    with pytest.raises(InputError, match="pose"):
        read_h5(path)
    path.write_bytes(whole)
    read_h5(path)
