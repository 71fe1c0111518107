"""Whether a result file is complete, without reading what is in it."""

from __future__ import annotations

from pathlib import Path

import h5py

from posepipe.pipeline.sink.h5 import FORMAT_VERSION


def source_sha256(path: str | Path) -> str | None:
    """The hash of the source that a complete result file was made from; None when the file is missing, damaged, of
    another format version, or was not closed properly (its number of frames is written last)."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            attributes = file.attrs
            if attributes.get("format_version") != FORMAT_VERSION:
                return None
            frames = attributes.get("frames")
            if frames is None or not frames == len(file["frames/pts"]) == len(file["frames/status"]):
                return None
            return str(attributes["source_sha256"])
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return None
