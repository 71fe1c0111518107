"""Whether a result file is complete, without reading what is in it."""

from __future__ import annotations

from pathlib import Path

from posepipe.pipeline.sink.h5 import FORMAT_VERSION
from posepipe.safe_h5 import READ_ERRORS, dataset, open_h5, text


def source_sha256(path: str | Path) -> str | None:
    """The hash of the source that a complete result file was made from; None when the file is missing, damaged, of
    another format version, or was not closed properly (its number of frames is written last).

    For files whose bytes are known to be ours: what HDF5 does with others is not to be foreseen."""
    try:
        with open_h5(path, survey=False) as file:
            attributes = file.attrs
            if attributes["format_version"] != FORMAT_VERSION:
                return None
            pts, status = dataset(file, "frames/pts", "f", (None,)), dataset(file, "frames/status", "u", (None,))
            return text(attributes, "source_sha256") if attributes["frames"] == len(pts) == len(status) else None
    except READ_ERRORS:
        return None
