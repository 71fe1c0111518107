"""TensorFlow's V2 checkpoints ("tensor bundle") read with numpy alone.

A checkpoint PREFIX is PREFIX.index, a table from variable names to BundleEntryProto, and PREFIX.data-0000i-of-0000n,
the raw little-endian tensors (tensorflow/core/protobuf/tensor_bundle.proto, .../framework/types.proto).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import CheckpointError
from posepipe.training.import_checkpoint.crc32c import crc32c, unmask
from posepipe.training.import_checkpoint.sstable import DamagedError, read_table, varint

_DTYPES = {
    1: "f4",
    2: "f8",
    3: "i4",
    4: "u1",
    5: "i2",
    6: "i1",
    9: "i8",
    10: "?",
    17: "u2",
    19: "f2",
    22: "u4",
    23: "u8",
}
_FIX = "Give the checkpoint's PREFIX.index with its PREFIX.data-* beside it, downloaded anew if need be."


@dataclass(frozen=True)
class Entry:
    """Where a variable lies. dtype: numpy name, or "" for a type that is not read here. crc: unmasked CRC-32C."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Bundle:
    """The index of a checkpoint: variable names and where their values lie."""

    prefix: Path
    shards: int
    entries: dict[str, Entry]

    def read(self, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, NDArray]:
        """The values of the wanted variables. Raises CheckpointError for missing, short or altered data."""
        return {name: self._value(name, entry) for name, entry in self.entries.items() if wanted(name)}

    def _value(self, name: str, entry: Entry) -> NDArray:
        path = Path(f"{self.prefix}.data-{entry.shard:05d}-of-{self.shards:05d}")
        if not entry.dtype:
            raise CheckpointError(f"{name} in {self.prefix}.index has a type that posepipe does not read.", _FIX)
        count = 1
        for extent in entry.shape:
            count *= extent
        if count * np.dtype(entry.dtype).itemsize != entry.size:
            raise CheckpointError(f"{self.prefix}.index gives {name} {entry.size} bytes for {entry.shape}.", _FIX)
        try:
            there = path.stat().st_size - entry.offset
            if there < entry.size:
                raise CheckpointError(f"{path} is cut off: {name} lacks {entry.size - there} bytes.", _FIX)
            with open(path, "rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.size)
        except (OSError, ValueError, OverflowError) as error:  # also an offset that no file has
            raise CheckpointError(f"Cannot read {path} ({error}).", _FIX) from None
        if crc32c(data) != entry.crc:
            raise CheckpointError(f"{path} is damaged: the checksum of {name} does not match.", _FIX)
        return np.frombuffer(data, np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)


def open_bundle(file: Path) -> Bundle:
    """Read the index. file: PREFIX, PREFIX.index, PREFIX.data-*, or a folder with TensorFlow's `checkpoint` file.

    Raises CheckpointError for a file that is not an index or is damaged."""
    prefix = prefix_of(Path(file))
    index = Path(f"{prefix}.index")
    try:
        data = index.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: the name has a zero byte
        raise CheckpointError(f"Cannot read {index} ({error}).", _FIX) from None
    try:
        table = read_table(data)
        header = _fields(table.pop(b"", b""))
        shards = _number(header, 1)
        if _number(header, 2) != 0:
            raise DamagedError("it says that the numbers are big-endian, which posepipe does not read")
        entries = {key.decode(): _entry(value, shards) for key, value in table.items()}
    except (DamagedError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{index} is not a usable TensorFlow V2 index: {error}.", _FIX) from None
    return Bundle(prefix, shards, entries)


def prefix_of(file: Path) -> Path:
    """PREFIX of a checkpoint from any of the names that open_bundle takes. Raises CheckpointError."""
    if file.is_dir():
        try:
            text = (file / "checkpoint").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise CheckpointError(f"{file} is a folder without TensorFlow's `checkpoint` file.", _FIX) from None
        named = re.search(r'^model_checkpoint_path: "([^"]+)"', text, re.MULTILINE)
        if named is None:
            raise CheckpointError(f"{file / 'checkpoint'} names no checkpoint.", _FIX)
        return file / Path(named[1]).name
    return file.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", file.name))


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """A protocol buffer message as field number -> values (numbers, or the bytes of nested messages)."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == 0:
            value, at = varint(message, at)
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            if at + width > len(message):
                raise DamagedError("a fixed-width field is cut off")
            value = struct.unpack_from("<Q" if wire == 1 else "<I", message, at)[0]
            at += width
        elif wire == 2:
            length, at = varint(message, at)
            if at + length > len(message):
                raise DamagedError("a field is cut off")
            value = message[at : at + length]
            at += length
        else:
            raise DamagedError(f"a field has wire type {wire}")
        fields.setdefault(number, []).append(value)
    return fields


def _number(fields: dict[int, list[int | bytes]], field: int) -> int:
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise DamagedError(f"field {field} should be a number")
    return value


def _nested(fields: dict[int, list[int | bytes]], field: int) -> list[dict[int, list[int | bytes]]]:
    messages = []
    for value in fields.get(field, []):
        if not isinstance(value, bytes):
            raise DamagedError(f"field {field} should be a message")
        messages.append(_fields(value))
    return messages


def _entry(message: bytes, shards: int) -> Entry:
    """BundleEntryProto: dtype 1, shape 2 (dim 2 (size 1)), shard_id 3, offset 4, size 5, crc32c 6, slices 7."""
    fields = _fields(message)
    if 7 in fields:
        raise DamagedError("it holds partitioned variables, which posepipe does not read")
    shape = tuple(_number(d, 1) for s in _nested(fields, 2) for d in _nested(s, 2))
    shard = _number(fields, 3)
    if shard >= shards:
        raise DamagedError(f"it points to data file {shard} of {shards}")
    return Entry(
        _DTYPES.get(_number(fields, 1), ""),
        shape,
        shard,
        _number(fields, 4),
        _number(fields, 5),
        unmask(_number(fields, 6)),
    )
