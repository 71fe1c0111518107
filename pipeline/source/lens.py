"""What a file says of the lens it was taken with: QuickTime's tags, as FFmpeg hands them on, and EXIF's (exif.py).

The 35 mm equivalent (CIPA DCG-001: equal diagonals) is what phones and cameras write. It speaks of the still picture;
a video that is wider than 3:2 is taken for a cut of the full width of a 4:3 sensor, as phones do. Stabilisation crops
some more, so expect it to be right to about a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from posepipe.camera import FROM_FILE, Intrinsics

_FULL_FRAME = math.hypot(36, 24)  # mm
_WIDEST_WHOLE = 1.55  # a longer over a shorter side beyond this is a cut
_EQUIVALENT = (
    "com.apple.quicktime.camera.focal_length.35mm_equivalent",
    "focallengthin35mmfilm",
    "focallengthin35mmformat",
    "focal_length_35mm",
)
_UNIT_MM = {1: 25.4, 2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # EXIF FocalPlaneResolutionUnit; 1 means "none", read as inch
_SIDES = (("x", "exifimagewidth"), ("y", "exifimageheight"))
_FOV = (5.0, 170.0)


@dataclass(frozen=True)
class Lens:
    """focal: over the longer side of the picture. said: what the file says, for people."""

    focal: float
    said: str

    @property
    def fov_deg(self) -> float:
        """Over the longer side."""
        return math.degrees(2 * math.atan(0.5 / self.focal))

    def camera(self, width: int, height: int) -> Intrinsics:
        """Square pixels, principal point in the middle."""
        f = self.focal * max(width, height)
        return Intrinsics(f, f, width / 2, height / 2, width, height, assumed=False, origin=FROM_FILE, note=self.said)


def lens_of(metadata: Mapping[str, str], width: int, height: int) -> Lens | None:
    """The lens that the tags of a container, a stream or a picture (EXIF) of this size tell of; None where they tell
    of none, or of an impossible one. Names count without case and without what stands before a slash."""
    tags = {name.lower().rpartition("/")[2]: value for name, value in metadata.items()}
    longer, shorter = max(width, height), min(width, height)
    for name in _EQUIVALENT:
        millimetres = _number(tags.get(name))
        if millimetres > 0:
            diagonal = 1.25 if longer / shorter > _WIDEST_WHOLE else math.hypot(longer, shorter) / longer
            found = _checked(millimetres / _FULL_FRAME * diagonal, f"{millimetres:g} mm equivalent")
            if found:
                return found
    real, density = _number(tags.get("focallength")), _number(tags.get("focalplanexresolution"))
    # of the sensor's own x, whichever way up the picture is shown; Pillow calls it ExifImageWidth
    across, along = (_number(tags.get(f"pixel{c}dimension") or tags.get(name)) for c, name in _SIDES)
    unit = _UNIT_MM.get(int(_number(tags.get("focalplaneresolutionunit")) or 2))
    if real > 0 and density > 0 and across > 0 and unit:
        # FocalPlaneXResolution counts the pixels of the picture as it was stored, PixelXDimension of them across
        stored_longer = max(across, along)
        return _checked(real * density / unit / stored_longer, f"{real:g} mm, {across / density * unit:.1f} mm sensor")
    return None


def _checked(focal: float, said: str) -> Lens | None:
    lens = Lens(focal, said)
    return lens if _FOV[0] <= lens.fov_deg <= _FOV[1] else None


def _number(text: str | None) -> float:
    """The number that a tag holds, also as a ratio (52/2); 0 where it holds none."""
    if not text:
        return 0.0
    above, slash, below = str(text).strip().split()[0].partition("/") if str(text).strip() else ("", "", "")
    try:
        value = float(above) / (float(below) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        return 0.0
    return value if math.isfinite(value) else 0.0
