"""What every recipe needs: training batches that depend on (seed, rank, step) only, made ahead in threads, and fixed
validation batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from posepipe.training.data.batches import batches, seen_people
from posepipe.training.data.frame_pool import Passes, random_at
from posepipe.training.data.motion import load_motion
from posepipe.training.data.recorded import recorded_pool, recorded_rows
from posepipe.training.data.stream import weighed_pool
from posepipe.training.detector_noise import load_table
from posepipe.training.person_batches import PersonBatch, person_batch
from posepipe.training.run_config import RunConfig

Sample = tuple[Tensor, Tensor, Tensor]  # keypoints (B,17,2), confidence (B,17), joints (B,17,3) metres
C = TypeVar("C", bound=RunConfig)
STATISTICS = 4  # the stream of random numbers for what is measured before the first step
_AHEAD = 6


@dataclass(frozen=True)
class Source:
    """draw(rank, step, stream): the batch of a step; safe to call from several threads. rows: samples in a pass."""

    draw: Callable[[int, int, int], Sample]
    rows: int
    workers: int

    def first(self, count: int) -> Sample:
        """`count` batches in one, for statistics; none of the training's own, and the same on every device."""
        parts = [self.draw(0, number, STATISTICS) for number in range(count)]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))  # type: ignore[return-value]

    @contextmanager
    def from_step(self, start: int, rank: int = 0) -> Iterator[Iterator[Sample]]:
        """Batches of step start, start + 1, ... without end, made ahead."""
        with closing(self._ahead(start, rank)) as stream:
            yield stream

    def _ahead(self, start: int, rank: int) -> Generator[Sample, None, None]:
        waiting: deque[Future[Sample]] = deque()
        with ThreadPoolExecutor(self.workers, "batches") as threads:
            try:
                step = start
                while True:
                    while len(waiting) < _AHEAD + self.workers:
                        waiting.append(threads.submit(self.draw, rank, step, 0))
                        step += 1
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def training_source(config: RunConfig, rank: int = 0) -> Source:
    """The training split of config.data as config.keypoints says. Raises InputError for a file of another layout, with
    numbers that are not finite, or without such keypoints."""
    if config.keypoints == "virtual":
        return _virtual(config, rank)
    return _recorded(config, rank)


def _virtual(config: RunConfig, rank: int) -> Source:
    table = load_table()
    pool = weighed_pool(Path(config.data), "train", even=config.even, **_pool_settings(config, rank))

    def draw(rank: int, step: int, stream: int) -> Sample:
        rng = random_at(config.seed, rank, step, stream)
        held = pool.at(step if stream == 0 else 0).content
        views = seen_people(held.frames, held.cumulative, config.batch, rng, ranges=config.augment_ranges)
        return _tensors(person_batch(views.joints_camera, views.rays2d, table, rng))

    return Source(draw, pool.total, config.workers)


def _recorded(config: RunConfig, rank: int) -> Source:
    pool = recorded_pool(Path(config.data), "train", config.keypoints, **_pool_settings(config, rank))
    training, statistics = (Passes(config.batch, seed, rank) for seed in (config.seed, config.seed + 1))

    def draw(rank: int, step: int, stream: int) -> Sample:
        held = pool.at(step if stream == 0 else 0)
        # for statistics the first pool, in another order
        chosen = (training if stream == 0 else statistics).rows(held, step)
        return _tensors(PersonBatch(*(array[chosen] for array in held.content)))

    return Source(draw, pool.total, config.workers)


def _pool_settings(config: RunConfig, rank: int) -> dict[str, int]:
    return {"budget_bytes": config.memory_mb << 20, "batch": config.batch, "seed": config.seed, "rank": rank}


def with_steps(config: C, source: Source, devices: int) -> C:
    """The configuration with steps set from its epochs, if it has those. A pass ends with its last whole batch."""
    if not config.epochs:
        return config
    return replace(config, steps=max(1, config.epochs * (source.rows // (config.batch * devices))))


def _tensors(made: PersonBatch) -> Sample:
    return torch.from_numpy(made.keypoints), torch.from_numpy(made.confidence), torch.from_numpy(made.joints)


@dataclass(frozen=True)
class Validation:
    """The validation split. From mocap: unseen cameras, exact 2D, and 2D with the detector's noise. From recorded
    cameras: exact projections, and the keypoints that were trained on."""

    exact: PersonBatch
    noisy: PersonBatch


def validation_set(config: RunConfig) -> Validation:
    """What config validates on; the same for every run on the same data."""
    if config.keypoints == "virtual":
        return validation_batches(Path(config.data), config.validation_frames)
    exact, given = (
        PersonBatch(*recorded_rows(Path(config.data), "validation", keypoints, config.validation_frames))
        for keypoints in ("gt", config.keypoints)
    )
    return Validation(exact, given)


def validation_batches(data: Path, count: int = 20_000, seed: int = 12345) -> Validation:
    """`count` frames of the validation split, not augmented, each seen by a camera of its own."""
    clips = load_motion(data, "validation")
    views = next(iter(batches(clips, count, np.random.default_rng(seed), augmented=False)))
    noise_rng = np.random.default_rng(seed + 1)
    return Validation(
        person_batch(views.joints_camera, views.rays2d, None, noise_rng),
        person_batch(views.joints_camera, views.rays2d, load_table(), noise_rng, clean_share=0.0),
    )
