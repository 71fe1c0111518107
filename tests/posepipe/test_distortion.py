"""Lens distortion against OpenCV's own functions."""

import cv2
import numpy as np
import pytest

from posepipe.camera import Intrinsics, project, rays
from posepipe.distortion import distort, undistort

LENSES = {
    "webcam": ((0.12, -0.25, 0.001, -0.002, 0.08), "opencv"),
    "four": ((-0.3, 0.1, 0.0005, 0.0), "opencv"),
    "rational": ((0.2, 0.1, 0.0, 0.001, 0.02, 0.3, 0.05, 0.01), "opencv"),
    "prism": ((0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.002, -0.001, 0.001, 0.0005), "opencv"),
    "action": ((-0.02, 0.01, -0.006, 0.001), "fisheye"),
}
POINTS = np.random.default_rng(0).uniform(-0.7, 0.7, (300, 2))
K = np.array([[800.0, 0, 640], [0, 820.0, 350], [0, 0, 1]])


@pytest.mark.parametrize("name", LENSES)
def test_pixels_are_those_of_opencv_and_rays_undo_them(name):
    coefficients, model = LENSES[name]
    points = np.column_stack([POINTS, np.ones(len(POINTS))]) * np.random.default_rng(1).uniform(1, 9, (300, 1))
    if model == "fisheye":
        theirs = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), K, np.array(coefficients))[0]
    else:
        theirs = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(coefficients))[0]
    camera = Intrinsics(800, 820, 640, 350, 1280, 720, False, distortion=coefficients, lens_model=model)
    ours = project(points, camera)
    np.testing.assert_allclose(ours, theirs.reshape(-1, 2), atol=1e-8)
    np.testing.assert_allclose(rays(ours, camera), POINTS, atol=1e-8)
    assert rays(ours.astype(np.float32), camera).dtype == np.float32


def test_far_from_the_middle_a_wide_fisheye_is_undone():
    angles = np.radians(np.linspace(0, 80, 40))
    points = np.column_stack([np.tan(angles), 0.2 * np.tan(angles)])
    coefficients, model = LENSES["action"]
    found = undistort(distort(points, coefficients, model), coefficients, model)
    np.testing.assert_allclose(found, points, rtol=1e-6, atol=1e-8)


def test_where_a_lens_has_no_ray_there_is_none_instead_of_a_wrong_one():
    """With k1 = -0.3 nothing is imaged beyond r = 0.703 (where r - 0.3 r^3 turns round, at r = 1.054)."""
    lens = ((-0.3, 0.0, 0.0, 0.0), "opencv")
    inside, outside = undistort(np.array([[0.69, 0.0], [0.72, 0.0]]), *lens)
    assert inside[0] - 0.3 * inside[0] ** 3 == pytest.approx(0.69)
    assert 0 < inside[0] < 1.054
    assert np.isnan(outside).all()


def test_unseen_keypoints_stay_unseen_beside_others():
    found = undistort(np.array([[np.nan, 0.1], [0.1, 0.1]]), *LENSES["webcam"])
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(distort(found[1], *LENSES["webcam"]), [0.1, 0.1], atol=1e-9)
