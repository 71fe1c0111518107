from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posepipe.errors import CheckpointError
from posepipe.training.import_checkpoint.crc32c import crc32c
from posepipe.training.import_checkpoint.tf_bundle import open_bundle


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"a/w": (3, 4), "a/w/Adam": (3, 4), "a/b": (4,), "b/empty": (0, 2), "step": (), "b/long": (40, 37)}
    found = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    found["count"] = np.int64(7)
    found["half"] = random.standard_normal(5).astype(np.float16)
    found["flags"] = np.array([True, False])
    found["double"] = random.standard_normal((2, 2, 2))
    return found


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, np.ndarray], write_bundle: Callable[..., Path]
) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder / "model-12", variables)
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/them/model-12"\n')
    return folder


@pytest.mark.shared
@pytest.mark.parametrize("system", ["martinez", "mdn", "bmvc"])
def test_tensorflows_own_files(authors: Path, system: str) -> None:
    read = open_bundle(authors / system).read()
    with np.load(authors / system / "variables.npz") as expected:
        assert {name.replace("/", "__") for name in read} == set(expected.files)
        for name, value in read.items():
            truth = expected[name.replace("/", "__")]
            assert value.dtype == truth.dtype
            np.testing.assert_array_equal(value, truth)


@pytest.mark.parametrize("name", ["model-12", "model-12.index", "model-12.data-00000-of-00001", "model-12.meta", ""])
def test_every_way_of_naming_a_checkpoint(folder: Path, variables: dict[str, np.ndarray], name: str) -> None:
    read = open_bundle(folder / name).read()
    assert set(read) == set(variables)
    for key, value in read.items():
        assert value.dtype == np.asarray(variables[key]).dtype
        np.testing.assert_array_equal(value, variables[key])


def test_only_the_wanted_variables_are_read(folder: Path) -> None:
    assert set(open_bundle(folder).read(lambda name: name.startswith("a/"))) == {"a/w", "a/w/Adam", "a/b"}


@pytest.mark.parametrize(
    ("data", "crc"), [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"", 0)]
)
def test_crc_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@given(st.integers(0, 3000), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_crc_is_the_bit_by_bit_one(crc32c_by_bits: Callable[[bytes], int], length: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(length)
    expected = crc32c_by_bits(data)
    assert crc32c(data) == expected
    with mock.patch("posepipe.training.import_checkpoint.crc32c._LONG_FROM", 0):  # the lanes of large files
        assert crc32c(data) == expected


def copy(folder: Path, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    for file in folder.iterdir():
        shutil.copy(file, to)
    return to


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_found_or_harmless(
    folder: Path, variables: dict[str, np.ndarray], tmp_path: Path, data: st.DataObject
) -> None:
    """Flip bytes, cut off, or append: the reader gives the true values or a CheckpointError, never anything else."""
    place = copy(folder, tmp_path / "damaged")
    file = place / data.draw(st.sampled_from(["model-12.index", "model-12.data-00000-of-00001"]))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if kind == "flip":
            content[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del content[max(at, 1) :]
        else:
            content[at:at] = data.draw(st.binary(min_size=1, max_size=3))
    file.write_bytes(bytes(content))
    try:
        read = open_bundle(place / "model-12").read()
    except CheckpointError:
        return
    for name, value in variables.items():
        np.testing.assert_array_equal(read[name], value)


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.index").write_bytes(content + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb")
    with pytest.raises(CheckpointError, match="not a usable TensorFlow V2 index"):
        open_bundle(tmp_path / "x.index")


def test_missing_and_cut_data_are_named(folder: Path, tmp_path: Path) -> None:
    place = copy(folder, tmp_path / "copy")
    values = place / "model-12.data-00000-of-00001"
    values.write_bytes(values.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"cut off: \S+ lacks \d+ bytes"):
        open_bundle(place).read()
    values.unlink()
    with pytest.raises(CheckpointError, match="Cannot read"):
        open_bundle(place).read()
    (place / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match="without TensorFlow's `checkpoint` file"):
        open_bundle(place)
    with pytest.raises(CheckpointError, match=r"nowhere\.index"):
        open_bundle(tmp_path / "nowhere")


def test_a_large_index_with_many_blocks(
    tmp_path: Path, write_bundle: Callable[..., Path], crc32c_by_bits: Callable[[bytes], int]
) -> None:
    many = {f"layer_{i:03d}/weights": np.full((2,), i, np.int32) for i in range(300)}
    read = open_bundle(write_bundle(tmp_path / "m", many, block_entries=16, restart=16)).read()
    assert all((read[name] == value).all() for name, value in many.items())
