"""From what a person typed to a source of the live path."""

from __future__ import annotations

from posepipe.pipeline.source.live import LiveSource
from posepipe.pipeline.source.stream_address import is_address


def is_camera(text: str) -> bool:
    """A camera's number, or a video device."""
    return text.isdecimal() or text.startswith("/dev/video")


def is_live(text: str) -> bool:
    """Whether this goes on by itself: a camera or a stream, not a file."""
    return is_camera(text) or is_address(text)


def open_source(text: str, live: bool = True, image_fps: float | None = None) -> LiveSource:
    """`0` or `/dev/video0`: a webcam; `rtsp://...`, `http://...`: a stream; anything else: a file or folder of images
    (image_fps a second), in real time if `live`, frame by frame otherwise. Raises InputError when it does not open."""
    if is_camera(text):
        from posepipe.pipeline.source.webcam import Webcam

        return Webcam(text)
    if is_address(text):
        from posepipe.pipeline.source.stream import StreamSource

        return StreamSource(text)
    from posepipe.pipeline.source.playback import Playback

    return Playback(text, live, image_fps)
