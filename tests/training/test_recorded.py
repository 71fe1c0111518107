"""Human3.6M's own cameras: found again from exact keypoints, and `screen` space samples from both of its layouts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.training.data.motion import RecordedCamera
from posepipe.training.data.resection import project_recorded, resect
from posepipe.training.virtual_camera import world_to_camera


def camera(yaw: float, pitch: float, roll: float, distance: float) -> RecordedCamera:
    turn = world_to_camera(*(np.array([angle]) for angle in (yaw, pitch, roll)))[0]
    centre = np.array([0.0, 1.0, 0.0]) - turn.T @ np.array([0.3, -0.2, distance])
    lens = np.array([-0.2, 0.24, -0.002]), np.array([-0.0009, -0.0016])
    return RecordedCamera("S1", "54138969", turn, centre, np.array([1145.0, 1143]), np.array([512.0, 515]), *lens)


@settings(max_examples=15, deadline=None)
@given(st.floats(-3, 3), st.floats(-0.6, 0.3), st.floats(-0.1, 0.1), st.floats(4, 7))
def test_a_camera_is_found_from_what_it_saw(people, yaw, pitch, roll, distance):  # type: ignore[no-untyped-def]
    true = camera(yaw, pitch, roll, distance)
    world = people(60, 1).reshape(-1, 3).astype(float)
    pixels = project_recorded((world - true.centre) @ true.rotation.T, true)
    found = resect("S1", "54138969", world, pixels.astype(np.float32))
    assert found is not None
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-5)
    np.testing.assert_allclose(found.centre, true.centre, atol=1e-4)
    np.testing.assert_allclose(found.focal, true.focal, atol=0.1)


def test_pixels_that_are_no_projections_give_no_camera(people) -> None:  # type: ignore[no-untyped-def]
    world = people(60, 1).reshape(-1, 3)
    assert resect("S1", "c", world, np.full((len(world), 2), 100.0)) is None
    assert resect("S1", "c", world, np.random.default_rng(0).uniform(0, 1000, (len(world), 2))) is None
    assert resect("S1", "c", world[:5], np.zeros((5, 2))) is None
    assert resect("S1", "c", world, np.full((len(world), 2), np.nan)) is None
    assert resect("S1", "c", np.zeros((50, 3)), np.random.default_rng(0).uniform(0, 1000, (50, 2))) is None
