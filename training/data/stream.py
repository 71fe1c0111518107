"""Frames of a motion file as blocks that are read when they are needed, for files larger than memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.safe_h5 import READ_ERRORS, dataset, groups, open_h5, text
from posepipe.training.data.batches import Floats, common_heading, rarity
from posepipe.training.data.frame_pool import Arrays, Blocks, FramePool
from posepipe.training.data.motion import BUILD_HINT, check_layout

BLOCK_ROWS = 512  # the chunks that write_motion makes; a chunk is decompressed whole anyway


@dataclass(frozen=True)
class Piece:
    """Frames start to stop of a clip."""

    clip: str
    subject: str
    start: int
    stop: int


def pieces(path: Path, split: str) -> list[Piece]:
    """The blocks of a split, in the order of the clips' names. Reads no frames. Raises InputError for another layout or
    no such clips."""
    found = []
    with open_motion(path) as file:
        for name, group in groups(file, "clips").items():
            if text(group.attrs, "split") != split:
                continue
            count = len(dataset(group, "joints", "f", (None, 17, 3)))
            subject = text(group.attrs, "subject")
            ends = [*range(0, count, BLOCK_ROWS), count]
            found += [Piece(name, subject, a, b) for a, b in itertools.pairwise(ends)]
    if not found:
        raise InputError(f"{path} has no clips of the split '{split}'.", BUILD_HINT)
    return found


def joint_blocks(path: Path, split: str) -> Blocks:
    """The joints (rows, 17, 3) float32 of a split, block by block."""
    known = pieces(path, split)

    def read(members: Sequence[int]) -> Iterator[Arrays]:
        with open_motion(path) as file:
            for member in members:
                yield (read_joints(file, path, known[member]),)

    lengths = np.array([piece.stop - piece.start for piece in known], np.int64)
    return Blocks(lengths, read, row_bytes=17 * 3 * 4 + 8)  # and a float64 of cumulative chance


def read_joints(file: h5py.File, path: Path, piece: Piece) -> Floats:
    """(rows, 17, 3) float32 metres. Raises InputError for numbers that are not finite."""
    joints = dataset(file, f"clips/{piece.clip}/joints", "f", (None, 17, 3))[piece.start : piece.stop].astype(
        np.float32, copy=False
    )
    finite = np.isfinite(joints).all(axis=(1, 2))
    if not finite.all():
        frame = piece.start + int(np.argmin(finite))
        raise InputError(
            f"{path}: clip '{piece.clip}' has numbers that are not finite, first in frame {frame}.", BUILD_HINT
        )
    return joints


@dataclass(frozen=True)
class Weighed:
    """frames (F, 17, 3) and their cumulative chances (F,), ending in 1: rare poses are drawn more often."""

    frames: Floats
    cumulative: NDArray[np.float64]


def weighed_pool(
    path: Path,
    split: str,
    *,
    budget_bytes: int,
    batch: int,
    seed: int,
    rank: int = 0,
    references: int = 4096,
    even: float = 0.5,
) -> FramePool[Weighed]:
    """The frames of a split with their weights by rarity (even: its power) among evenly spaced frames of the whole
    split, in at most budget_bytes. A split that does not fit is read through once here, to find those. Raises
    InputError for another layout or numbers that are not finite, UsageError for too small a budget."""
    blocks = joint_blocks(path, split)
    step = -(-int(blocks.lengths.sum()) // references)
    known: list[Floats] = []

    def prepare(arrays: Arrays) -> Weighed:
        (frames,) = arrays
        if not known:  # all is held: no need to read it twice
            known.append(common_heading(frames[::step]))
        cumulative = np.cumsum(rarity(frames, known[0], power=even), dtype=np.float64)
        return Weighed(frames, cumulative / cumulative[-1])

    pool = FramePool(blocks, prepare, budget_bytes=budget_bytes, batch=batch, seed=seed, rank=rank)
    if not pool.whole:
        known.append(common_heading(_every(blocks, step)))
    return pool


def _every(blocks: Blocks, step: int) -> Floats:
    """Every step-th row of all blocks."""
    chosen, at = [], 0
    for (frames,) in blocks.read(range(len(blocks.lengths))):
        chosen.append(frames[-at % step :: step].copy())
        at += len(frames)
    return np.concatenate(chosen)


@contextmanager
def open_motion(path: Path) -> Iterator[h5py.File]:
    """An open motion file; whatever is wrong with it, also while it is read, is one InputError."""
    try:
        with open_h5(path) as file:
            check_layout(file, path)
            yield file
    except READ_ERRORS as error:
        raise InputError(f"Cannot read motion from {path} ({error}).", BUILD_HINT) from None
