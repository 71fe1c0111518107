"""The sorted table of LevelDB (doc/table_format.md), as far as TensorFlow's checkpoint index uses it: no compression,
no filters. Read whole; every length is checked before it is used."""

from __future__ import annotations

import struct

from posepipe.training.import_checkpoint.crc32c import crc32c, unmask

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # compression type and masked CRC behind each block


class DamagedError(ValueError):
    """The bytes are not what they should be; the message completes 'the file is damaged: ...'."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 number of at most 64 bits at a position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise DamagedError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise DamagedError("a number has too many bytes")


def _block(data: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER > len(data):
        raise DamagedError("a block reaches past the end")
    compression, stored = struct.unpack_from("<BI", data, end)
    if crc32c(data[offset : end + 1]) != unmask(stored):
        raise DamagedError("the checksum of a block does not match")
    if compression != 0:
        raise DamagedError(f"a block is compressed (type {compression}), which TensorFlow's writer does not do")
    return data[offset:end]


def _entries(block: bytes) -> list[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise DamagedError("a block is too short")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise DamagedError("a block has more restart points than bytes")
    entries, key, at = [], b"", 0
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise DamagedError("an entry reaches past its block")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        entries.append((key, block[at : at + length]))
        at += length
    return entries


def read_table(data: bytes) -> dict[bytes, bytes]:
    """All keys and values of a table. Raises DamagedError."""
    if len(data) < _FOOTER:
        raise DamagedError(f"{len(data)} bytes are too few")
    if struct.unpack_from("<Q", data, len(data) - 8)[0] != _MAGIC:
        raise DamagedError("it does not end as a table does")
    footer = data[len(data) - _FOOTER : len(data) - 8]
    at = 0
    for _ in range(2):  # the handle of the meta index, which is empty here
        _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, at = varint(footer, at)
    table: dict[bytes, bytes] = {}
    for _, handle in _entries(_block(data, offset, size)):
        start, after = varint(handle, 0)
        length, _ = varint(handle, after)
        table.update(_entries(_block(data, start, length)))
    return table
