"""Calibration files as people have them: our JSON, OpenCV's (JSON or FileStorage YAML), ROS camera_info, Kalibr.

OpenCV and its relatives count pixel centres at whole numbers, we at halves (the picture's corner is 0), so their
principal points get half a pixel more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posepipe.camera import GIVEN, Intrinsics
from posepipe.distortion import LENGTHS
from posepipe.errors import InputError

_EXAMPLE = (
    'Give JSON like {"fx": 1000, "fy": 1000, "cx": 640, "cy": 360, "width": 1280, "height": 720}, or a file with '
    "camera_matrix, dist_coeffs and the image size as OpenCV, ROS (camera_info) or Kalibr write it."
)
_MATRIX = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "mtx", "intrinsic_matrix", "K", "k")
_COEFFICIENTS = (
    "dist_coeffs",
    "distortion_coefficients",
    "Distortion_Coefficients",
    "distortion_coeffs",
    "distCoeffs",
    "dist",
    "distortion",
    "D",
    "d",
)
_WIDTH = ("width", "image_width", "image_Width", "imageWidth")
_HEIGHT = ("height", "image_height", "image_Height", "imageHeight")
_SIZE = ("image_size", "imageSize", "resolution", "img_size")
_MODEL = ("distortion_model", "lens_model", "camera_model")
_FISHEYE = ("fisheye", "equidistant", "kannala_brandt", "equi")
_OPENCV = ("", "opencv", "plumb_bob", "rational_polynomial", "radtan", "pinhole", "none", "brown_conrady")
_ANGLES = 0.5, 178.0  # degrees over a side: a long telephoto lens, the widest one
_ASPECT = 0.01  # how far the shapes of the calibrated and the given picture may differ


def from_file(path: Path, width: int, height: int) -> Intrinsics:
    """Intrinsics for a picture of width x height; brought over when they were made at another size of the same shape.

    Raises InputError when the file is missing or says nothing usable, and when it belongs to a picture of another
    shape."""
    path = Path(path)
    data = _first_camera(_parsed(path))
    try:
        fx, fy, cx, cy, shift = _pinhole(data)
        coefficients, model = _lens(data)
        at_width, at_height = _size(data, width, height)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"Cannot read intrinsics from {path} ({what}).", _EXAMPLE) from None
    numbers = (fx, fy, cx, cy, at_width, at_height, *coefficients)
    if not all(math.isfinite(v) for v in numbers) or min(fx, fy, at_width, at_height) <= 0:
        raise InputError(f"Intrinsics in {path} must be finite, with positive focal lengths and size.", _EXAMPLE)
    for side, focal in ((at_width, fx), (at_height, fy)):
        angle = math.degrees(2 * math.atan2(0.5 * side, focal))
        if not _ANGLES[0] <= angle <= _ANGLES[1]:
            raise InputError(f"The focal lengths in {path} mean a field of view of {angle:g} degrees.", _EXAMPLE)
    sx, sy = width / at_width, height / at_height
    if abs(sx / sy - 1) > _ASPECT:
        turned = abs(width / at_height * at_width / height - 1) <= _ASPECT
        raise InputError(
            f"Intrinsics in {path} are for {at_width:g}x{at_height:g} pixels, the picture has {width}x{height}.",
            "It is turned: give the intrinsics of the upright picture."
            if turned
            else "Give those of this shape: a cropped picture has another principal point.",
        )
    if not (0 <= cx <= at_width and 0 <= cy <= at_height):
        raise InputError(
            f"The principal point in {path} ({cx:g}, {cy:g}) is outside of {at_width:g}x{at_height:g} pixels.",
            "Add the width and height at which the camera was calibrated.",
        )
    return Intrinsics(
        fx * sx,
        fy * sy,
        (cx + shift) * sx,
        (cy + shift) * sy,
        width,
        height,
        assumed=False,
        origin=GIVEN,
        distortion=coefficients,
        lens_model=model,
        note=path.name,
    )


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read intrinsics from {path} ({error}).", _EXAMPLE) from None
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"Cannot read intrinsics from {path} (it is nested too deeply).", _EXAMPLE) from None
    except ValueError as error:
        if path.suffix.lower() == ".json":
            raise InputError(f"Cannot read intrinsics from {path} ({error}).", _EXAMPLE) from None
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain data only; OpenCV's matrices are mappings with a tag."""

    Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", lambda loader, node: loader.construct_mapping(node, True))
    if text.startswith("%YAML:"):  # OpenCV's own first line, which is no YAML
        text = text.partition("\n")[2]
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"Cannot read intrinsics from {path} ({_wrong(error)}).", _EXAMPLE) from None


