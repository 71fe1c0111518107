"""What fuzzing has found, each by the smallest file that shows it: one clear sentence where something else was."""

import io
import json
import os
import signal
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from posepipe import safe_h5
from posepipe.errors import CheckpointError, EngineError, InputError, PosepipeError
from posepipe.intrinsics_file import from_file
from posepipe.lifters.checkpoint import Checkpoint, parse
from posepipe.pipeline import manifest
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.safe_npz import read_arrays, read_npz
from posepipe.training.data.build import acclaim_clips
from posepipe.training.data.motion import load_motion
from posepipe.training.data.positions import read_positions
from posepipe.training.detector_noise import load_table
from posepipe.trt_build.engine.sidecar import digest_of, read_sidecar
from tests.fuzz.hdf5_files import build_motion, build_recording
from tests.fuzz.text_files import build_sidecar


def test_errors_are_one_line_of_bearable_length():
    error = PosepipeError("first\nsecond " + "x" * 9000, "Do this.")
    assert str(error).startswith("first second xx")
    assert str(error).endswith("Do this.")
    assert len(str(error)) < 1100
    assert "\n" not in str(error)


@pytest.fixture
def recording(tmp_path):
    build_recording(tmp_path)
    read_h5(tmp_path / "one.h5")
    return tmp_path / "one.h5"


@pytest.mark.parametrize(("ends", "says"), [("loop", "does not come back"), ("abort", "crashes over")])
def test_a_library_that_hangs_or_crashes_over_a_file_is_one_sentence(recording, monkeypatch, ends, says):
    def walk(path, whole):
        os.abort() if ends == "abort" else signal.raise_signal(signal.SIGXCPU)

    monkeypatch.setattr(safe_h5, "_walk", walk)
    os.utime(recording)  # so that it is looked at again
    with pytest.raises(InputError, match=says):
        read_h5(recording)


@pytest.mark.parametrize("what", [h5py.AttributeManager, h5py.Group])
def test_a_file_whose_contents_cannot_be_listed_is_asked_for_none_of_them(recording, monkeypatch, what):
    """Asked for an attribute by name, the library may never come back, though it refuses to list them."""

    def listed(self):
        raise RuntimeError("ran off end of input buffer while decoding")

    def asked(self, name, *more):
        raise AssertionError("it is asked for all the same")

    monkeypatch.setattr(what, "__iter__", listed)
    monkeypatch.setattr(what, "get", asked)
    os.utime(recording)
    with pytest.raises(InputError, match="what it holds cannot be listed"):
        read_h5(recording)


@pytest.mark.parametrize(
    "edit",
    [
        lambda f: f["tracks"].move("1", "x"),
        lambda f: f["tracks"].move("1", "١"),
        lambda f: f.attrs.__setitem__("format_version", np.zeros(1, [("a", "i4")])),
        lambda f: f.attrs.__setitem__("fps", "fast"),
        lambda f: f.attrs.__setitem__("joint_names", 3),
        lambda f: (f.__delitem__("frames/pts"), f.create_group("frames/pts")),
        lambda f: (f.__delitem__("frames/pts"), f.__setitem__("frames/pts", "text")),
        lambda f: (f.__delitem__("tracks/0/pose"), f.__setitem__("tracks/0/pose", np.zeros((5, 17)))),
        lambda f: f["tracks/0"].attrs.__setitem__("scale", np.zeros(2)),
    ],
)
def test_hdf5_of_other_kinds(recording, edit):
    with h5py.File(recording, "r+") as file:
        edit(file)
    with pytest.raises(InputError):
        read_h5(recording)


@pytest.mark.parametrize(
    "edit",
    [
        lambda f: f.attrs.__setitem__("joint_names", 5),
        lambda f: f.attrs.__setitem__("version", "one"),
        lambda f: f["clips/S1_walk"].attrs.__setitem__("split", 3),
        lambda f: f["clips/S1_walk"].attrs.__setitem__("fps", np.zeros(2)),
        lambda f: f["clips"].__setitem__("more", np.zeros(2)),
    ],
)
def test_motion_of_other_kinds(tmp_path, edit):
    build_motion(tmp_path)
    with h5py.File(tmp_path / "motion.h5", "r+") as file:
        edit(file)
    with pytest.raises(InputError):
        load_motion(tmp_path / "motion.h5")


def _npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def _npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "member",
    [
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,"),  # tokenize.TokenError
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }", bytes(8)),  # 800 GB
        _npy("{'descr': '|S0', 'fortran_order': False, 'shape': (9999999999,), }"),  # numpy makes a byte of each
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
        b"\x93NUMPY\x09\x00",
    ],
)
def test_npz_members(tmp_path, member):
    path = _npz(tmp_path / "a.npz", x=member)
    for read in (lambda p: read_npz(p, "A hint."), lambda p: read_arrays(p, "A hint."), read_positions, load_table):
        with pytest.raises(InputError):
            read(path)


