"""Noise keys as the devices read them: 48 bytes per person (struct NoiseKey of noise.cu)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posepipe.noise import NoiseKey, stream_key

KEY_DTYPE = np.dtype(
    [
        ("key", "<u4", 2),
        ("track", "<u4"),
        ("unused", "<u4"),
        ("frame", "<u4", 2),
        ("following", "<u4", 2),
        ("here", "<f8"),
        ("there", "<f8"),
    ]
)


def pack(keys: Sequence[NoiseKey]) -> NDArray[np.void]:
    """(people,) of KEY_DTYPE. The hash of seed and source, and the turn's cosine and sine, are taken here, on the host,
    so that every device calculates with the same numbers."""
    packed = np.zeros(len(keys), KEY_DTYPE)
    for row, key in zip(packed, keys, strict=True):
        row["key"] = stream_key(key.seed, key.source)
        row["track"] = key.track & 0xFFFFFFFF
        row["frame"] = _words(key.frame)
        row["following"] = _words(key.frame + 1)
        row["here"], row["there"] = (math.cos(key.turn), math.sin(key.turn)) if key.turn else (1.0, 0.0)
    return packed


def _words(frame: int) -> tuple[int, int]:
    return frame & 0xFFFFFFFF, (frame >> 32) & 0xFFFFFFFF
