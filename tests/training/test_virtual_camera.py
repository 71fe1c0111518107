"""Virtual cameras: rigid, exact, in range, and drawn from the seed alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posepipe.camera import from_fov, project, rays
from posepipe.errors import UsageError
from posepipe.training.virtual_camera import CameraRanges, Views, sample_views, world_to_camera


def people(count: int, seed: int = 0) -> np.ndarray:
    """Random joints of person-like size anywhere in a world; not people, since no property here needs one."""
    rng = np.random.default_rng(seed)
    joints = rng.normal(0, [0.25, 0.45, 0.25], (count, 17, 3))
    return (joints + rng.normal(0, 5, (count, 1, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def views() -> Views:
    return sample_views(people(4000), np.random.default_rng(1))


angle = st.floats(-1.5, 1.5)


@given(yaw=st.floats(-7, 7), pitch=angle, roll=angle)
def test_rotation_against_scipy(yaw: float, pitch: float, roll: float) -> None:
    ours = world_to_camera(np.array([yaw]), np.array([pitch]), np.array([roll]))[0]
    steps = Rotation.from_euler("z", roll) * Rotation.from_euler("x", -pitch) * Rotation.from_euler("x", np.pi)
    np.testing.assert_allclose(ours, (steps * Rotation.from_euler("y", yaw)).as_matrix(), atol=1e-12)


def test_what_the_angles_mean() -> None:
    level, up = (world_to_camera(np.zeros(1), np.array([p]), np.zeros(1))[0] for p in (0.0, 0.3))
    np.testing.assert_allclose(level @ [0, 1, 0], [0, -1, 0], err_msg="the world's up is the image's up")
    np.testing.assert_allclose(level @ [0, 0, 1], [0, 0, -1], err_msg="a person who faces +z faces the camera")
    np.testing.assert_allclose(level @ [1, 0, 0], [1, 0, 0], err_msg="and has the left hand on the right of the image")
    assert (up @ [0, 0, -1])[1] > 0, "tilted up, the horizon sinks in the image"


def test_camera_frame_is_a_rigid_transform_of_the_world(views: Views) -> None:
    joints = people(4000)
    before = np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)
    after = np.linalg.norm(views.joints[:, :, None] - views.joints[:, None], axis=-1)
    np.testing.assert_allclose(after, before, atol=2e-5)
    np.testing.assert_allclose(np.linalg.det(views.rotation), 1, atol=1e-5)
    np.testing.assert_allclose(
        views.joints - views.joints[:, :1],
        np.einsum("nij,nkj->nki", views.rotation, joints - joints[:, :1]),
        atol=2e-5,
    )


def test_rays_are_what_a_pinhole_sees(views: Views) -> None:
    for fov, size in ((40, (1280, 720)), (80, (600, 600))):
        camera = from_fov(*size, fov)
        pixels = project(views.joints.astype(float), camera)
        np.testing.assert_allclose(rays(pixels, camera), views.rays, rtol=1e-5, atol=1e-6)


def test_inside_is_inside_the_image(views: Views) -> None:
    for i in range(0, 4000, 97):
        half_width, half_height = views.half_extent[i].astype(float)
        width, height = 1000 * half_width, 1000 * half_height
        camera = from_fov(round(width), round(height), np.degrees(2 * np.arctan(max(half_width, half_height))))
        x, y = np.moveaxis(project(views.joints[i].astype(float), camera), -1, 0)
        near_edge = np.minimum.reduce([abs(x), abs(x - width), abs(y), abs(y - height)]) < 2
        expected = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
        np.testing.assert_array_equal(views.inside[i][~near_edge], expected[~near_edge])


def test_ranges_are_kept_and_filled(views: Views) -> None:
    r = views.rotation.astype(float)
    pitch = np.degrees(np.arcsin(np.clip(r[:, 2, 1], -1, 1)))  # the viewing direction's rise
    assert -45.1 < pitch.min() < -43
    assert 23 < pitch.max() < 25.1
    yaw = np.degrees(np.arctan2(r[:, 2, 0], -r[:, 2, 2]))
    assert np.histogram(yaw, 12, (-180, 180))[0].min() > 4000 / 12 * 0.75
    roll = np.degrees(np.arctan2(r[:, 0, 1], -r[:, 1, 1]))
    assert np.std(roll) == pytest.approx(4.0, rel=0.1)
    assert abs(roll).max() < 12.1
    distance = np.linalg.norm(views.joints[:, 0], axis=-1)
    assert 1.49 < distance.min() < 1.6
    assert 9.5 < distance.max() < 10.01
    fov = np.degrees(2 * np.arctan(views.half_extent.max(axis=1)))
    assert 34.9 < fov.min() < 37
    assert 88 < fov.max() < 90.1
    assert views.joints[..., 2].min() > 0.29


def test_most_people_are_whole_and_some_are_cut() -> None:
    joints = people(4000)
    whole = sample_views(joints, np.random.default_rng(3), CameraRanges(cut_share=0.0)).inside
    assert whole.all(axis=1).mean() > 0.97
    cut = sample_views(joints, np.random.default_rng(3), CameraRanges(cut_share=1.0)).inside
    assert cut[:, 0].mean() > 0.97, "the hip stays on the image"
    assert 0.1 < cut.all(axis=1).mean() < 0.9


def test_seed_decides_and_place_does_not() -> None:
    joints = people(50)
    first, again, moved = (
        sample_views(j, np.random.default_rng(5)) for j in (joints, joints, joints + np.float32([3, 0, -7]))
    )
    np.testing.assert_array_equal(first.joints, again.joints)
    np.testing.assert_allclose(moved.joints, first.joints, atol=1e-4)
    assert not np.allclose(sample_views(joints, np.random.default_rng(6)).joints, first.joints)
    for values in (first.joints, first.rays, first.rotation, first.half_extent):
        assert values.dtype == np.float32


@pytest.mark.parametrize(
    "bad",
    [{"distance": (0.0, 10.0)}, {"distance": (5.0, 2.0)}, {"fov_deg": (35.0, 190.0)}, {"pitch_deg": (25.0, -45.0)}],
)
def test_impossible_ranges_are_refused(bad: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(UsageError, match="must be"):
        replace(CameraRanges(), **bad)
