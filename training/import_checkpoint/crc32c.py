"""CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720, appendix B.4) in numpy, fast enough for tens of
megabytes: the bytes are cut into lanes that are reduced together, and the lanes are then joined by linearity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = np.uint32(0x82F63B78)
_LANE = 1024  # bytes; long enough that joining lanes one by one costs nothing
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


def _lane_shift() -> list[list[int]]:
    """What a lane of zero bytes does to a state, as one table per byte of the state (the map is linear over GF(2))."""
    state = np.array([byte << shift for shift in (0, 8, 16, 24) for byte in range(256)], dtype=np.uint32)
    for _ in range(_LANE):
        state = _advance(state, 0)
    tables: list[list[int]] = state.reshape(4, 256).tolist()
    return tables


_SHIFT = _lane_shift()


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
    lanes = -(-len(given) // _LANE)
    padded = np.zeros(lanes * _LANE, dtype=np.uint8)
    start = len(padded) - len(given)
    padded[start:] = given
    padded[start : start + 4] ^= 0xFF
    columns = np.ascontiguousarray(padded.reshape(lanes, _LANE).T)
    states = np.zeros(lanes, dtype=np.uint32)
    for column in columns:
        states = _advance(states, column)
    a, b, c, d = _SHIFT
    total = 0
    for lane in states.tolist():
        total = a[total & 0xFF] ^ b[total >> 8 & 0xFF] ^ c[total >> 16 & 0xFF] ^ d[total >> 24] ^ lane
    return total ^ _ONES


def unmask(stored: int) -> int:
    """The CRC behind a masked one (LevelDB, doc/log_format: masked so that a CRC of a CRC is not degenerate)."""
    rotated = (stored - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF
