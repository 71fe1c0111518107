"""Calibration files as OpenCV, ROS and Kalibr write them, and what is wrong with some."""

import json

import cv2
import numpy as np
import pytest

from posepipe.errors import InputError
from posepipe.intrinsics_file import from_file

K = [[1000.0, 0.0, 639.5], [0.0, 990.0, 349.5], [0.0, 0.0, 1.0]]
BENT = (0.1, -0.2, 0.001, 0.002, 0.05)
ROS = """image_width: 1280
image_height: 720
camera_name: narrow_stereo/left
camera_matrix:
  rows: 3
  cols: 3
  data: [1000.0, 0.0, 639.5, 0.0, 990.0, 349.5, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 0.001, 0.002, 0.05]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""
KALIBR = """cam0:
  camera_model: pinhole
  distortion_coeffs: [-0.01, 0.02, 0.003, -0.004]
  distortion_model: equidistant
  intrinsics: [1000.0, 990.0, 639.5, 349.5]
  resolution: [1280, 720]
"""


def check(camera, bent=BENT, model="opencv"):
    """OpenCV's pixel (639.5, 349.5) is a half more from the corner."""
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (1000, 990, 640, 350)
    assert camera.distortion == pytest.approx(bent)
    assert (camera.lens_model, camera.assumed, camera.origin) == (model, False, "given")


def test_opencv_filestorage_as_opencv_writes_it(tmp_path):
    for name in ("camera.yml", "camera.json"):
        path = str(tmp_path / name)
        storage = cv2.FileStorage(path, cv2.FILE_STORAGE_WRITE)
        storage.write("image_width", 1280)
        storage.write("image_height", 720)
        storage.write("camera_matrix", np.array(K))
        storage.write("distortion_coefficients", np.array([BENT]))
        storage.release()
        check(from_file(tmp_path / name, 1280, 720))


def test_what_calibrate_camera_returns_dumped_as_json(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"camera_matrix": K, "dist_coeffs": [list(BENT)], "image_size": [1280, 720]}))
    check(from_file(path, 1280, 720))


def test_ros_camera_info(tmp_path):
    path = tmp_path / "head_camera.yaml"
    path.write_text(ROS)
    check(from_file(path, 1280, 720))


def test_kalibr_and_a_fisheye(tmp_path):
    path = tmp_path / "camchain.yaml"
    path.write_text(KALIBR)
    check(from_file(path, 1280, 720), (-0.01, 0.02, 0.003, -0.004), "fisheye")


def test_another_size_of_the_same_shape_is_brought_over_with_the_distortion_as_it_is(tmp_path):
    path = tmp_path / "head_camera.yaml"
    path.write_text(ROS)
    camera = from_file(path, 640, 360)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 495, 320, 175)
    assert camera.distortion == BENT
    assert (camera.width, camera.height) == (640, 360)


def test_no_distortion_is_none(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"K": K, "D": []}))
    check(from_file(path, 1280, 720), ())


@pytest.mark.parametrize(("size", "hint"), [((640, 480), "shape"), ((720, 1280), "turned"), ((1280, 800), "shape")])
def test_a_picture_of_another_shape_is_refused(tmp_path, size, hint):
    path = tmp_path / "head_camera.yaml"
    path.write_text(ROS)
    with pytest.raises(InputError, match=f"1280x720.*{size[0]}x{size[1]}") as caught:
        from_file(path, *size)
    assert hint in caught.value.hint


def test_numbers_of_a_larger_picture_without_its_size_are_noticed(tmp_path):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps({"fx": 3000, "fy": 3000, "cx": 1920, "cy": 1080}))
    with pytest.raises(InputError, match="principal point") as caught:
        from_file(path, 640, 360)
    assert "width and height" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "", "no "),
        ("a.yaml", "- 1\n- 2\n", "fx"),
        ("a.yaml", "camera_matrix: [1, 2, 3]\n", "9 numbers"),
        ("a.yaml", "camera_matrix: {rows: 3}\n", "data"),
        ("a.yaml", ROS.replace("1000.0", ".nan"), "finite"),
        ("a.yaml", ROS.replace("plumb_bob", "omnidirectional"), "omnidirectional"),
        ("a.yaml", ROS.replace("[0.1, -0.2,", "[0.1, -0.2, 1, 1, 1, 1,"), "9 distortion coefficients"),
        ("a.yaml", ROS.replace("image_height: 720\n", ""), "only one of"),
        ("a.yaml", "a: [1, 2\n", "expected"),
        ("a.yaml", "!!python/object/apply:os.system ['false']\n", "python"),
        ("a.yaml", "a: &a [*a]\ncamera_matrix: *a\n", "a.yaml"),
        ("a.yml", "\x00\x01", "a.yml"),
        ("a.json", json.dumps({"fx": 1, "fy": True, "cx": None, "cy": 1}), "a.json"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_with_an_example(tmp_path, name, text, says):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        from_file(path, 1280, 720)
    assert says in str(caught.value)
    assert name in str(caught.value)
    assert "camera_matrix" in caught.value.hint
