"""The motion file: one chunked HDF5 of H36M-17 joints in the world frame.

Layout: /clips/<name>/joints (T, 17, 3) float32 metres, y up; attrs subject, action, source, fps, split. Root attrs:
format "posepipe-motion", version 1, joint_names, notice.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError, OutputError
from posepipe.skeleton import H36M_17

FORMAT, VERSION = "posepipe-motion", 1


@dataclass(frozen=True)
class Clip:
    """A stretch of motion of one person. joints: (T, 17, 3) float32 metres, H36M-17, world frame, y up."""

    name: str
    subject: str
    joints: NDArray[np.float32]
    action: str = ""
    source: str = ""
    fps: float = 30.0
    split: str = "train"


def write_motion(clips: list[Clip], out: Path, notice: str) -> None:
    """Write clips to out atomically; notice: the acknowledgement their source asks for.

    Raises OutputError; nothing half-written stays."""
    out = Path(out)
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        os.close(handle)
        temporary = Path(name)
        with h5py.File(temporary, "w") as file:
            file.attrs.update(
                {"format": FORMAT, "version": VERSION, "joint_names": list(H36M_17.joints), "notice": notice}
            )
            for clip in clips:
                group = file.create_group(f"clips/{clip.name}")
                chunks = (min(len(clip.joints), 512), len(H36M_17), 3)
                group.create_dataset("joints", data=clip.joints, chunks=chunks, compression="gzip", shuffle=True)
                for key in ("subject", "action", "source", "fps", "split"):
                    group.attrs[key] = getattr(clip, key)
        with temporary.open("rb+") as synced:
            os.fsync(synced.fileno())
        temporary.chmod(0o644)
        temporary.replace(out)
    except OSError as error:
        raise OutputError(f"Cannot write {out} ({error}).", "Choose a folder that exists, with space left.") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def load_motion(path: Path, split: str | None = None) -> list[Clip]:
    """The clips of a motion file, all or those of one split ("train", "validation"), in the order of their names.

    Raises InputError when the file is missing, of another format, damaged, or has no such clips."""
    hint = "Build it with build_cmu (posepipe data build)."
    clips = []
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
                raise InputError(f"{path} is not a {FORMAT} file of version {VERSION}.", hint)
            if tuple(file.attrs["joint_names"]) != H36M_17.joints:
                raise InputError(f"{path} has other joints than {H36M_17.name}.", hint)
            for name, group in file["clips"].items():
                if split is not None and group.attrs["split"] != split:
                    continue
                joints = group["joints"][()].astype(np.float32, copy=False)
                if joints.ndim != 3 or joints.shape[1:] != (len(H36M_17), 3) or not np.isfinite(joints).all():
                    raise InputError(f"{path}: clip '{name}' is not a finite (T, 17, 3) array.", hint)
                text = {key: str(group.attrs[key]) for key in ("subject", "action", "source", "split")}
                clips.append(Clip(name=name, joints=joints, fps=float(group.attrs["fps"]), **text))
    except (OSError, KeyError, AttributeError) as error:
        raise InputError(f"Cannot read motion from {path} ({error}).", hint) from None
    if not clips:
        raise InputError(f"{path} has no clips" + (f" of the split '{split}'." if split else "."), hint)
    return clips
