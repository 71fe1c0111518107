"""Frames drawn from a file that need not fit into memory: a pool of its blocks, exchanged as training goes on.

What the pool holds is a function of (seed, rank, step) and of nothing that happened before, so a run that was killed
goes on with the same samples, whatever the machine did in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, UsageError

T = TypeVar("T")
Arrays = tuple[NDArray, ...]
ORDER, DRAW = 1, 2  # streams of random numbers besides the training batches' own, which is 0


def random_at(seed: int, rank: int, step: int, stream: int = 0) -> np.random.Generator:
    """The generator of one step: the same for the same numbers, independent of the others."""
    return np.random.default_rng([seed, rank, step, stream])


@dataclass(frozen=True)
class Blocks:
    """Rows that lie in pieces on a disk. lengths: of each piece. read: yields the arrays of some pieces, in the given
    order, each array with as many rows as its piece has. row_bytes: of one row of all arrays together."""

    lengths: NDArray[np.int64]
    read: Callable[[Sequence[int]], Iterator[Arrays]]
    row_bytes: int


@dataclass(frozen=True)
class Pool(Generic[T]):
    """The rows at hand for some steps. content: what `prepare` made of them. number: 0, 1, ... first: the first step
    that it serves."""

    content: T
    rows: int
    number: int
    first: int


class FramePool(Generic[T]):
    """Rows of blocks within a budget of memory.

    All of it is held where it fits. Where it does not, half of the budget holds as many blocks as go in, drawn without
    replacement until every block had its turn, and the next ones after rows // batch steps, when every row was drawn
    once on average; the other half is for the pool before or after, which another thread may still be using.
    """

    def __init__(
        self,
        blocks: Blocks,
        prepare: Callable[[Arrays], T],
        *,
        budget_bytes: int,
        batch: int,
        seed: int,
        rank: int = 0,
    ) -> None:
        """prepare: arrays of all rows in the pool -> what is drawn from. Raises InputError for no rows, UsageError for
        a budget below two blocks."""
        self.blocks, self.prepare, self.seed, self.rank = blocks, prepare, seed, rank
        total = int(blocks.lengths.sum())
        if not total:
            raise InputError("There are no frames to draw from.", "Check the split and the motion file.")
        self.whole = total * blocks.row_bytes <= budget_bytes
        self.per_pool = len(blocks.lengths)
        self.total = total
        if not self.whole:
            self.per_pool = budget_bytes // 2 // (int(blocks.lengths.max()) * blocks.row_bytes)
            if not self.per_pool:
                raise UsageError(
                    f"{budget_bytes:,} bytes of memory do not hold two blocks of frames.", "Raise `memory_mb`."
                )
        mean_rows = total if self.whole else self.per_pool * total / len(blocks.lengths)
        self.steps = max(1, int(mean_rows // batch))
        self._kept: dict[int, Pool[T]] = {}
        self._lock = threading.Lock()

    def at(self, step: int) -> Pool[T]:
        """The pool that serves a step; loads it where it is not at hand. Threads may call this."""
        number = 0 if self.whole else step // self.steps
        with self._lock:
            if number not in self._kept:
                # room first, then the next one; a resumed run or a rerun may ask for any number
                near = {n: pool for n, pool in self._kept.items() if n == number - 1}
                self._kept = near
                arrays, rows = self._load(self.members(number))
                self._kept[number] = Pool(self.prepare(arrays), rows, number, number * self.steps)
            return self._kept[number]

    def members(self, number: int) -> list[int]:
        """Which blocks pool `number` holds: a stretch of an endless row of shuffled decks of all blocks."""
        count = len(self.blocks.lengths)
        if self.whole:
            return list(range(count))
        places = range(number * self.per_pool, (number + 1) * self.per_pool)
        decks = {d: random_at(self.seed, self.rank, d, ORDER).permutation(count) for d in {p // count for p in places}}
        return [int(decks[p // count][p % count]) for p in places]

    def _load(self, members: list[int]) -> tuple[Arrays, int]:
        """Filled piece by piece, so that no more than the pool and one block is ever held."""
        rows = int(self.blocks.lengths[members].sum())
        filled: list[NDArray] = []
        start = 0
        for parts in self.blocks.read(members):
            if not filled:
                filled = [np.empty((rows, *part.shape[1:]), part.dtype) for part in parts]
            for array, part in zip(filled, parts, strict=True):
                array[start : start + len(part)] = part
            start += len(parts[0])
        return tuple(filled), rows


class Passes:
    """Rows in shuffled passes through a pool: every row once in each; what is left of a pass (less than a batch) is
    dropped, as the published loaders do."""

    def __init__(self, batch: int, seed: int, rank: int = 0) -> None:
        self.batch = batch

        @lru_cache(maxsize=2)  # threads are at most one pass apart
        def order(number: int, passed: int, rows: int) -> NDArray[np.int64]:
            return np.random.default_rng([seed, rank, number, passed, DRAW]).permutation(rows)

        self._order = order

    def rows(self, pool: Pool[T], step: int) -> NDArray[np.int64]:
        """(batch) rows of the pool for a step."""
        passed, place = divmod(step - pool.first, max(1, pool.rows // self.batch))
        order = self._order(pool.number, passed, pool.rows)
        return order.take(np.arange(place * self.batch, (place + 1) * self.batch), mode="wrap")
