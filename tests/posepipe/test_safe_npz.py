"""What a pickle may ask for: numpy's arrays and plain containers. Everything else is refused before it is called."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posepipe.errors import InputError
from posepipe.safe_npz import read_npz


class Creates:
    """Unpickled by pickle itself, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def write_pickled(path: Path, pickled: bytes) -> Path:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("positions_3d.npy", head.getvalue() + pickled)
    return path


def test_nested_arrays_come_back_as_numpy_itself_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tree = {
        "S1": {"Walking 1": rng.normal(size=(4, 32, 3)).astype(np.float32), "views": [rng.normal(size=(3, 2))] * 2},
        "odd": np.asfortranarray(rng.normal(size=(2, 3))).astype(">f8"),
        "n": (np.float32(1.5), np.int64(3), True, None, "x"),
        "empty": np.zeros((0, 3)),
    }
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(3), np.arange(4)]
    np.savez_compressed(tmp_path / "a.npz", tree=tree, ragged=ragged, plain=np.arange(5), text=np.array(["a", "bc"]))
    got = read_npz(tmp_path / "a.npz", "hint")
    np.testing.assert_equal(got["tree"], tree)
    assert got["tree"]["n"][0].dtype == np.float32
    np.testing.assert_array_equal(got["ragged"][1], np.arange(4))
    np.testing.assert_array_equal(got["plain"], np.arange(5))
    assert list(got["text"]) == ["a", "bc"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_every_protocol_and_the_names_of_numpy_2(tmp_path: Path, protocol: int) -> None:
    value = np.array({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "s": np.float64(2)}, object)
    pickled = pickle.dumps(value, protocol)
    assert b"numpy.core" in pickled
    if protocol < 4:  # names are lines of text there, so they can grow
        pickled = pickled.replace(b"numpy.core", b"numpy._core")
    got = read_npz(write_pickled(tmp_path / "a.npz", pickled), "hint")["positions_3d"]
    np.testing.assert_array_equal(got["a"], [[0, 1, 2], [3, 4, 5]])
    assert got["s"] == 2


def test_a_malicious_pickle_is_refused_and_nothing_happens(tmp_path: Path) -> None:
    victim = tmp_path / "made"
    for number, evil in enumerate(({"S1": Creates(victim)}, [np.arange(3), Creates(victim)])):
        np.savez(tmp_path / f"{number}.npz", positions_3d=np.array({"x": evil}, object))
        with pytest.raises(InputError, match=r"asks for '_?io\.open'"):
            read_npz(tmp_path / f"{number}.npz", "hint")
        assert not victim.exists()
    with np.load(tmp_path / "0.npz", allow_pickle=True) as trusting:
        trusting["positions_3d"]
    assert victim.exists(), "the attack is real: numpy's own reader runs it"


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nlist\n(I0\ntS'b'\ntR.",
        b"cnumpy\ndtype\n(S'f4,f4'\ntR.",
        b"cnumpy\nndarray\n.",
        b"cnumpy\nndarray\n(I1000000000000\ntR.",
        b"(lp0\ng0\na.",  # a list that holds itself
        b"(dp0\nI1\ng0\n",
        b"\x80\x04",
        b"",
    ],
)
def test_other_pickles_end_in_one_sentence(tmp_path: Path, pickled: bytes) -> None:
    with pytest.raises(InputError):
        read_npz(write_pickled(tmp_path / "a.npz", pickled), "hint")


def test_a_shape_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    """numpy's C code would read beyond the list of an array of objects."""
    for array in (np.arange(3.0), np.array([None, "a", 1], object)):
        pickled = pickle.dumps(array, 2)
        assert pickled.count(b"K\x03\x85") == 1
        with pytest.raises(InputError, match="another size"):
            read_npz(write_pickled(tmp_path / "a.npz", pickled.replace(b"K\x03\x85", b"K\x7f\x85")), "hint")


def test_missing_truncated_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"There is no file .* get it there"):
        read_npz(path, "get it there")
    np.savez_compressed(path, positions_3d=np.array({"a": np.random.default_rng(0).normal(size=500)}, object))
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="Cannot read"):
            read_npz(path, "hint")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(InputError, match="Cannot read"):
        read_npz(path, "hint")
    with pytest.raises(InputError, match="Cannot read"):
        read_npz(Path(os.devnull), "hint")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("how", ["plain", "array", "scalar"])
def test_numbers_that_are_no_characters(tmp_path: Path, order: str, how: str) -> None:
    """Found by 100,000 damaged files: Python ends with a SystemError over such a text."""
    text = np.frombuffer(np.array([97, 0x110000], order + "u4").tobytes(), order + "U1")
    if how == "plain":
        np.savez(tmp_path / "a.npz", names=text)
        path = tmp_path / "a.npz"
    else:
        pickled = pickle.dumps(np.array(["a", "b"], order + "U1") if how == "array" else np.str_("b"), 2)
        good = np.array("b", (order if how == "array" else "<") + "U1").tobytes()
        bad = np.array([0x110000], (order if how == "array" else "<") + "u4").tobytes()
        # protocol 2 writes bytes as text in UTF-8, which cannot hold every byte as it is
        plain, wrong = (b.decode("latin1").encode() for b in (good, bad))
        assert plain in pickled
        at = pickled.rindex(plain)
        pickled = pickled[:at] + wrong + pickled[at + len(plain) :]
        path = write_pickled(tmp_path / "a.npz", pickled)
    with pytest.raises(InputError, match="character number 1114112"):
        read_npz(path, "hint")
