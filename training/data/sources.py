"""`posepipe data build`: any source of motion that we can read -> one motion file."""

from __future__ import annotations

from pathlib import Path

from posepipe.errors import UsageError
from posepipe.training.data import bvh_clips, h36m, mpi_inf_3dhp
from posepipe.training.data.build import build_cmu, build_positions, check_splits
from posepipe.training.data.motion import Clip, RecordedCamera, write_motion

KINDS = {
    "h36m-npz": "VideoPose3D's data_3d_h36m.npz, or its folder",
    "h36m-h5": "Martinez' h36m.zip, unpacked",
    "3dhp-test": "folder of TS*/annot_data.mat, or data_test_3dhp.npz",
    "cmu-asfamc": "zip of subjects/NN/NN.asf and NN_MM.amc",
    "positions-npz": "npz of joint positions",
    "bvh": "a .bvh file or a folder of them",
}
_BVH_NOTICE = "Motion from BVH files: their makers' terms apply."


def build(
    kind: str,
    source: Path,
    out: Path,
    *,
    fps: float | None = None,
    positions: Path | None = None,
    names: Path | None = None,
    validation: tuple[str, ...] = (),
) -> tuple[list[Clip], list[str]]:
    """Read source, write out, return the clips and remarks for a person.

    fps None: 30, or as recorded (Human3.6M, 3DHP).
    positions: cmu-asfamc. names (a TOML file), validation (subjects): bvh. Atomic: out exists complete or not at all.
    Raises UsageError for an option of another kind, InputError for bad input, OutputError when out cannot be
    written."""
    for given, option, of in (
        (positions, "--positions", "cmu-asfamc"),
        (names, "--map", "bvh"),
        (validation, "--validation", "bvh"),
    ):
        if given and kind != of:
            raise UsageError(f"{option} is for --from {of}, not {kind}.")
    if fps is not None and not 0 < fps < 1000:
        raise UsageError(f"--fps {fps:g} is not possible.", "Give a number between 0 and 1000.")
    cameras: list[RecordedCamera] = []
    if kind == "cmu-asfamc":
        return build_cmu(source, positions, out, fps or 30), []
    if kind == "positions-npz":
        return build_positions(source, out, fps or 30), []
    if kind == "h36m-npz":
        (clips, cameras, notes), notice = h36m.npz_clips(source, fps), h36m.NOTICE
    elif kind == "h36m-h5":
        (clips, cameras, notes), notice = h36m.h5_clips(source, fps), h36m.NOTICE
    elif kind == "3dhp-test":
        (clips, notes), notice = mpi_inf_3dhp.clips_of_test_set(source, fps), mpi_inf_3dhp.NOTICE
    elif kind == "bvh":
        table = bvh_clips.read_map(names) if names else None
        (clips, notes), notice = bvh_clips.bvh_clips(source, fps, table, validation), _BVH_NOTICE
    else:
        raise UsageError(f"Unknown source '{kind}'.", f"Known: {', '.join(KINDS)}.")
    check_splits(clips)
    write_motion(clips, out, notice, cameras)
    return clips, notes
