"""Counter-based noise: the value depends only on (seed, source, frame, track, position), never on order or threads.

Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11, §4.3). The 64-bit key is a
hash of seed and source; the counter words are (block, frame low, frame high, track). Word w of block b is element
4 b + w of the stream, so the first elements stay when more are drawn: hypothesis 3 of 5 is hypothesis 3 of 200.

Drawn anew for every frame, hypothesis 3 of two neighbouring frames have nothing to do with each other. `held_key` turns
the noise slowly instead, and because samplers are continuous in it, hypothesis 3 goes on where it was.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@dataclass(frozen=True)
class NoiseKey:
    """Names one noise tensor. source: a string that identifies the input (content hash of a file, URL of a stream).

    frame: the number of the tensor in its track: a frame's own number, or that of the stretch of time in which noise is
    held (`held_key`). turn: radians, how far the tensor has turned from `frame`'s (0) to the next one's (pi/2)."""

    seed: int
    source: str
    frame: int
    track: int
    turn: float = 0.0


def held_key(seed: int, source: str, seconds: float, track: int, refresh: float) -> NoiseKey:
    """The noise of a person at a time, moving slowly: every `refresh` seconds it has become another tensor, and on the
    way it turns from one to the next on the circle through both. So it is standard normal at every moment, changes by
    pi / (2 refresh) a second, and still depends on nothing but seed, source, time and person.

    seconds: the frame's time stamp; where that is not finite the tensor of time 0 is taken."""
    passed = seconds / refresh if math.isfinite(seconds) else 0.0
    stretch = math.floor(passed)
    return NoiseKey(seed, source, stretch, track, (passed - stretch) * math.pi / 2)


def philox4x32(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox 4x32 with 10 rounds. counter: (N, 4) uint32; key: two uint32. Returns (N, 4) uint32."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0),
            p1 & _MASK,
            (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1),
            p0 & _MASK,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def stream_key(seed: int, source: str) -> tuple[int, int]:
    """The two key words for a seed (any integer) and a source name."""
    digest = hashlib.blake2b(f"{seed}\0{source}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def uniform(key: NoiseKey, count: int) -> NDArray[np.float32]:
    """(count,) float32 strictly inside (0, 1): the top 23 bits of each word, at bin centres."""
    blocks = -(-count // 4)
    counter = np.empty((blocks, 4), np.uint32)
    counter[:, 0] = np.arange(blocks, dtype=np.uint32)
    counter[:, 1] = key.frame & 0xFFFFFFFF
    counter[:, 2] = (key.frame >> 32) & 0xFFFFFFFF
    counter[:, 3] = key.track & 0xFFFFFFFF
    words = philox4x32(counter, stream_key(key.seed, key.source)).ravel()[:count]
    return ((words >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def normal(key: NoiseKey, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normals of the given shape (C order) by Box-Muller on consecutive pairs of the uniform stream.

    Computed in float64 and rounded once, so the result does not depend on the math library's last bit. A key with a
    turn gives cos(turn) times this tensor plus sin(turn) times the next one's."""
    here = _drawn(replace(key, turn=0.0), shape)
    if key.turn == 0.0:
        return here.astype(np.float32)
    there = _drawn(replace(key, frame=key.frame + 1, turn=0.0), shape)
    return (math.cos(key.turn) * here + math.sin(key.turn) * there).astype(np.float32)


@lru_cache(maxsize=32)  # held noise asks for the same two tensors in every frame
def _drawn(key: NoiseKey, shape: tuple[int, ...]) -> NDArray[np.float64]:
    count = math.prod(shape)
    u = uniform(key, count + (count % 2)).astype(np.float64).reshape(-1, 2)
    radius, angle = np.sqrt(-2.0 * np.log(u[:, 0])), 2.0 * math.pi * u[:, 1]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.ravel()[:count].reshape(shape)
