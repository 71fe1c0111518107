"""A writer of TensorFlow V2 checkpoints, written from the format's description and not from our reader."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

_TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}


def crc32c_by_bits(data: bytes) -> int:
    """The definition: one bit at a time."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def block(entries: list[tuple[bytes, bytes]], every: int) -> bytes:
    """Keys with shared prefixes left out but for one in `every`, then the restart points."""
    out, restarts, before = b"", [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0 if i % every == 0 else len(os.path.commonprefix([key, before]))  # noqa: RUF071 - bytes, not paths
        if i % every == 0:
            restarts.append(len(out))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return out + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def write_bundle(prefix: Path, variables: Mapping[str, np.ndarray], block_entries: int = 5, restart: int = 3) -> Path:
    """PREFIX.index and PREFIX.data-00000-of-00001, with several blocks."""
    data, rows = b"", [(b"", field(1, 1) + field(3, field(1, 1)))]
    for name, array in sorted(variables.items()):
        array = np.asarray(array)
        raw = array.tobytes()
        shape = b"".join(field(2, field(1, extent)) for extent in array.shape)
        entry = field(1, _TYPES[array.dtype.name]) + field(2, shape) + field(4, len(data)) + field(5, len(raw))
        rows.append((name.encode(), entry + varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c_by_bits(raw)))))
        data += raw
    table, handles = b"", []

    def put(content: bytes) -> bytes:
        nonlocal table
        handle = varint(len(table)) + varint(len(content))
        table += content + b"\0" + struct.pack("<I", masked(crc32c_by_bits(content + b"\0")))
        return handle

    for start in range(0, len(rows), block_entries):
        part = rows[start : start + block_entries]
        handles.append((part[-1][0] + b"~", put(block(part, restart))))
    meta, index = put(block([], 1)), put(block(handles, 1))
    table += (meta + index).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    Path(f"{prefix}.index").write_bytes(table)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    return prefix


@pytest.fixture(name="write_bundle", scope="session")
def _write_bundle() -> Callable[..., Path]:
    return write_bundle


@pytest.fixture(name="crc32c_by_bits", scope="session")
def _crc32c_by_bits() -> Callable[[bytes], int]:
    return crc32c_by_bits


@pytest.fixture(scope="session")
def authors() -> Path:
    """The folder of data made with the authors' own networks; skips where it is not."""
    shared = os.environ.get("POSEPIPE_SHARED", Path(__file__).resolve().parents[3] / "shared")
    folder = Path(shared) / "fixtures"
    if not folder.is_dir():
        pytest.skip("needs ../shared/fixtures")
    return folder


# H36M-17, metres, y up: a person with the arms out, facing +z
_T_POSE = np.array(
    [
        *((0, 0.9, 0), (-0.1, 0.9, 0), (-0.1, 0.5, 0.02), (-0.1, 0.1, 0), (0.1, 0.9, 0), (0.1, 0.5, 0.03)),
        *((0.1, 0.1, 0), (0, 1.1, 0), (0, 1.35, 0), (0, 1.5, 0.08), (0, 1.6, 0), (0.2, 1.35, 0), (0.5, 1.35, 0)),
        *((0.75, 1.35, 0), (-0.2, 1.35, 0), (-0.5, 1.35, 0), (-0.75, 1.35, 0)),
    ]
)


@pytest.fixture(name="people", scope="session")
def _people() -> Callable[[int, int], np.ndarray]:
    """(count, seed) -> (count, 17, 3) float32 people in somewhat different poses, standing about."""

    def people(count: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        yaw = rng.uniform(-np.pi, np.pi, count)
        pose = _T_POSE + rng.normal(0, 0.04, (count, 17, 3))
        turn = np.zeros((count, 3, 3))
        turn[:, 0, 0], turn[:, 2, 2], turn[:, 1, 1] = np.cos(yaw), np.cos(yaw), 1
        turn[:, 0, 2], turn[:, 2, 0] = np.sin(yaw), -np.sin(yaw)
        walked = rng.uniform(-1, 1, (count, 1, 3)) * [1, 0, 1]
        return (pose @ turn + walked).astype(np.float32)

    return people
