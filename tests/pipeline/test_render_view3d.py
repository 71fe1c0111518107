"""The 3D view against independent geometry: the virtual camera, the floor, the fan, the colours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.camera import project
from posepipe.pipeline.render.fan import bone_opacity, draw_fan
from posepipe.pipeline.render.floor import empty_stage
from posepipe.pipeline.render.palette import LEFT, RIGHT, uncertainty_colours
from posepipe.pipeline.render.solid import draw_solid
from posepipe.pipeline.render.stage import GroundState, place, update_ground
from posepipe.pipeline.render.viewpoint import ViewSettings, to_camera, to_pixels, viewpoint
from posepipe.skeleton import H36M_17
from posepipe.types import Hypotheses, Pose2D, Pose3D, Track

STANDING = np.array(
    [
        (0, 0, 0), (-0.13, 0, 0), (-0.15, 0.42, 0), (-0.15, 0.84, 0), (0.13, 0, 0), (0.15, 0.42, 0), (0.15, 0.84, 0),
        (0, -0.24, 0), (0, -0.49, 0), (0, -0.59, 0), (0, -0.70, 0), (0.18, -0.45, 0), (0.30, -0.2, 0), (0.35, 0, 0),
        (-0.18, -0.45, 0), (-0.30, -0.2, 0), (-0.35, 0, 0),
    ],
    np.float32,
)  # fmt: skip
SQUATTING = STANDING.copy()
SQUATTING[[2, 5], 1:] = (0.18, -0.38)
SQUATTING[[3, 6], 1:] = (0.50, -0.05)


def person(joints: np.ndarray = STANDING, root: tuple = (0.0, 0.1, 3.0), number: int = 1, std: float = 0.05) -> Track:
    pose2d = Pose2D(np.full((17, 2), 50, np.float32), np.ones(17, np.float32), "h36m17")
    fan = Hypotheses(joints[None].astype(np.float32), np.zeros(1, np.float32))
    pose3d = Pose3D(joints, np.full(17, std, np.float32), np.array(root, np.float32))
    return Track(number, pose2d, pose2d, fan, pose3d)


def luminance(colours: np.ndarray) -> np.ndarray:
    """CIE Y of sRGB."""
    linear = ((colours / 255 + 0.055) / 1.055) ** 2.4
    return linear @ np.array([0.2126, 0.7152, 0.0722])


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(-5, 60), st.tuples(st.floats(-5, 5), st.floats(-1, 20)), st.floats(0, 4))
def test_virtual_camera_agrees_with_the_pinhole_of_posepipe(yaw, raised, focus, radius):
    view = ViewSettings(yaw_deg=yaw, raise_deg=raised)
    eye = viewpoint(view, focus, radius, 876, 720)
    world = STANDING + np.array([focus[0], -0.9, focus[1]])
    # The same camera from Euler angles: turn about the vertical, then tip down.
    a, b = math.radians(yaw), math.radians(raised)
    turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    tip = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    moved = (world - eye.position) @ (tip @ turn).T
    assert np.allclose(eye.rotation, tip @ turn, atol=1e-9)
    assert np.allclose(to_pixels(world, eye), project(moved, eye.intrinsics), atol=1e-6)
    # It looks at the person: the hip is in the middle column, everybody in the picture.
    pixels = to_pixels(world, eye)
    assert pixels[0, 0] == pytest.approx(438, abs=1e-6)
    assert ((pixels > 0) & (pixels < (876, 720))).all()


def test_positive_yaw_sees_the_person_from_the_cameras_right():
    eye = viewpoint(ViewSettings(yaw_deg=35), (0.0, 3.0), 0.0, 876, 720)
    assert eye.position[0] > 0.5
    assert eye.position[1] < -1.0  # above the floor: y is down
    assert eye.position[2] < 3.0


def test_the_whole_group_is_in_the_picture():
    view = ViewSettings()
    tracks = tuple(person(root=(x, 0.1, z), number=i) for i, (x, z) in enumerate([(-2, 3), (0, 5), (2, 3.5)]))
    ground = update_ground(GroundState(), tracks, view)
    eye = viewpoint(view, ground.focus, ground.radius, 640, 720)
    for track in tracks:
        pixels = to_pixels(place(STANDING, track, ground, view), eye)
        assert ((pixels > 0) & (pixels < (640, 720))).all()


def test_a_pitched_camera_is_undone():
    tilt = math.radians(20)
    # An upright person, as a camera that looks 20 degrees down sees it.
    seen = STANDING @ np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]]).T
    view = ViewSettings(camera_pitch_deg=20)
    track = person(seen.astype(np.float32))
    stood = place(seen, track, update_ground(GroundState(), (track,), view), view)
    assert np.allclose(stood - stood[0], STANDING, atol=1e-6)


def test_squatting_lowers_the_hip_and_leaves_the_feet():
    view, ground, hips, ankles = ViewSettings(), GroundState(), [], []
    for share in np.concatenate([np.zeros(10), np.linspace(0, 1, 15), np.ones(20), np.linspace(1, 0, 15)]):
        joints = ((1 - share) * STANDING + share * SQUATTING).astype(np.float32)
        # The feet stand still in the world, so the hip's absolute height follows from the pose.
        track = person(joints, root=(0, 1.0 - float(joints[3, 1]), 3.0))
        ground = update_ground(ground, (track,), view)
        world = place(joints, track, ground, view)
        hips.append(-world[0, 1])
        ankles.append(-world[3, 1])
    assert np.ptp(ankles) < 1e-5
    assert hips[0] - hips[40] == pytest.approx(0.34, abs=1e-5)


def test_floor_falls_fast_and_rises_slowly():
    view = ViewSettings()
    at = [update_ground(GroundState(), (person(root=(0, 0.0, 3)),), view)]
    for height in [0.2] * 4 + [0.0] * 4:
        at.append(update_ground(at[-1], (person(root=(0, height, 3)),), view))
    floors = [s.anchors[0].floor for s in at]
    fallen, risen = floors[4] - floors[0], floors[4] - floors[8]
    assert fallen > 0.18
    assert 0 < risen < 0.02


def test_place_survives_a_short_absence_and_an_unknown_root():
    view = ViewSettings()
    ground = update_ground(GroundState(), (person(),), view)
    away = update_ground(ground, (), view)
    assert away.focus == ground.focus
    assert away.anchor(1).floor == ground.anchor(1).floor
    lost = person(root=(math.nan,) * 3)
    after = update_ground(away, (lost,), view)
    assert (after.anchor(1).x, after.anchor(1).z) == (ground.anchor(1).x, ground.anchor(1).z)
    assert place(STANDING, lost, after, view)[3, 1] == pytest.approx(-0.07, abs=1e-6)
    for _ in range(40):
        away = update_ground(away, (), view)
    assert away.anchors == ()


def test_people_without_known_places_do_not_stand_in_each_other():
    view = ViewSettings()
    tracks = tuple(person(root=(math.nan,) * 3, number=i) for i in range(3))
    ground = update_ground(GroundState(), tracks, view)
    hips = np.array([place(STANDING, t, ground, view)[0] for t in tracks])
    assert np.abs(np.diff(hips[:, 0])).min() > 1


def distance_to_bones(shape: tuple[int, int], pixels: np.ndarray) -> np.ndarray:
    """(h, w) distance of every pixel centre to the nearest bone of any hypothesis."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    best = np.full(shape, np.inf)
    for pose in pixels:
        for a, b in H36M_17.bones:
            step = pose[b] - pose[a]
            t = np.clip(((x - pose[a, 0]) * step[0] + (y - pose[a, 1]) * step[1]) / max(step @ step, 1e-9), 0, 1)
            best = np.minimum(best, np.hypot(x - pose[a, 0] - t * step[0], y - pose[a, 1] - t * step[1]))
    return best


