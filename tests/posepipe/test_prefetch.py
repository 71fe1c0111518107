"""A stage in a thread of its own: same values, same order, same errors, and no thread left behind."""

import threading
import time
from collections.abc import Iterator

import pytest

from posepipe.prefetch import prefetch

NAME = "posepipe-test-stage"


def alive() -> bool:
    return any(thread.name == NAME for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    yield
    assert not alive()


@pytest.mark.parametrize("depth", [1, 2, 100])
def test_everything_arrives_in_order(depth):
    assert list(prefetch(range(500), depth, NAME)) == list(range(500))
    assert list(prefetch([], depth, NAME)) == []


def test_the_work_is_done_in_another_thread_and_none_is_an_ordinary_value():
    def threads() -> Iterator[str | None]:
        yield threading.current_thread().name
        yield None

    assert list(prefetch(threads(), 1, NAME)) == [NAME, None]


def test_the_producer_runs_ahead_but_no_further_than_the_queue():
    produced: list[int] = []

    def count() -> Iterator[int]:
        for i in range(100):
            produced.append(i)
            yield i

    stage = prefetch(count(), 3, NAME)
    next(stage)
    deadline = time.monotonic() + 5
    while len(produced) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert 4 <= len(produced) <= 5, "one handed over, three in the queue, one waiting for room"
    stage.close()


def test_an_error_arrives_after_what_came_before_it():
    def fails() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("frame 3 is damaged")

    stage = prefetch(fails(), 10, NAME)
    assert [next(stage), next(stage)] == [1, 2]
    with pytest.raises(ValueError, match="frame 3 is damaged"):
        next(stage)


def test_an_error_passes_through_a_chain_of_stages():
    def fails() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    def doubled(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            yield 2 * item

    chain = prefetch(doubled(prefetch(fails(), 1, NAME)), 1, NAME)
    assert next(chain) == 2
    with pytest.raises(OSError, match="disk"):
        next(chain)


def test_closing_early_stops_the_thread_and_lets_the_source_clean_up():
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            i = 0
            while True:
                yield i
                i += 1
        finally:
            closed.set()

    stage = prefetch(endless(), 2, NAME)
    assert [next(stage), next(stage)] == [0, 1]
    start = time.monotonic()
    stage.close()
    assert closed.is_set()
    assert not alive()
    assert time.monotonic() - start < 2


def test_closing_a_chain_closes_the_whole_chain():
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    def passed_on(items: Iterator[int]) -> Iterator[int]:
        yield from items

    stage = prefetch(passed_on(prefetch(endless(), 1, NAME)), 1, NAME)
    next(stage)
    stage.close()
    assert closed.is_set()


def test_an_error_of_the_consumer_stops_the_thread_as_well():
    def consume() -> None:
        stage = prefetch(iter(int, 1), 2, NAME)  # zeros for ever
        try:
            for item in stage:
                raise RuntimeError(f"cannot use {item}")
        finally:
            stage.close()

    with pytest.raises(RuntimeError, match="cannot use 0"):
        consume()
    assert not alive()