def _wrong(error: Exception) -> str:
    """What a YAML reader has to say, on one line."""
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark else ""
    return " ".join(str(getattr(error, "problem", None) or error or type(error).__name__).split()) + where


def _first_camera(data: Any) -> Mapping[str, Any]:
    """The mapping that has the numbers: the file itself, or `cam0` of a Kalibr file."""
    if isinstance(data, Mapping):
        inner = data.get("cam0")
        return inner if isinstance(inner, Mapping) else data
    return {}


def _found(data: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((data[n] for n in names if data.get(n) is not None), None)


def _numbers(value: Any) -> list[float]:
    """A matrix in any of its shapes: nested lists, {"data": [...]}, or one list."""
    if isinstance(value, Mapping):
        value = value["data"]
    if isinstance(value, (list, tuple)):
        return [n for item in value for n in _numbers(item)]
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value} is not a number")
    return [float(value)]


def _pinhole(data: Mapping[str, Any]) -> tuple[float, float, float, float, float]:
    """fx, fy, cx, cy and what the principal point needs to count as ours."""
    matrix = _found(data, _MATRIX)
    if matrix is not None:
        numbers = _numbers(matrix)
        if len(numbers) != 9:
            raise ValueError(f"a camera matrix has 9 numbers, not {len(numbers)}")
        return numbers[0], numbers[4], numbers[2], numbers[5], 0.5
    kalibr = data.get("intrinsics")
    if kalibr is not None:
        numbers = _numbers(kalibr)
        if len(numbers) != 4:
            raise ValueError(f"intrinsics are 4 numbers (fu, fv, pu, pv), not {len(numbers)}")
        return numbers[0], numbers[1], numbers[2], numbers[3], 0.5
    fx, fy, cx, cy = (float(data[name]) for name in ("fx", "fy", "cx", "cy"))
    return fx, fy, cx, cy, 0.0


def _lens(data: Mapping[str, Any]) -> tuple[tuple[float, ...], str]:
    name = str(_found(data, _MODEL) or "").lower()
    if name not in (*_FISHEYE, *_OPENCV):
        raise ValueError(f"unknown distortion model '{name}'")
    model = "fisheye" if name in _FISHEYE else "opencv"
    given = _found(data, _COEFFICIENTS)
    numbers = [] if given is None else _numbers(given)
    if len(numbers) == 14 and not any(numbers[12:]):  # the tilt of a Scheimpflug lens, unused
        numbers = numbers[:12]
    if not numbers or (len(numbers) < 4 and not any(numbers)):
        return (), model
    if len(numbers) not in LENGTHS[model]:
        wanted = ", ".join(map(str, LENGTHS[model]))
        raise ValueError(f"{len(numbers)} distortion coefficients; {model} has {wanted}")
    return tuple(numbers), model


def _size(data: Mapping[str, Any], width: int, height: int) -> tuple[float, float]:
    """The size it was calibrated at; of the picture at hand where the file does not say."""
    both = _found(data, _SIZE)
    if both is not None:
        if isinstance(both, Mapping) and "width" in both:
            return float(both["width"]), float(both["height"])
        numbers = _numbers(both)
        if len(numbers) != 2:
            raise ValueError(f"an image size has 2 numbers, not {len(numbers)}")
        return numbers[0], numbers[1]
    wide, high = _found(data, _WIDTH), _found(data, _HEIGHT)
    if (wide is None) != (high is None):
        raise ValueError("only one of width and height")
    return (float(width), float(height)) if wide is None else (float(wide), float(high))
