"""The small picture of a video: a frame with its keypoints, and the fan of hypotheses beside it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.render.fan3d import draw_view3d
from posepipe.pipeline.render.layout import panel_widths
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.report.digest import Digest, people_at

_WIDEST = 16 / 9  # of the picture on the left
_SEARCH = 300  # frames decoded at most to find one with a person


def thumbnail(found: Digest, overlay: Path | None, height: int, quality: int) -> tuple[bytes, int, int] | None:
    """JPEG bytes, width and height; None where nobody was found. The picture comes from the overlay video, near the
    frame that is typical; without one the fan stands alone. Raises InputError when the result file is damaged."""
    if found.typical is None:
        return None
    shown, picture = found.typical, None
    if overlay is not None:
        near = _overlay_frame(found, overlay)
        if near is not None:
            shown, picture = near
    fan = _fan(found, shown, height)
    parts = [fan] if picture is None else [_resized(picture, height), fan]
    image = np.concatenate(parts, axis=1)
    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return coded.tobytes(), image.shape[1], image.shape[0]


def _fan(found: Digest, frame: int, height: int) -> NDArray[np.uint8]:
    people, view = people_at(found.path, frame), ViewSettings()
    size = 2 * height  # drawn large and made smaller: lines do not get thinner than a pixel
    return _resized(draw_view3d(people, update_ground(GroundState(), people, view), view, size, size), height)


def _resized(image: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _overlay_frame(found: Digest, overlay: Path) -> tuple[int, NDArray[np.uint8]] | None:
    """(frame, its picture with keypoints), at the key frame before the typical one if somebody is there, else further
    on; None where the video cannot be read."""
    import av
    from av.error import FFmpegError

    assert found.typical is not None
    seen = np.unique(np.concatenate([line.frame for line in found.lines]))
    wanted = found.pts[found.typical] - found.pts[0]
    try:
        with av.open(str(overlay)) as container:
            stream = container.streams.video[0]
            start = stream.start_time or 0
            if stream.time_base and np.isfinite(wanted):
                container.seek(start + int(wanted / stream.time_base), stream=stream)
            for count, frame in enumerate(container.decode(stream)):
                if count >= _SEARCH:
                    break
                since = float(frame.pts - start) * float(stream.time_base) if frame.pts is not None else np.nan
                index = int(np.nanargmin(np.abs(found.pts - found.pts[0] - since)))
                if index in seen:
                    image = frame.to_ndarray(format="rgb24")
                    width = panel_widths(*found.size, image.shape[0])[0]
                    return index, image[:, : min(width, round(_WIDEST * image.shape[0]))]
    except (FFmpegError, OSError, ValueError, IndexError, TypeError):
        return None
    return None
