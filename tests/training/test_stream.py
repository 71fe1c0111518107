"""Frames drawn from a file larger than the memory allowed for them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from posepipe.errors import InputError, UsageError
from posepipe.training.data.batches import common_heading, frame_weights, rarity, stack_frames
from posepipe.training.data.frame_pool import Blocks, FramePool, Passes
from posepipe.training.data.motion import Clip, load_motion, write_motion
from posepipe.training.data.stream import weighed_pool

CLIPS, FRAMES = 30, 1100  # in blocks of 512, 512 and 76
BUDGET = 2_000_000
BATCH = 256
People = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, people: People) -> Path:
    """A motion file of 7 MB of frames, each of which says in its hip's height which one it is."""
    clips = []
    for number in range(CLIPS):
        joints = people(FRAMES, number)
        joints[:, 0, 1] = 1 + (number * FRAMES + np.arange(FRAMES)) * 1e-5
        split = "train" if number else "validation"
        clips.append(Clip(f"c{number:02d}", "1", joints, split=split))
    path = tmp_path_factory.mktemp("motion") / "large.h5"
    write_motion(clips, path, "test")
    return path


def identity(frames: np.ndarray) -> np.ndarray:
    return np.rint((frames[:, 0, 1].astype(float) - 1) * 1e5).astype(int)


def opened(path: Path, **changed: float) -> FramePool:
    settings = {"budget_bytes": BUDGET, "batch": BATCH, "seed": 3, "references": 64} | changed
    return weighed_pool(path, "train", **settings)  # type: ignore[arg-type]


def test_every_frame_comes_and_memory_stays_within_the_budget(large: Path) -> None:
    pool = opened(large)
    assert not pool.whole
    seen: set[int] = set()
    tracemalloc.start()
    for number in range(2 * -(-len(pool.blocks.lengths) // pool.per_pool)):  # two decks
        held = pool.at(number * pool.steps).content
        seen |= set(identity(held.frames))
        del held
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == set(range(FRAMES, CLIPS * FRAMES))
    work = 2048 * (17 * 3 * 4 * 6 + 64 * 4 * 4)  # `rarity` compares 2048 poses at a time
    assert peak < BUDGET + work
    whole = stack_frames(load_motion(large, "train")).nbytes
    assert whole > 3 * BUDGET


def test_what_is_held_depends_on_the_step_alone(large: Path) -> None:
    first, again = opened(large), opened(large)
    late = 7 * first.steps + 2
    forward = [first.at(step).content.frames.tobytes() for step in range(0, late + 1, first.steps // 2)]
    assert again.at(late).content.frames.tobytes() == first.at(late).content.frames.tobytes()
    assert len(set(forward)) > 5
    assert opened(large, rank=1).at(late).content.frames.tobytes() != forward[-1]
    assert opened(large, seed=4).at(late).content.frames.tobytes() != forward[-1]


def test_a_file_that_fits_is_held_whole_with_the_weights_of_all_frames(large: Path) -> None:
    pool = opened(large, budget_bytes=100_000_000)
    frames = stack_frames(load_motion(large, "train"))
    held = pool.at(10**6).content
    np.testing.assert_array_equal(held.frames, frames)
    expected = frame_weights(frames, references=64)
    np.testing.assert_allclose(np.diff(held.cumulative, prepend=0), expected / expected.sum(dtype=float), rtol=1e-4)


def test_drawn_as_recorded_every_frame_counts_alike(large: Path) -> None:
    held = opened(large, budget_bytes=100_000_000, even=0.0).at(0).content
    np.testing.assert_allclose(np.diff(held.cumulative, prepend=0) * len(held.frames), 1, rtol=1e-3)
    assert np.diff(opened(large, budget_bytes=100_000_000, even=1.0).at(0).content.cumulative).std() > 0


def test_rarity_of_a_piece_is_that_of_the_whole(people: People) -> None:
    frames = people(5000)
    known = common_heading(frames[::7])
    whole = rarity(frames, known)
    pieces = np.concatenate([rarity(frames[a : a + 600], known) for a in range(0, 5000, 600)])
    np.testing.assert_allclose(pieces, whole, rtol=1e-4)
    assert whole.std() > 0.01


def test_the_weights_of_a_streamed_pool_are_those_of_the_whole_file(large: Path) -> None:
    streamed = opened(large).at(0).content
    frames = stack_frames(load_motion(large, "train"))
    expected = frame_weights(frames, references=64)[identity(streamed.frames) - FRAMES]
    got = np.diff(streamed.cumulative, prepend=0)
    np.testing.assert_allclose(got / got.sum(), expected / expected.sum(dtype=float), rtol=1e-3)


def test_passes_give_every_row_once() -> None:
    rows = np.arange(1000)

    def read(members):  # type: ignore[no-untyped-def]
        for member in members:
            yield (rows[member * 100 : member * 100 + 100],)

    blocks = Blocks(np.full(10, 100), read, row_bytes=8)
    whole = FramePool(blocks, lambda a: a[0], budget_bytes=8000, batch=30, seed=0)
    passes = Passes(30, seed=0)
    pool = whole.at(0)
    drawn = np.concatenate([pool.content[passes.rows(pool, step)] for step in range(33)])
    assert len(set(drawn.tolist())) == 990, "the last 10 of a pass are dropped"
    second = np.concatenate([pool.content[passes.rows(pool, step)] for step in range(33, 66)])
    assert len(set(second.tolist())) == 990
    assert (second != drawn).mean() > 0.9

    streamed = FramePool(blocks, lambda a: a[0], budget_bytes=4000, batch=25, seed=0)
    assert (streamed.per_pool, streamed.steps) == (2, 8)
    passes = Passes(25, seed=0)
    drawn = np.concatenate(
        [(held := streamed.at(step)).content[passes.rows(held, step)] for step in range(5 * streamed.steps)]
    )
    assert sorted(drawn.tolist()) == rows.tolist()


def test_bad_files_are_one_sentence(large: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="memory_mb"):
        opened(large, budget_bytes=100_000)
    bad = tmp_path / "bad.h5"
    bad.write_bytes(large.read_bytes())
    with h5py.File(bad, "r+") as file:
        file["clips/c20/joints"][600, 3, 1] = np.nan
    for budget in (BUDGET, 100_000_000):
        with pytest.raises(
            InputError, match=r"bad\.h5: clip 'c20' has numbers that are not finite, first in frame 600"
        ):
            opened(bad, budget_bytes=budget).at(0)
    with h5py.File(bad, "r+") as file:
        file.attrs["version"] = 9
    with pytest.raises(InputError, match="not a posepipe-motion file of version 1"):
        opened(bad)
    bad.write_bytes(large.read_bytes()[:5000])
    with pytest.raises(InputError, match="Cannot read motion"):
        opened(bad)
    with pytest.raises(InputError, match="no clips of the split 'test'"):
        weighed_pool(large, "test", budget_bytes=1, batch=1, seed=0)
