"""npz files, with and without pickled contents, zips of mocap, and PyTorch's and TensorFlow's files."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posepipe.safe_npz import read_npz
from posepipe.training.data.build import acclaim_clips
from posepipe.training.data.h36m import npz_clips
from posepipe.training.data.mpi_inf_3dhp import clips_of_test_set
from posepipe.training.data.positions import read_positions, restore_thorax
from posepipe.training.detector_noise import load_table
from tests.fuzz.mutate import damage, zip_members
from tests.fuzz.target import Seed, Target
from tests.training.test_data_sources import mpi_17, write_h36m_npz

_JOINTS = ("Hips", "Spine1", "Neck", "LeftShoulder", "LeftArm", "RightShoulder", "RightArm")


def build_npz(folder: Path) -> None:
    write_h36m_npz(folder)
    data = {"TS1": {"data_2d": np.ones((8, 17, 2)), "data_3d": mpi_17(8), "valid": np.ones(8)}}
    np.savez_compressed(folder / "data_test_3dhp.npz", data=data)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    np.savez(
        folder / "positions.npz",
        joint_names=np.array(_JOINTS),
        parents=np.array([-1, 0, 1, 2, 3, 2, 5]),
        fps=np.float64(30),
        walk_1=rng.normal(size=(4, len(_JOINTS), 3)),
    )
    np.savez(
        folder / "noise.npz",
        error=rng.normal(size=(5, 17, 2)).astype(np.float32),
        confidence=rng.random((5, 17)).astype(np.float32),
        yaw=rng.random(5).astype(np.float32),
    )
    odd = np.array([{"a": [1, (2.5, "x")], "b": np.arange(3)}, None], object)
    np.savez(folder / "nested.npz", odd, numbers=np.arange(6).reshape(2, 3))


def npz_seeds(folder: Path) -> tuple[Seed, ...]:
    both = (damage, zip_members, zip_members, zip_members)
    return (
        Seed("data_3d_h36m.npz", npz_clips, both, restore=True),
        Seed("data_2d_h36m_gt.npz", lambda path: npz_clips(path.parent), both, restore=True),
        Seed("data_test_3dhp.npz", clips_of_test_set, both),
        Seed("positions.npz", lambda path: restore_thorax(read_positions(path)), both),
        Seed("noise.npz", load_table, both),
        Seed("nested.npz", lambda path: read_npz(path, "a hint"), both),
    )


# CMU's bones, parents first: name, parent, direction, length in CMU's units (0.0564 m)
_BONES = (
    ("lhipjoint", "root", (1, 0, 0), 1.8), ("lfemur", "lhipjoint", (0, -1, 0), 7.4),
    ("ltibia", "lfemur", (0, -1, 0), 7.4), ("rhipjoint", "root", (-1, 0, 0), 1.8),
    ("rfemur", "rhipjoint", (0, -1, 0), 7.4), ("rtibia", "rfemur", (0, -1, 0), 7.4),
    ("lowerback", "root", (0, 1, 0), 4.0), ("thorax", "lowerback", (0, 1, 0), 4.5),
    ("upperneck", "thorax", (0, 1, 0), 2), ("head", "upperneck", (0, 1, 0), 2),
    ("lclavicle", "thorax", (1, 0, 0), 3), ("lhumerus", "lclavicle", (1, 0, 0), 5),
    ("lradius", "lhumerus", (1, 0, 0), 3.4), ("rclavicle", "thorax", (-1, 0, 0), 3),
    ("rhumerus", "rclavicle", (-1, 0, 0), 5), ("rradius", "rhumerus", (-1, 0, 0), 3.4),
)  # fmt: skip


def build_zip(folder: Path) -> None:
    skeleton = [":units", "length 0.45", "angle deg", ":root", "order TX TY TZ RX RY RZ", "axis XYZ", ":bonedata"]
    for name, _, (x, y, z), length in _BONES:
        lines = f"begin\nname {name}\ndirection {x} {y} {z}\nlength {length}\naxis 0 0 0 XYZ\ndof rx\nend"
        skeleton += lines.split("\n")
    skeleton += [":hierarchy", "begin", *(f"{parent} {name}" for name, parent, *_ in _BONES), "end"]
    motion = [":FULLY-SPECIFIED", ":DEGREES"]
    for frame in range(1, 9):
        motion += [str(frame), f"root {frame * 0.1} 16 0 0 0 0", *(f"{name} {frame % 3}" for name, *_ in _BONES)]
    with zipfile.ZipFile(folder / "cmu.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("subjects/02/02.asf", "\n".join(skeleton))
        archive.writestr("subjects/02/02_01.amc", "\n".join(motion))


def zip_seeds(folder: Path) -> tuple[Seed, ...]:
    return (Seed("cmu.zip", acclaim_clips, (damage, zip_members, zip_members)),)


def build_torch(folder: Path) -> None:
    import torch

    state = {"module.a.weight": torch.arange(12.0).reshape(3, 4), "module.a.bias": torch.zeros(3, dtype=torch.float16)}
    torch.save({"epoch": 3, "state_dict": state}, folder / "new.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)


def torch_seeds(folder: Path) -> tuple[Seed, ...]:
    from posepipe.lifters.authors import read_pth

    return (Seed("new.pth", read_pth, (damage, zip_members, zip_members)), Seed("old.pth", read_pth))


def build_tensorflow(folder: Path) -> None:
    import runpy

    write_bundle = runpy.run_path(str(Path(__file__).parents[1] / "training" / "conftest.py"))["write_bundle"]
    rng = np.random.default_rng(0)
    shapes = {"a/w": (3, 4), "a/w/Adam": (3, 4), "a/b": (4,), "b/empty": (0, 2), "step": (), "b/long": (9, 5)}
    write_bundle(folder / "model-12", {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()})
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/them/model-12"\n')
    half, one = np.full((16, 2), 500.0), np.ones((16, 3))
    np.savez(folder / "statistics.npz", mean_2d=half, std_2d=half, mean_3d=one, std_3d=one, image_size=[1000.0, 1002])


def sums_right(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A TensorFlow index damaged inside its blocks, whose checksums are then made right again."""
    from posepipe.training.import_checkpoint.crc32c import crc32c
    from posepipe.training.import_checkpoint.sstable import _entries, varint

    footer = data[-48:-8]
    at = 0
    for _ in range(2):
        _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, _ = varint(footer, at)
    handles = [(offset, size)]
    for _, handle in _entries(data[offset : offset + size]):
        start, after = varint(handle, 0)
        handles.append((start, varint(handle, after)[0]))
    out = bytearray(data)
    start, size = rng.choice(handles)
    inner = damage(data[start : start + size], rng, others)[:size].ljust(size, b"\0")
    out[start : start + size] = inner
    crc = crc32c(inner + out[start + size : start + size + 1])
    struct.pack_into("<I", out, start + size + 1, (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
    return bytes(out)


def tensorflow_seeds(folder: Path) -> tuple[Seed, ...]:
    from posepipe.training.import_checkpoint.statistics import read_statistics
    from posepipe.training.import_checkpoint.tf_state import read_variables

    both = (damage, zip_members, zip_members)
    return (
        Seed("model-12.index", read_variables, (damage, sums_right, sums_right), restore=True),
        Seed("model-12.data-00000-of-00001", read_variables, restore=True),
        Seed("checkpoint", lambda path: read_variables(path.parent), restore=True),
        Seed("statistics.npz", read_statistics, both),
    )


NPZ = Target(build_npz, npz_seeds)
ZIP = Target(build_zip, zip_seeds)
TORCH = Target(build_torch, torch_seeds)
TENSORFLOW = Target(build_tensorflow, tensorflow_seeds)
