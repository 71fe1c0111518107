"""The simulated scheduler against cases whose answer is known without simulating."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "scaling_model.py"
_SPEC = importlib.util.spec_from_file_location("scaling_model", _PATH)
model = importlib.util.module_from_spec(_SPEC)
sys.modules["scaling_model"] = model
_SPEC.loader.exec_module(model)

ENDLESS = 1e18


def _cluster(workers, storage=ENDLESS, bytes_per_frame=1.0, driver=0.0):
    return model.Cluster(workers, storage, bytes_per_frame, driver)


@pytest.mark.parametrize(("workers", "rounds"), [(1, 12), (2, 6), (5, 3), (12, 1), (100, 1)])
def test_equal_videos_go_in_rounds(workers, rounds):
    outcome = model.simulate([100] * 12, model.Worker(10, 3.0, 0.5, 1), _cluster(workers))
    assert outcome.seconds == pytest.approx(3.0 + rounds * 10.5)
    assert outcome.busy == pytest.approx(12 * 10.5 / (workers * outcome.seconds))


def test_storage_slows_all_alike():
    # Four workers want 40 bytes/s of 20: half speed; the last two videos have the storage to themselves.
    outcome = model.simulate([100, 100, 50, 50], model.Worker(10, 0.0, 0.0, 1), _cluster(4, storage=20.0))
    assert outcome.seconds == pytest.approx(10 + 5)
    assert model.limits(np.array([100.0, 100, 50, 50]), model.Worker(10, 0.0, 0.0, 1), _cluster(4, 20.0))[
        "storage"
    ] == pytest.approx(15)


def test_the_driver_is_the_end_of_many_short_videos():
    outcome = model.simulate([1] * 1000, model.Worker(1000, 0.0, 0.0, 1), _cluster(500, driver=0.01))
    assert outcome.seconds == pytest.approx(1000 * 0.01, rel=0.01)


def test_the_longest_video_ends_last_and_greedy_is_near_the_best():
    frames = model.video_frames(100, 30, 10, 120)
    assert frames.sum() == pytest.approx(100 * 3600 * 30)
    worker = model.Worker(30, 2.0, 1.0, 2)
    for workers in (1, 7, 60, 5000):
        bound = model.limits(frames, worker, _cluster(workers))
        seconds = model.simulate(frames, worker, _cluster(workers)).seconds
        least = max(bound["work"], bound["longest video"])
        assert least * (1 - 1e-9) <= seconds <= bound["work"] + bound["longest video"]  # Graham's bound
    assert seconds == pytest.approx(bound["longest video"])
