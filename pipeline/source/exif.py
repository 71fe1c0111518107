"""What a picture says of how it was taken. By Pillow, since PyAV hands EXIF on from its version 18 only."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image


def exif_tags(path: Path) -> dict[str, str]:
    """EXIF's names and values; empty where the picture says nothing or cannot be read."""
    try:
        with Image.open(path) as opened:
            tags = opened.getexif().get_ifd(ExifTags.IFD.Exif)
            return {ExifTags.TAGS.get(code, str(code)): str(value) for code, value in tags.items()}
    except Exception:  # noqa: BLE001 - decoders meet damaged bytes with all kinds of errors; nothing is known then
        return {}
