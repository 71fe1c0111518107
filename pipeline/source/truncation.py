"""Whether a file is shorter than its container says: FFmpeg takes one cut between two blocks for a whole one."""

from __future__ import annotations

import struct
from pathlib import Path

_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
_UNKNOWN_RIFF = 0xFFFFFF00  # what recorders write that cannot go back to fill in the size, and above


def is_cut(path: Path) -> bool:
    """True for a Matroska or WebM file whose segment (RFC 9559, §5.1), or an AVI file whose RIFF chunk, ends after the
    file; False for all others, and where the size was never filled in. Raises OSError."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        (told,) = struct.unpack_from("<I", head, 4)
        return 0 < told < _UNKNOWN_RIFF and told + 8 > size
    if not head.startswith(_EBML):
        return False
    at, header = _length(head, 4)
    if header is None:
        return False
    at += header
    if head[at : at + 4] != _SEGMENT:
        return False
    at, segment = _length(head, at + 4)
    return segment is not None and at + segment > size


def _length(data: bytes, at: int) -> tuple[int, int | None]:
    """An EBML length (RFC 8794, §4) at a position, and the position behind it; None where all its bits are ones, which
    means unknown, and where there is none."""
    if at >= len(data) or not data[at]:
        return at, None
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return at + width, None if value == (1 << 7 * width) - 1 or at + width > len(data) else value
