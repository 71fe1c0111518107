"""BVH (Biovision hierarchy), for Blender and game engines: constant bone lengths, joint rotations (docs/formats.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np

from posepipe.errors import InputError
from posepipe.pipeline.export.bvh_fit import Motion, euler_zxy, fit
from posepipe.pipeline.export.choose import PoseChoice, chosen
from posepipe.pipeline.export.clip import Y_UP, atomic_files, even_frames, files_of, frame_rate, held
from posepipe.pipeline.sink.h5 import Recording, TrackRecord

_CM = 100.0
_STUB = 0.05  # metres; something for programs to draw at the ends of limbs, where nothing is known
_ROTATION = "Zrotation Xrotation Yrotation"


def write(recording: Recording, path: Path, pose: PoseChoice) -> None:
    """One file per person (see clip.files_of), spanning the whole source so that they stay in step with the video.

    Centimetres, y up, degrees. BVH cannot say "not seen": the pose is held, before the first one too. Raises
    InputError when nobody was found, OutputError when a file cannot be written."""
    frames = even_frames(recording)
    with atomic_files(files_of(recording, path)) as temporaries:
        for number, temporary in temporaries.items():
            motion = _motion(recording.tracks[number], number, pose)
            rows = _rows(recording.tracks[number], pose, frames)
            with open(temporary, "w", encoding="ascii", newline="\n") as file:
                _write_tree(file, motion)
                _write_motion(file, motion, rows, 1 / frame_rate(recording))


def _good(track: TrackRecord, pose: PoseChoice) -> np.ndarray:
    return np.isfinite(chosen(track, pose)).all(axis=(1, 2))


def _motion(track: TrackRecord, number: int, pose: PoseChoice) -> Motion:
    """Of the rows with a whole pose."""
    good = _good(track, pose)
    if not good.any():
        raise InputError(f"Track {number} has no frame with a whole pose.", "Export another one with --track.")
    return fit((chosen(track, pose) + held(track.root)[:, None])[good] * Y_UP)


def _rows(track: TrackRecord, pose: PoseChoice, frames: np.ndarray) -> np.ndarray:
    """For each of `frames` (indices into the source) the row of the motion that is shown: the last one so far."""
    return np.maximum(np.searchsorted(track.frame[_good(track, pose)], frames, side="right") - 1, 0)


def _write_tree(file: TextIO, motion: Motion) -> None:
    nodes = motion.nodes

    def write_node(index: int, depth: int) -> None:
        node, pad = nodes[index], "\t" * depth
        file.write(f"{pad}{'ROOT' if depth == 0 else 'JOINT'} {node.name}\n{pad}{{\n")
        _write_offset(file, pad, node.offset)
        position = "6 Xposition Yposition Zposition" if depth == 0 else "3"
        file.write(f"{pad}\tCHANNELS {position} {_ROTATION}\n")
        children = [i for i, other in enumerate(nodes) if other.parent == index]
        for child in children:
            write_node(child, depth + 1)
        if not children:
            file.write(f"{pad}\tEnd Site\n{pad}\t{{\n")
            _write_offset(file, pad + "\t", _STUB * node.offset / max(float(np.linalg.norm(node.offset)), 1e-9))
            file.write(f"{pad}\t}}\n")
        file.write(f"{pad}}}\n")

    file.write("HIERARCHY\n")
    write_node(0, 0)


def _write_offset(file: TextIO, pad: str, metres: np.ndarray) -> None:
    x, y, z = (metres * _CM + 0.0).tolist()
    file.write(f"{pad}\tOFFSET {x:.4f} {y:.4f} {z:.4f}\n")


def _write_motion(file: TextIO, motion: Motion, rows: np.ndarray, step: float) -> None:
    angles = euler_zxy(motion.rotations)
    channels = np.column_stack([motion.root * _CM, angles.reshape(len(angles), -1)])
    lines = [" ".join(f"{value:.4f}" for value in line) for line in (np.round(channels, 4) + 0.0).tolist()]
    file.write(f"MOTION\nFrames: {len(rows)}\nFrame Time: {step:.7f}\n")
    file.writelines(f"{lines[row]}\n" for row in rows)
