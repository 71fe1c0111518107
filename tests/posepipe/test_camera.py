"""Projection against plain matrix algebra; the centring rotation against what it promises."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from posepipe.camera import Intrinsics, from_fov, look_at, project, rays
from posepipe.errors import InputError, UsageError
from posepipe.intrinsics_file import from_file

cameras = st.builds(
    Intrinsics,
    fx=st.floats(100, 5000),
    fy=st.floats(100, 5000),
    cx=st.floats(-500, 3000),
    cy=st.floats(-500, 3000),
    width=st.just(1920),
    height=st.just(1080),
)
places = st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.1, 50))


@given(cameras, places)
def test_projection_is_the_homogeneous_product_and_rays_undo_it(camera, place):
    point = np.array(place)
    u, v, w = camera.matrix @ point
    pixel = project(point[None], camera)[0]
    np.testing.assert_allclose(pixel, [u / w, v / w], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(rays(pixel, camera), point[:2] / point[2], rtol=1e-6, atol=1e-6)


def test_points_at_or_behind_the_camera_have_no_pixel():
    camera = from_fov(640, 480)
    pixels = project(np.array([[0.1, 0.2, 0.0], [0.1, 0.2, -1.0], [0.1, 0.2, 1.0]]), camera)
    assert np.isnan(pixels).all(-1).tolist() == [True, True, False]


def test_single_precision_and_whole_pixels_are_kept_exact():
    camera = Intrinsics(500, 500, 319.5, 239.5, 640, 480)
    assert rays(np.zeros((2, 2), np.float32), camera).dtype == np.float32
    assert project(np.ones((2, 3), np.float32), camera).dtype == np.float32
    np.testing.assert_allclose(rays(np.array([[320, 240]]), camera), [[0.001, 0.001]])


@given(st.integers(16, 8000), st.integers(16, 8000), st.floats(5, 170))
def test_the_field_of_view_spans_the_longer_side(width, height, fov):
    camera = from_fov(width, height, fov)
    turned = from_fov(height, width, fov)
    assert camera.fx == camera.fy == turned.fx
    assert (camera.cx, camera.cy) == (width / 2, height / 2)
    edges = np.array(
        [[0.0, height / 2], [width, height / 2]] if width >= height else [[width / 2, 0], [width / 2, height]]
    )
    a, b = (np.append(ray, 1.0) for ray in rays(edges, camera))
    seen = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    assert seen == pytest.approx(fov, abs=1e-4)


@pytest.mark.parametrize("fov", [0, 4.9, 171, float("nan"), float("inf")])
def test_impossible_fields_of_view_are_refused(fov):
    with pytest.raises(UsageError, match="--fov between 5 and 170"):
        from_fov(640, 480, fov)


def test_intrinsics_of_another_resolution_are_rescaled(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"fx": 1000, "fy": 900, "cx": 640, "cy": 350, "width": 1280, "height": 720}))
    half = from_file(path, 640, 360)
    assert (half.fx, half.fy, half.cx, half.cy) == (500, 450, 320, 175)
    assert not half.assumed
    again = json.loads(half.to_json())
    assert again["fx"] == 500
    assert again["assumed"] is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[1, 2]",
        '{"fx": 1}',
        '{"fx": "wide", "fy": 1, "cx": 1, "cy": 1}',
        '{"fx": 0, "fy": 1, "cx": 1, "cy": 1}',
        '{"fx": -5, "fy": 1, "cx": 1, "cy": 1}',
        '{"fx": NaN, "fy": 1, "cx": 1, "cy": 1}',
        '{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "width": 0}',
    ],
)
def test_bad_intrinsics_are_one_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "camera.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"camera\.json"):
        from_file(path, 640, 480)


def test_what_a_result_file_says_is_the_same_camera_again():
    for camera in (
        from_fov(640, 480),
        Intrinsics(500, 510, 320, 240, 640, 480, False, distortion=(0.1, 0.0, 0.0, 0.0), note="cam.yml"),
    ):
        assert Intrinsics(**json.loads(camera.to_json())) == camera
    old = {"fx": 1.0, "fy": 1.0, "cx": 1.0, "cy": 1.0, "width": 2, "height": 2, "assumed": True}
    assert Intrinsics(**old).origin == "assumed"


def test_missing_intrinsics_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json"):
        from_file(tmp_path / "nowhere.json", 640, 480)


directions = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1)).map(np.array)


@given(directions)
def test_look_at_is_a_rotation_that_sends_the_direction_forward_without_roll(direction):
    assume(np.hypot(direction[0], direction[2]) > 1e-3)
    rotation = look_at(direction)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    length = np.linalg.norm(direction)
    np.testing.assert_allclose(rotation @ direction, [0, 0, length], atol=1e-9)
    x_axis, y_axis, _ = rotation  # rows: the new camera's axes in the old frame
    assert abs(x_axis[1]) < 1e-9, "x stays level: no roll"
    assert y_axis[1] > 0, "down stays down"


def test_look_at_straight_ahead_changes_nothing_and_works_in_batches():
    np.testing.assert_allclose(look_at(np.array([0.0, 0.0, 3.0])), np.eye(3), atol=1e-12)
    batch = np.random.default_rng(0).normal(size=(4, 5, 3))
    assert look_at(batch).shape == (4, 5, 3, 3)
    np.testing.assert_allclose(look_at(batch)[2, 3], look_at(batch[2, 3]))
