"""The whole picture and the 2D overlay: sizes, what is drawn where, and inputs that must not raise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.pipeline.render.layout import compose, panel_widths, picture_size
from posepipe.pipeline.render.legend import Caption, clock
from posepipe.pipeline.render.overlay2d import draw_pose2d, opacity
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.text import draw_text, text_width
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.skeleton import H36M_17
from posepipe.types import Hypotheses, Pose2D, Pose3D, Track

CAPTION = Caption(25.0, "mdn", 20, "blazepose", "onnxruntime", 1.5)
VIEW = ViewSettings()
PIXELS = np.array(
    [
        (150, 200), (130, 200), (125, 260), (125, 320), (170, 200), (175, 260), (175, 320), (150, 165), (150, 130),
        (150, 110), (150, 90), (185, 135), (205, 170), (215, 205), (115, 135), (95, 170), (85, 205),
    ],
    np.float32,
)  # fmt: skip


def track(number: int = 1, hypotheses: int = 20, shift: float = 0.0, damage: float | None = None) -> Track:
    rng = np.random.default_rng(number)
    joints = np.zeros((17, 3), np.float32)
    joints[:, :2] = (PIXELS - PIXELS[0]) / 130
    fan = joints + rng.normal(0, 0.04, (hypotheses, 17, 3)).astype(np.float32)
    std = np.linspace(0.01, 0.2, 17).astype(np.float32)
    pixels, confidence, root = PIXELS.copy(), np.ones(17, np.float32), np.array((shift, 0, 3), np.float32)
    if damage is not None:
        for values in (pixels, confidence, std, joints, root):
            values[::3] = damage
        fan[::2, ::3] = damage
    pose2d = Pose2D(pixels, confidence, "h36m17")
    weights = np.full(hypotheses, -math.log(hypotheses), np.float32)
    return Track(number, pose2d, pose2d, Hypotheses(fan, weights), Pose3D(joints, std, root))


def picture(tracks: tuple[Track, ...], size: tuple[int, int] = (300, 400), caption: Caption = CAPTION) -> np.ndarray:
    frame = np.full((size[1], size[0], 3), 90, np.uint8)
    return compose(frame, tracks, caption, VIEW, update_ground(GroundState(), tracks, VIEW))


def test_sizes_of_common_videos():
    assert picture_size(720, 1280, VIEW) == (1280, 720)
    assert picture_size(1920, 1080, VIEW) == (1920, 720)
    assert picture_size(640, 480, VIEW) == (1600, 720)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(200, 1080))
def test_sizes_are_even_and_bounded(width, height, panel):
    total, tall = picture_size(width, height, ViewSettings(height=panel))
    left, right = panel_widths(width, height, tall)
    assert left % 2 == right % 2 == tall % 2 == 0
    assert left + right == total <= 2.7 * tall + 4
    assert abs(tall - panel) <= 1


@pytest.mark.parametrize("size", [(300, 400), (1, 1), (7, 900), (1600, 90), (333, 217), (720, 1280)])
def test_the_picture_has_the_promised_size_whoever_is_in_it(size):
    for tracks in ((), (track(),), (track(1, shift=-1), track(2, shift=1))):
        made = picture(tracks, size)
        assert made.dtype == np.uint8
        assert made.shape[1::-1] == picture_size(*size, VIEW)


@pytest.mark.parametrize("hypotheses", [1, 20, 200])
@pytest.mark.parametrize("damage", [None, math.nan, math.inf, -math.inf, 0.0, 1e30, -1e7, 1e4])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_input_raises(hypotheses, damage):
    assert picture((track(1, hypotheses, damage=damage), track(2, hypotheses, 1.0))).any()


def test_tracks_without_3d_and_strange_captions_do_not_raise():
    bare = track()
    bare = Track(7, bare.pose2d, bare.detected)
    odd = Caption(math.nan, "lifter with ünïcode " * 8, 1, "", "backend " * 20, -3.0)
    assert picture((bare,), caption=odd).shape == picture(()).shape
    assert picture((), caption=Caption(0.0, "", 0, "", "")).shape == picture(()).shape


def test_same_arguments_same_bytes_and_the_frame_is_left_alone():
    frame = np.random.default_rng(0).integers(0, 255, (400, 300, 3), np.uint8)
    before = frame.copy()
    tracks = (track(1, shift=-0.5), track(2, shift=0.5))
    ground = update_ground(GroundState(), tracks, VIEW)
    first = compose(frame, tracks, CAPTION, VIEW, ground)
    picture((track(3),))  # other pictures in between leave nothing behind
    assert (compose(frame, tracks, CAPTION, VIEW, ground) == first).all()
    assert (frame == before).all()


def test_the_frame_fills_its_half_and_the_speed_can_be_left_out():
    made = picture((), (720, 1280))
    left, _ = panel_widths(720, 1280, 720)
    assert (made[60:, :left] == 90).all()
    silent = picture((), caption=Caption(math.nan, "mdn", 20, "blazepose", "onnxruntime"))
    assert (silent == picture((), caption=Caption(0.0, "mdn", 20, "blazepose", "onnxruntime"))).all()
    assert (silent != picture((), caption=Caption(31.0, "mdn", 20, "blazepose", "onnxruntime"))).any()


def test_an_empty_scene_says_so():
    left, _ = panel_widths(300, 400, 720)
    middle = slice(300, 345), slice(left + 200, -200)
    nobody = picture(())[middle].astype(int)
    no_pose = picture((Track(7, track().pose2d, track().detected),))[middle].astype(int)
    assert nobody.max() > 130
    assert no_pose.max() > 130
    assert (nobody != no_pose).any()


def test_more_hypotheses_show_as_a_denser_fan():
    left, _ = panel_widths(300, 400, 720)
    few, many, none = (picture((track(hypotheses=n),))[100:640, left:].astype(int) for n in (2, 150, 1))
    assert (few != none).any(axis=2).sum() > 200
    assert (many != none).any(axis=2).sum() > 3 * (few != none).any(axis=2).sum()


def drawn(pose: Pose2D, scale: float = 1.0, label: str = "") -> np.ndarray:
    image = np.full((400, 300, 3), 90, np.uint8)
    draw_pose2d(image, pose, label, scale)
    return image


def test_2d_sides_have_their_colours():
    image = drawn(Pose2D(PIXELS, np.ones(17, np.float32), "h36m17")).astype(int)
    for joints, channel in ((H36M_17.left, 2), (H36M_17.right, 0)):
        for joint in joints:
            middle = (PIXELS[joint] + PIXELS[H36M_17.parents[joint]]) / 2
            colour = image[int(middle[1]), int(middle[0])]
            assert colour[channel] > colour[2 - channel] + 60


@pytest.mark.parametrize("unseen", [0.0, math.nan])
def test_unseen_2d_joints_and_their_bones_are_not_drawn(unseen):
    confidence = np.ones(17, np.float32)
    confidence[13] = unseen
    image = drawn(Pose2D(PIXELS, confidence, "h36m17"))
    elbow, wrist = PIXELS[12], PIXELS[13]
    assert (image[int(wrist[1]) - 4 : int(wrist[1]) + 5, int(wrist[0]) - 4 : int(wrist[0]) + 5] == 90).all()
    assert (image[int((elbow + wrist)[1] / 2), int((elbow + wrist)[0] / 2)] == 90).all()
    assert (image[int(elbow[1]), int(elbow[0])] != 90).any()
    assert (drawn(Pose2D(PIXELS, np.full(17, unseen, np.float32), "h36m17"), label="#1") == 90).all()


def test_a_doubtful_2d_joint_is_fainter_and_smaller():
    strength, area = [], []
    for sure in (0.1, 0.4, 0.7, 1.0):
        confidence = np.zeros(17, np.float32)
        confidence[10] = sure  # a lone joint: no bone is drawn
        change = np.abs(drawn(Pose2D(PIXELS, confidence, "h36m17")).astype(int) - 90).max(axis=2)
        strength.append(change.max())
        area.append((change > change.max() / 4).sum())
    assert strength == sorted(set(strength))
    assert area[0] < area[1] < area[-1]
    assert (np.diff(opacity(np.linspace(0.01, 1, 20))) > 0).all()


def test_2d_drawing_stays_near_the_person_and_follows_the_scale():
    pose = Pose2D(PIXELS, np.ones(17, np.float32), "h36m17")
    for scale in (1.0, 0.5):
        changed = (drawn(pose, scale) != 90).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert rows[0] == pytest.approx(90 * scale, abs=9)
        assert rows[-1] == pytest.approx(320 * scale, abs=9)
        assert columns[0] == pytest.approx(85 * scale, abs=9)
        assert columns[-1] == pytest.approx(215 * scale, abs=9)


def test_other_layouts_can_be_drawn():
    pose = Pose2D(np.random.default_rng(0).uniform(20, 280, (33, 2)).astype(np.float32), np.ones(33), "blazepose33")
    assert (drawn(pose) != 90).any()


def test_text_is_cut_at_the_edges_and_aligned():
    image = np.zeros((60, 200, 3), np.uint8)
    for at in ((-30, 10), (190, 70), (50, -5), (500, 500)):
        draw_text(image, "outside?", at, 14)
    image[:] = 0
    width = draw_text(image, "right", (180, 40), 14, align=1)
    columns = np.flatnonzero(image.any(axis=(0, 2)))
    assert 176 <= columns[-1] <= 180
    assert 180 - width <= columns[0]
    assert width == text_width("right", 14)
    assert draw_text(image, "", (5, 5)) == 0


def test_clock():
    assert clock(62.345) == "1:02.35" or clock(62.345) == "1:02.34"
    assert clock(59.999) == "1:00.00"
    assert clock(-0.5) == "-0:00.50"
    assert clock(math.nan) == ""