@pytest.mark.parametrize("count", [1, 5, 40])
def test_fan_changes_pixels_along_the_bones_and_nowhere_else(count):
    rng = np.random.default_rng(count)
    pixels = (STANDING[None, :, :2] * 120 + (150.3, 110.7) + rng.normal(0, 4, (count, 17, 2))).astype(np.float64)
    image = np.zeros((240, 300, 3), np.uint8)
    draw_fan(image, pixels, Hypotheses(np.zeros((count, 17, 3), np.float32), np.full(count, -np.log(count))))
    changed = image.max(axis=2) > 0
    distance = distance_to_bones(changed.shape, pixels)
    assert distance[changed].max() < 3
    assert changed[distance < 0.5].all()


def test_fan_lines_lie_where_the_joints_project_to_a_quarter_pixel():
    pixels = np.full((1, 17, 2), np.nan)
    pixels[0, 0], pixels[0, 1] = (20.0, 30.3), (80.0, 30.3)  # one level bone: hip to right hip
    image = np.zeros((60, 100, 3), np.uint8)
    draw_fan(image, pixels, Hypotheses(np.zeros((1, 17, 3), np.float32), np.zeros(1, np.float32)))
    column = image[:, 50].sum(axis=1).astype(float)
    assert (column @ (np.arange(60) + 0.5)) / column.sum() == pytest.approx(30.3, abs=0.25)