def test_a_pickle_that_remembers_the_billionth_thing(tmp_path):
    head = _npy("{'descr': '|O', 'fortran_order': False, 'shape': (), }")
    path = _npz(tmp_path / "a.npz", x=head + b"\x80\x02]r\x00\x00\x00\x40.")
    with pytest.raises(InputError, match="thing number 1073741824"):
        read_npz(path, "A hint.")


def test_archives_with_damaged_data(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("subjects/02/02.asf", "text " * 500)
        archive.writestr("subjects/02/02_01.amc", "text " * 500)
    data = bytearray(buffer.getvalue())
    start = data.index(b"02.asf") + 6
    for at in range(start, start + 12):
        data[at] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InputError, match="Cannot read motion"):
        acclaim_clips(tmp_path / "a.zip")


def test_lines_and_texts_without_end(tmp_path):
    entry = manifest.Entry("a", None, "s", manifest.OK, outputs=(manifest.Output("p", 7, "h"),))
    assert manifest.parse(entry.line().replace(b'"bytes": 7', b'"bytes": 1e999')) is None
    for name in ("a.json", "a.yaml"):
        (tmp_path / name).write_text("[" * 100_000)
        with pytest.raises(InputError):
            from_file(tmp_path / name, 640, 480)


def test_a_focal_length_that_no_lens_has(tmp_path):
    (tmp_path / "a.json").write_text('{"fx": 1e-320, "fy": 1000, "cx": 320, "cy": 240, "width": 640, "height": 480}')
    with pytest.raises(InputError, match="field of view"):
        from_file(tmp_path / "a.json", 640, 480)


@pytest.mark.parametrize(
    "change",
    [{"network": []}, {"hypotheses": "5"}, {"hypotheses": 10**12}, {"noise_shape": [1.5]}, {"steps": True},
     {"residual_std": ["a"]}, {"lifter": None}, {"noise_shape": 3}, {"network": {"width": -1}},
     {"network": {"width": 2**31}}, {"network": {"lifter_network": {"blocks": 101}}}, {"network": {"joints": [2**62]}}],
)  # fmt: skip
def test_headers_of_checkpoints(change):
    header = json.loads(Checkpoint("mdn", {}, "person", "c", (49,), 5).to_json())
    parse(json.dumps(header), "here")
    with pytest.raises(CheckpointError, match="header of here"):
        parse(json.dumps(header | change), "here")


@pytest.mark.parametrize("change", [{"checkpoint_sha256": {}}, {"persons": "4"}, {"shapes": []}, {"gate": 3}])
def test_side_cars_with_the_right_hash(tmp_path, change):
    build_sidecar(tmp_path)
    data = json.loads((tmp_path / "a.json").read_text()) | change
    del data["sidecar_sha256"]
    (tmp_path / "a.json").write_text(json.dumps(data | {"sidecar_sha256": digest_of(data)}))
    with pytest.raises(EngineError):
        read_sidecar(tmp_path / "a.json")


def test_states_and_tensorflows_folders(tmp_path):
    pytest.importorskip("torch")
    from safetensors.numpy import save

    from posepipe.training.import_checkpoint.tf_bundle import open_bundle
    from posepipe.training.state import FORMAT, VERSION, load_state

    good = {"format": FORMAT, "version": VERSION, "step": 3, "config": {}, "scalars": {}}
    for change in ({"step": "\ud800"}, {"step": {}}, {"config": 1.5}, {"scalars": None}, {"step": -1}):
        text = json.dumps(good | change)
        (tmp_path / "run.state").write_bytes(save({"a": np.zeros(2)}, metadata={"posepipe": text}))
        with pytest.raises(InputError, match="damaged"):
            load_state(tmp_path / "run.state", {})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "a\0b"\n')
    with pytest.raises(CheckpointError, match="Cannot read"):
        open_bundle(tmp_path)


def test_digits_that_are_no_numbers(capsys):
    """'²'.isdigit() is true and int('²') an error: frame numbers of motions, webcams, cameras of detections."""
    from posepipe.__main__ import main
    from posepipe.pipeline.source.choose import is_live
    from posepipe.training.data.asfamc import read_amc, read_asf
    from tests.training.test_asfamc import AMC, ASF

    with pytest.raises(InputError, match="unknown bone '²'"):
        read_amc(AMC.replace("\n2\n", "\n²\n"), read_asf(ASF))
    assert not is_live("²")
    assert main(["run", "²"]) == 1
    assert "² does not exist" in capsys.readouterr().err


def test_a_text_of_four_gigabytes_in_a_file_of_pytorch(tmp_path):
    """Python makes room for what is asked of a file before it reads."""
    torch = pytest.importorskip("torch")
    import subprocess
    import sys

    path = tmp_path / "old.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    at = data.index(b"X") + 1  # BINUNICODE, then the length of the text
    path.write_bytes(data[:at] + (2**32 - 1).to_bytes(4, "little") + data[at + 4 :])
    script = (
        "import resource, sys\n"
        "from posepipe.lifters.authors import read_pth\n"
        "from posepipe.errors import CheckpointError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), -1))\n"
        "try:\n    read_pth(sys.argv[1])\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120)
    assert "cannot be read as a PyTorch file" in done.stdout, done.stderr
    assert "MemoryError" not in done.stdout
