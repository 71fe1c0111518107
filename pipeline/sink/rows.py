"""Reading a result file frame by frame: who is there in each, and NaN where somebody is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.sink.h5 import Recording


def people_per_frame(recording: Recording) -> NDArray[np.int64]:
    """(T,) how many people have a pose in every frame of the source."""
    count = np.zeros(len(recording.pts), np.int64)
    for track in recording.tracks.values():
        np.add.at(count, track.frame, 1)
    return count


def on_every_frame(recording: Recording, track: int, column: str) -> tuple[NDArray, NDArray[np.bool_]]:
    """A column of a track spread over all T frames of the source: (T, ...) with NaN where the person is not seen, and
    (T,) whether they are. Nothing is held or interpolated. KeyError for a track or column that the file has not."""
    record = recording.tracks[track]
    values = getattr(record, column, None)
    if values is None:
        raise KeyError(column)
    valid = np.zeros(len(recording.pts), bool)
    valid[record.frame] = True
    spread = np.full((len(valid), *values.shape[1:]), np.nan, np.result_type(values.dtype, np.float16))
    spread[record.frame] = values
    return spread, valid