def test_fan_lines_add_up_and_likelier_ones_are_brighter():
    def light(log_weights: list[float], apart: bool) -> np.ndarray:
        pixels = np.full((len(log_weights), 17, 2), np.nan)
        for h in range(len(log_weights)):
            pixels[h, 0], pixels[h, 1] = (10, 20 + 12 * h * apart), (90, 20 + 12 * h * apart)
        image = np.zeros((60, 100, 3), np.uint8)
        joints = np.zeros((len(log_weights), 17, 3), np.float32)
        draw_fan(image, pixels, Hypotheses(joints, np.array(log_weights, np.float32)))
        return image[:, 50].max(axis=1).astype(int)

    even, uneven = [math.log(0.5)] * 2, [math.log(0.1), math.log(0.9)]
    assert light(even, apart=False).max() > 1.3 * light(even, apart=True).max()
    rows = light(uneven, apart=True)
    assert rows[15:25].max() < 0.7 * rows[27:37].max()
    opacity = bone_opacity(np.log([0.02, 0.1, 0.3, 0.58]))
    assert (np.diff(opacity) > 0).all()


def test_left_and_right_of_the_fan_differ_in_colour():
    pixels = STANDING[None, :, :2] * 120.0 + (150, 110)
    image = np.zeros((240, 300, 3), np.uint8)
    draw_fan(image, pixels, Hypotheses(STANDING[None], np.zeros(1, np.float32)))
    left, right = (image[y, x].astype(int) for x, y in ((167, 185), (131, 185)))  # the two shins
    assert left[2] > left[0] + 40
    assert right[0] > right[2] + 40


def test_uncertainty_colours_get_lighter_with_the_deviation():
    ramp = uncertainty_colours(np.linspace(0.02, 0.15, 60))
    assert (np.diff(luminance(ramp)) > 0).all()
    ends = uncertainty_colours(np.array([0.0, 0.02, 0.15, 3.0, np.nan, np.inf]))
    assert (ends[0] == ends[1]).all()
    assert (ends[2:] == ends[2]).all()


def test_joint_discs_carry_the_colour_of_their_deviation():
    pixels = STANDING[:, :2] * 250.0 + (200, 250)
    deviations = np.linspace(0.01, 0.2, 17)
    image = np.zeros((520, 400, 3), np.uint8)
    draw_solid(image, pixels, np.full(17, 5.0), deviations, 250)
    centres = image[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    # Discs that lie apart from every other joint, so that nothing can cover them.
    apart = [j for j in range(17) if np.sort(np.linalg.norm(pixels - pixels[j], axis=1))[1] > 24]
    assert len(apart) > 12
    assert (centres[apart] == uncertainty_colours(deviations)[apart]).all()


def test_nearer_bones_cover_farther_ones():
    pixels = np.full((17, 2), np.nan)
    pixels[[1, 2]] = (20, 50), (100, 50)  # right thigh, level
    pixels[[4, 5]] = (60, 10), (60, 90)  # left thigh, upright
    for near, colour in ((4, LEFT), (1, RIGHT)):
        depth = np.full(17, 5.0)
        depth[[near, near + 1]] = 4.0
        image = np.zeros((100, 120, 3), np.uint8)
        draw_solid(image, pixels, depth, np.zeros(17), 250)
        found = image[50, 60].astype(float)
        assert found.argmax() == int(np.argmax(colour))


def test_the_grid_stands_still_in_the_world_and_fades_out():
    eye = viewpoint(ViewSettings(), (0.0, 3.0), 0.0, 876, 720)
    image = empty_stage(eye, (0.0, 3.0)).sum(axis=2).astype(int)
    # Along a line of the floor the grid is crossed every half metre.
    on = to_pixels(np.array([[x, 0, 3.25] for x in (-0.5, 0.0, 0.5)]), eye)
    off = to_pixels(np.array([[x, 0, 3.25] for x in (-0.25, 0.25, 0.75)]), eye)
    lit = [image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].max() for x, y in on]
    dark = [image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].max() for x, y in off]
    assert min(lit) > max(dark) + 20
    assert np.abs(np.diff(image[:200], axis=1)).max() <= 6  # nothing but the background's dither up there


def test_depth_is_measured_from_the_virtual_camera():
    eye = viewpoint(ViewSettings(), (0.0, 3.0), 0.0, 876, 720)
    ahead = eye.position + 2.5 * eye.rotation[2]
    assert np.allclose(to_camera(ahead, eye), (0, 0, 2.5))
