"""CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720, appendix B.4) in numpy, fast enough for tens of
megabytes: the bytes are cut into lanes that are reduced together, and the lanes are then joined by linearity."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = np.uint32(0x82F63B78)
# Bytes of a lane: every byte is a call of numpy's, every lane a round of Python's.
_SHORT, _LONG, _LONG_FROM = 64, 1024, 1 << 20
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


def _byte_table() -> NDArray[np.uint32]:
    """State after one byte from state 0, for each byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & np.uint32(1), (table >> np.uint32(1)) ^ _POLYNOMIAL, table >> np.uint32(1))
    return table


_TABLE = _byte_table()


def _advance(state: NDArray[np.uint32], column: NDArray[np.uint8] | int) -> NDArray[np.uint32]:
    """Feed one byte to every state."""
    return _TABLE[(state ^ column) & np.uint32(0xFF)] ^ (state >> np.uint32(8))


@lru_cache
def _lane_shift(lane: int) -> list[list[int]]:
    """What a lane of zero bytes does to a state, as one table per byte of the state (the map is linear over GF(2))."""
    state = np.array([byte << shift for shift in (0, 8, 16, 24) for byte in range(256)], dtype=np.uint32)
    for _ in range(lane):
        state = _advance(state, 0)
    tables: list[list[int]] = state.reshape(4, 256).tolist()
    return tables


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C of the bytes."""
    given = np.frombuffer(data, dtype=np.uint8)
    if len(given) < 4:
        state = np.full(1, _ONES, dtype=np.uint32)
        for byte in given:
            state = _advance(state, int(byte))
        return int(state[0]) ^ _ONES
    # Starting from state 0, leading zeros change nothing, so the first lane can be filled up in front. The initial
    # state of ones is the same as inverting the first four bytes.
    lane = _LONG if len(given) >= _LONG_FROM else _SHORT
    lanes = -(-len(given) // lane)
    padded = np.zeros(lanes * lane, dtype=np.uint8)
    start = len(padded) - len(given)
    padded[start:] = given
    padded[start : start + 4] ^= 0xFF
    columns = np.ascontiguousarray(padded.reshape(lanes, lane).T)
    states = np.zeros(lanes, dtype=np.uint32)
    for column in columns:
        states = _advance(states, column)
    a, b, c, d = _lane_shift(lane)
    total = 0
    for own in states.tolist():
        total = a[total & 0xFF] ^ b[total >> 8 & 0xFF] ^ c[total >> 16 & 0xFF] ^ d[total >> 24] ^ own
    return total ^ _ONES


def unmask(stored: int) -> int:
    """The CRC behind a masked one (LevelDB, doc/log_format: masked so that a CRC of a CRC is not degenerate)."""
    rotated = (stored - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF
