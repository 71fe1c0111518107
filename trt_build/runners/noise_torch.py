"""The noise of posepipe/noise.py as torch operations: the same stream on whatever device the keys lie on. Needs torch.

In 64-bit integers, since torch has no unsigned 32-bit arithmetic. Made of elementwise operations alone, so that
torch.compile melts it into one kernel and a CUDA graph can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from posepipe.noise import NoiseKey
from posepipe.trt_build.runners.noise_keys import pack

_MASK = 0xFFFFFFFF


def key_tensors(keys: Sequence[NoiseKey]) -> tuple[Tensor, Tensor]:
    """What `normals` takes: (people, 7) int64 words (key, track, frame, following frame), (people, 2) float64 weights
    of the frame's tensor and the following one's."""
    packed = pack(keys)
    parts = (packed["key"], packed["track"][:, None], packed["frame"], packed["following"])
    words = np.concatenate(parts, axis=1).astype(np.int64)
    return torch.from_numpy(words), torch.from_numpy(np.stack([packed["here"], packed["there"]], axis=1))


def normals(words: Tensor, weights: Tensor, count: int) -> Tensor:
    """(people, count) float32 standard normals; words and weights as from `key_tensors`, on any device."""
    here = _box_muller(uniforms(words[:, 0:2], words[:, 2], words[:, 3:5], count))
    there = _box_muller(uniforms(words[:, 0:2], words[:, 2], words[:, 5:7], count))
    return (weights[:, :1] * here + weights[:, 1:] * there)[:, :count].to(torch.float32)


def uniforms(key: Tensor, track: Tensor, frame: Tensor, count: int) -> Tensor:
    """(people, count rounded up to whole blocks of four) float32 strictly inside (0, 1), as posepipe.noise.uniform.

    key, frame: (people, 2) int64, low word first. track: (people,)."""
    people, blocks = len(track), -(-count // 4)
    block = torch.arange(blocks, dtype=torch.int64, device=track.device).expand(people, blocks)
    spread = torch.zeros_like(block)
    words = philox4x32(
        (block, frame[:, :1] + spread, frame[:, 1:] + spread, track[:, None] + spread), (key[:, :1], key[:, 1:])
    )
    top = torch.stack(words, dim=-1).reshape(people, 4 * blocks) >> 9
    return (top.to(torch.float32) + 0.5) * 2.0**-23


def philox4x32(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox 4x32 with 10 rounds on int64 tensors that hold 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _product(0xD2511F53, c0)
        high1, low1 = _product(0xCD9E8D57, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def _product(factor: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of a 64-bit product, in halves of `word` because int64 has a sign."""
    low_half, high_half = factor * (word & 0xFFFF), factor * (word >> 16)
    return (high_half + (low_half >> 16)) >> 16, ((high_half << 16) + low_half) & _MASK


def _box_muller(uniform: Tensor) -> Tensor:
    """(people, 4 n) float32 uniforms -> float64 normals, by consecutive pairs."""
    pairs = uniform.to(torch.float64).reshape(len(uniform), -1, 2)
    radius, angle = torch.sqrt(-2.0 * torch.log(pairs[..., 0])), 2.0 * math.pi * pairs[..., 1]
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).reshape(len(uniform), -1)
