"""TRC, the marker file of OpenSim and Motion Analysis: joint positions as markers (docs/formats.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.export.choose import PoseChoice
from posepipe.pipeline.export.clip import atomic_files, files_of, frame_rate, placed
from posepipe.pipeline.sink.h5 import Recording
from posepipe.skeleton import H36M_17


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """One file per person (see clip.files_of), a line for every frame of the source; blank where nobody was seen.

    Millimetres, y up. Raises InputError when nobody was found, OutputError when a file cannot be written."""
    rate = frame_rate(recording)
    with atomic_files(files := files_of(recording, path)) as temporaries:
        for number, temporary in temporaries.items():
            track = recording.tracks[number]
            markers = np.full((len(recording.pts), 17, 3), np.nan)
            markers[track.frame] = placed(track, pose) * 1000
            with open(temporary, "w", encoding="utf-8", newline="\n") as file:
                _write(file, files[number].name, recording.pts, markers, rate)


def _write(file: TextIO, name: str, times: NDArray, markers: NDArray, rate: float) -> None:
    frames, count = markers.shape[:2]
    names = "\t\t\t".join(H36M_17.joints)
    axes = "\t".join(f"{axis}{marker}" for marker in range(1, count + 1) for axis in "XYZ")
    file.write(f"PathFileType\t4\t(X/Y/Z)\t{name}\n")
    file.write(
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
        f"{rate:.6g}\t{rate:.6g}\t{frames}\t{count}\tmm\t{rate:.6g}\t1\t{frames}\n"
    )
    file.write(f"Frame#\tTime\t{names}\t\t\n\t\t{axes}\n\n")
    for index, (time, row) in enumerate(zip(times, markers.reshape(frames, -1), strict=True)):
        values = "\t".join(f"{v:.3f}" if np.isfinite(v) else "" for v in row.tolist())
        file.write(f"{index + 1}\t{time:.6f}\t{values}\n")
