"""C3D, the file of motion laboratories: joint positions as markers (docs/formats.md)."""

from __future__ import annotations

import warnings
from pathlib import Path

import c3d
import numpy as np
from numpy.typing import NDArray

from posepipe import __version__
from posepipe.pipeline.export.choose import PoseChoice
from posepipe.pipeline.export.clip import atomic_files, even_frames, files_of, frame_rate, placed
from posepipe.pipeline.sink.h5 import Recording
from posepipe.skeleton import H36M_17

_UNSEEN = -1.0  # a marker's "residual" that says that it was not seen


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """One file per person (see clip.files_of) at an even frame rate over the whole source, as C3D wants it; markers
    are invalid where nobody was seen or a joint is unknown.

    Millimetres, y up. Raises InputError when nobody was found, OutputError when a file cannot be written."""
    frames = even_frames(recording)
    with atomic_files(files_of(recording, path)) as temporaries:
        for number, temporary in temporaries.items():
            track = recording.tracks[number]
            markers = np.full((len(recording.pts), 17, 3), np.nan)
            markers[track.frame] = placed(track, pose) * 1000
            writer = _writer(markers[frames], frame_rate(recording), number, pose)
            with open(temporary, "wb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there are no force plates is no news
                writer.write(file)


def _writer(markers: NDArray, rate: float, number: int, pose: PoseChoice) -> c3d.Writer:
    """markers: (T, 17, 3) millimetres, NaN where unknown."""
    points = np.zeros((*markers.shape[:2], 5), np.float32)  # x, y, z, residual, cameras
    known = np.isfinite(markers).all(-1)
    points[..., :3] = np.where(known[..., None], markers, 0)
    points[..., 3] = np.where(known, 0, _UNSEEN)
    writer = c3d.Writer(point_rate=rate, point_units="mm")
    writer.set_point_labels(list(H36M_17.joints))
    writer.set_screen_axis("+X", "+Y")
    for group, said in (
        ("MANUFACTURER", {"COMPANY": "posepipe", "SOFTWARE": "posepipe", "VERSION_LABEL": __version__}),
        ("SUBJECTS", {"NAMES": f"track{number}"}),
        ("POSEPIPE", {"POSE": str(pose)}),
    ):
        writer.add_group(writer.numeric_key_next, group, "")
        for name, text in said.items():
            writer.get(group).add_str(name, "", text, len(text))
    nothing = np.zeros((0, 0))
    writer.add_frames([(frame, nothing) for frame in points])
    return writer
