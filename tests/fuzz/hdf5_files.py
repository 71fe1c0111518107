"""HDF5 in all its uses: result files, motion files, Human3.6M's trees, MATLAB files."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from posepipe.pipeline.cli_export import FORMATS
from posepipe.pipeline.export.choose import PoseChoice, load
from posepipe.pipeline.report.gather import video_of
from posepipe.pipeline.sink.h5 import HEADER, H5Writer, read_h5
from posepipe.skeleton import H36M_17
from posepipe.training.data.h36m import h5_clips
from posepipe.training.data.motion import (
    Clip,
    Detections2D,
    RecordedCamera,
    load_keypoints_2d,
    load_motion,
    write_motion,
)
from posepipe.training.data.mpi_inf_3dhp import clips_of_test_set
from posepipe.training.data.recorded import recorded_rows
from posepipe.training.data.stream import joint_blocks
from tests.fuzz.mutate import damage
from tests.fuzz.target import Seed, Target
from tests.training.test_data_sources import write_3dhp, write_h36m_h5

_ODD: tuple[Any, ...] = (
    0, -1, 2**62, 1.5, float("nan"), float("inf"), "", "text", "{", b"\xff\xfe", np.zeros(0), np.zeros((3, 3)),
    np.array([1, 2**40]), np.array(["a", "b"], object), np.bool_(True), np.complex64(1j), np.zeros(2, [("a", "i4")]),
    h5py.Empty("f4"),
)  # fmt: skip


def edited(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A valid HDF5 file with an attribute, data set or group removed, replaced, reshaped, linked away or renamed."""
    file_bytes = io.BytesIO(data)
    # an edit that HDF5 refuses, or trips over in what the one before it made, is the last
    with contextlib.suppress(Exception), h5py.File(file_bytes, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 3))):
            _edit(file, rng)
    return file_bytes.getvalue()


def _edit(file: h5py.File, rng: random.Random) -> None:
    items: list[Any] = [file]
    file.visititems(lambda _, item: items.append(item))  # links are not visited
    attributes = [(item, key) for item in items for key in item.attrs]
    if attributes and rng.random() < 0.4:
        item, key = rng.choice(attributes)
        value = rng.choice(_ODD)
        del item.attrs[key]
        if rng.random() < 0.8:
            item.attrs[key] = value
        return
    if len(items) < 2:
        return
    item = rng.choice(items[1:])
    holder, name = item.parent, item.name.rsplit("/", 1)[1]
    action = rng.randrange(8)
    if action == 0 and isinstance(item, h5py.Dataset) and item.maxshape and None in item.maxshape:
        item.resize(rng.choice((0, 1, len(item) + 1, 10**6, 10**12)), axis=0)
    elif action == 1:
        holder.move(name, rng.choice(("x", "-1", "1e3", "9" * 30, "١", f"{name} ", " ")))
    elif action == 2:
        del holder[name]
        holder[name] = rng.choice((h5py.SoftLink("/"), h5py.SoftLink("/none"), h5py.SoftLink(f"/{name}")))
    elif action == 3:
        del holder[name]
        holder[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "other.h5", "/dev/null")), "/x")
    elif action == 4 and isinstance(item, h5py.Dataset):
        shape = item.shape or ()
        del holder[name]
        kind = rng.choice(("f8", "f2", "i1", "u8", "S3", "c8", "?", h5py.string_dtype(), h5py.vlen_dtype("i4")))
        more = rng.choice((shape, (), (*shape, 2), shape[1:], tuple(n + 1 for n in shape), (0, *shape[1:])))
        holder.create_dataset(name, more, kind)
    elif action == 5 and isinstance(item, h5py.Dataset):
        shape, kind = item.shape or (1,), item.dtype
        del holder[name]
        big = rng.choice(((10**9, *shape[1:]), (2**40, *shape[1:]), (10**7, *shape[1:])))
        holder.create_dataset(name, big, kind, chunks=tuple(min(n, 8) for n in big), compression=1)
    elif action == 6:
        del holder[name]
        if rng.random() < 0.5:
            holder.create_group(name)
        else:
            holder[name] = rng.choice([value for value in _ODD if not isinstance(value, h5py.Empty)])
    else:
        del holder[name]


_DAMAGES = (damage, damage, edited)


