"""NPZ: the arrays as they are, with every hypothesis, for numpy without h5py (docs/formats.md)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.export.choose import PoseChoice, chosen
from posepipe.pipeline.sink.atomic import atomic_path
from posepipe.pipeline.sink.h5 import Recording, row_columns
from posepipe.skeleton import H36M_17


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """Plain arrays, no pickle: the people's rows one after another, `track` says whose. Nothing is rounded.

    Raises OutputError when the file cannot be written."""
    tracks = recording.tracks
    hypotheses = int(str(recording.header.get("hypotheses", 1)))
    dtype = "float32" if any(t.hypotheses.dtype == np.float32 for t in tracks.values()) else "float16"
    arrays: dict[str, NDArray] = {
        "pts": recording.pts,
        "status": recording.status,
        "joint_names": np.array(H36M_17.joints),
        "parents": np.array(H36M_17.parents),
        "header": np.array(json.dumps(dict(recording.header), default=list, sort_keys=True)),
        "chosen": np.array(str(pose)),
        "track": np.concatenate([np.zeros(0, np.int64), *(np.full(len(t.frame), n) for n, t in tracks.items())]),
    }
    for name, (shape, kind) in row_columns(hypotheses, dtype).items():
        rows = [
            chosen(track, pose).astype(np.float32) if name == "pose" else getattr(track, name)
            for track in tracks.values()
        ]
        arrays[name] = np.concatenate([np.zeros((0, *shape), kind), *rows])
    packed = io.BytesIO()  # a zip that a full disk cuts off complains once more, when nobody listens
    np.savez_compressed(packed, **arrays)
    with atomic_path(path) as temporary:
        # Not getbuffer(): a view of a BytesIO that a failed write's traceback holds on to crashes Python 3.12.
        temporary.write_bytes(packed.getvalue())
