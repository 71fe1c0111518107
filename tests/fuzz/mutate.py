"""Damage for files: what bad disks, broken copies, careless editors and bad programs do to them.

Every function takes a `random.Random` and gives new bytes; the same generator state gives the same bytes.
"""

from __future__ import annotations

import copy
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

# Numbers at which length fields, counters and loops go wrong.
_NUMBERS = (
    0, 1, 2, 3, 7, 8, 9, 127, 128, 255, 256, 257, 4096, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
    2**32, 2**40, 2**63 - 1, 2**64 - 1,
)  # fmt: skip
_WORDS = (
    b"0", b"-1", b"1", b"2", b"1e308", b"-1e308", b"1e-320", b"1e999", b"nan", b"inf", b"-inf", b"NaN", b"2147483648",
    b"99999999999999999999999", b"", b"x", b"true", b"null", b"0x10", b"1_000", b"\xc3\xa9", b"\xff\xfe", b"\x00", b"{",
    b"}", b"\xd9\xa3", b"1.5.2", b"- 1", b"\r\n", b"#", b"'", b'"',
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**40, 0.5, -0.0, 1e308, -1e308, 1e-320, float("nan"),
    float("inf"), "", "x", "0", "../../x", "/etc/passwd", "a\0b", "é\U0001f600", "\ud800", "x" * 5000, [], {}, [[]],
    [None], [1, 2, 3], {"a": 1}, {"": []},
)  # fmt: skip
_NUMBER_IN_TEXT = re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


def damage(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """One to four of the operations below, one after the other. others: files to take pieces from."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        rng.choice(_OPERATIONS)(out, rng, others)
    return bytes(out)


def _at(out: bytearray, rng: random.Random) -> int:
    """A position; headers and footers, which are short, are as likely as all the rest."""
    if not out:
        return 0
    near = min(len(out), 512)
    return rng.choice((rng.randrange(len(out)), rng.randrange(near), len(out) - 1 - rng.randrange(near)))


def _length(out: bytearray, rng: random.Random) -> int:
    return max(1, int(len(out) ** rng.random()))


def _flip_bits(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 5, 20, 400))):
        if out:
            out[_at(out, rng)] ^= 1 << rng.randrange(8)


def _set_bytes(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if out:
            out[_at(out, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _truncate(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    del out[rng.choice((_at(out, rng), rng.randrange(len(out) + 1))) :]


def _fill(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start, count = _at(out, rng), _length(out, rng)
    out[start : start + count] = bytes([rng.choice((0, 0, 0xFF, rng.randrange(256)))]) * len(out[start : start + count])


def _delete(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = _at(out, rng)
    del out[start : start + _length(out, rng)]


def _repeat(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = _at(out, rng)
    piece = out[start : start + min(_length(out, rng), 2000)]
    out[start:start] = piece * rng.choice((1, 1, 2, 20))


def _splice(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    source = rng.choice(others) if others else bytes(out)
    if not source:
        return
    first = rng.randrange(len(source))
    piece, start = source[first : first + _length(bytearray(source), rng)], _at(out, rng)
    out[start : start + rng.choice((0, len(piece)))] = piece


def _number(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A length field: a whole number of 1, 2, 4 or 8 bytes, in either order, set or moved a little."""
    width, order = rng.choice((1, 2, 4, 4, 8)), rng.choice("<>")
    start = _at(out, rng)
    start -= start % rng.choice((1, width))
    if start + width > len(out):
        return
    kind = order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width]
    (before,) = struct.unpack_from(kind, out, start)
    after = rng.choice((rng.choice(_NUMBERS), before + rng.choice((-1, 1, 2, -8, 8)), before * 2))
    struct.pack_into(kind, out, start, after % 2 ** (8 * width))


def _number_in_text(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    found = list(_NUMBER_IN_TEXT.finditer(out, _at(out, rng) // 2))[:50]
    if found:
        match = rng.choice(found)
        out[match.start() : match.end()] = rng.choice(_WORDS)


def _word(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    start = _at(out, rng)
    out[start:start] = rng.choice(_WORDS)


def _line(out: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """Of text: a line is lost, doubled or moved."""
    lines = bytes(out).split(b"\n")
    if len(lines) < 3:
        return
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(3)
    if kind == 0:
        del lines[first]
    elif kind == 1:
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    out[:] = b"\n".join(lines)


_OPERATIONS: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    _flip_bits, _flip_bits, _set_bytes, _truncate, _fill, _delete, _repeat, _splice, _number, _number, _number_in_text,
    _word, _line,
)  # fmt: skip


def json_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with one to three of its parts replaced, removed, renamed or added."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _json_once(value, rng)
    return value


def _json_once(value: Any, rng: random.Random) -> Any:
    holders = list(_holders(value))
    if not holders or rng.random() < 0.02:
        return copy.deepcopy(rng.choice(_VALUES))
    holder, key = rng.choice(holders)
    action = rng.random()
    if action < 0.6:
        holder[key] = copy.deepcopy(rng.choice(_VALUES))
    elif action < 0.75:
        del holder[key]
    elif isinstance(holder, dict):
        name = rng.choice(("x", "", str(key).upper(), rng.choice(list(holder))))
        holder[name] = holder.pop(key)
    else:
        holder.append(holder[key])
    return value


def _holders(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(pairs):
        yield value, key
        yield from _holders(item)


def json_text(data: bytes, rng: random.Random) -> bytes:
    """A JSON text, damaged as a value; now and then nested deeper than any reader likes."""
    if rng.random() < 0.01:
        return b"[" * 100_000 + b"]" * 100_000
    return json.dumps(json_value(json.loads(data), rng)).encode("utf-8", "surrogatepass")


def zip_members(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A zip archive, the members of which are damaged and stored with checksums that fit them again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(rng.choice((1, 1, 2))):
        if members:
            index = rng.randrange(len(members))
            name, content = members[index]
            action = rng.random()
            if action < 0.8:
                members[index] = (name, damage(content, rng, others))
            elif action < 0.87:
                del members[index]
            else:
                odd = rng.choice(("", "../" + name, "/tmp/" + name, name.upper(), "x.npy", "a/b/"))
                members[index] = (odd, content)
    target = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(target, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name or "x", content)
    return target.getvalue()


def safetensors_header(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose JSON header, or the JSON text in its metadata, is damaged as a value."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    metadata = header.get("__metadata__", {})
    if "posepipe" in metadata and rng.random() < 0.6:
        damaged = json_value(json.loads(metadata["posepipe"]), rng)
        metadata["posepipe"] = json.dumps(damaged)
    else:
        header = json_value(header, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + data[8 + size :]