def build_recording(folder: Path) -> None:
    rng = np.random.default_rng(0)
    text = {name: name for name in HEADER}
    numbers = {"width": 640, "height": 480, "fps": 25.0, "hypotheses": 2, "steps": 0, "seed": 1}
    header = {**text, **numbers, "skeleton": "h36m17", "joint_names": H36M_17.joints, "camera": json.dumps({"fx": 1})}
    smoothed = ("keypoints_2d_smoothed", "pose_smoothed", "root_smoothed")
    for name, more in (("one.h5", {}), ("smooth.h5", {"smoothed": smoothed, "aggregate": "median"})):
        with H5Writer(folder / name, header | more) as out:  # type: ignore[arg-type]
            for index in range(5):
                out.frame(index / 25, 0)
                for track in range(1 + (name == "one.h5")):
                    pose = rng.normal(0, 0.4, (17, 3))
                    given = (rng.random((17, 2)), rng.random(17), rng.normal(0, 0.4, (2, 17, 3)), np.log([0.5, 0.5]))
                    rows = {"keypoints_2d_smoothed": given[0], "pose_smoothed": pose, "root_smoothed": np.ones(3)}
                    out.row(track, index, *given, pose, rng.random(17), np.ones(3), rows if more else None)


def _export(kind: str, pose: PoseChoice) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        recording = load(path, pose)
        for record in recording.tracks.values():
            assert record.pose.shape == (len(record.frame), 17, 3)
        out = path.parent / "out" / f"x.{kind}"
        importlib.import_module(FORMATS[kind]).write(recording, out, pose)
        assert any(out.parent.iterdir())
        for made in out.parent.iterdir():
            made.unlink()

    return read


def recording_seeds(folder: Path) -> tuple[Seed, ...]:
    readers: list[Callable[[Path], object]] = [read_h5]
    readers += [_export(kind, PoseChoice()) for kind in FORMATS if kind != "rrd"]  # an optional library writes that
    readers.append(lambda path: video_of(path.parent, path))
    readers += [_export("json", PoseChoice(1)), _export("csv", PoseChoice(smoothed=True))]
    names = [*["one.h5"] * (len(readers) - 1), "smooth.h5"]
    return tuple(Seed(name, reader, _DAMAGES) for name, reader in zip(names, readers, strict=True))


def build_motion(folder: Path) -> None:
    rng = np.random.default_rng(0)
    turn = np.eye(3)
    cameras = [
        RecordedCamera(s, "c1", turn, np.zeros(3), *(np.full(2, v) for v in (900.0, 500.0)), np.zeros(3), np.zeros(2))
        for s in ("S1", "S9")
    ]
    clips = [
        Clip(f"{subject}_walk", subject, (rng.normal(0, 0.3, (6, 17, 3)) + [0, 1, 4]).astype(np.float32), "walk", "x",
             split=split, keypoints_2d=(
                 Detections2D("cpn", "c1", H36M_17.joints, rng.random((6, 17, 2)).astype(np.float32)),))
        for subject, split in (("S1", "train"), ("S9", "validation"))
    ]  # fmt: skip
    write_motion(clips, folder / "motion.h5", "a notice", cameras)


def _streamed(path: Path) -> None:
    blocks = joint_blocks(path, "train")
    for arrays in blocks.read(range(len(blocks.lengths))):
        assert arrays[0].shape[1:] == (17, 3)


def _recorded(keypoints: str) -> Callable[[Path], object]:
    return lambda path: recorded_rows(path, "train", keypoints, 100)


def motion_seeds(folder: Path) -> tuple[Seed, ...]:
    readers: tuple[Callable[[Path], object], ...] = (
        load_motion, lambda path: load_keypoints_2d(path, "S1_walk"), _streamed, _recorded("gt"), _recorded("cpn"),
    )  # fmt: skip
    return tuple(Seed("motion.h5", reader, _DAMAGES) for reader in readers)


def build_data_sets(folder: Path) -> None:
    write_h36m_h5(folder)
    write_3dhp(folder / "set", [0, 1, 1, 1, 0, 0, 1, 1])


def data_set_seeds(folder: Path) -> tuple[Seed, ...]:
    tree: Callable[[Path], object] = lambda path: h5_clips(folder_of(path))  # noqa: E731

    def folder_of(path: Path) -> Path:
        return next(p for p in path.parents if p.name == "h36m")

    return (
        Seed("h36m/S1/MyPoses/3D_positions/Walking 1.h5", tree, _DAMAGES, restore=True),
        Seed("h36m/S1/StackedHourglass/Walking_1.54138969.h5", tree, _DAMAGES, restore=True),
        Seed("h36m/cameras.h5", tree, _DAMAGES, restore=True),
        Seed("set/TS1/annot_data.mat", clips_of_test_set, _DAMAGES),
    )


RECORDING = Target(build_recording, recording_seeds)
MOTION = Target(build_motion, motion_seeds)
DATA_SETS = Target(build_data_sets, data_set_seeds)
