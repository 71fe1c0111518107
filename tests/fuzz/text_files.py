"""Texts: configurations, manifests, intrinsics, side-cars of engines, motion capture."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

from posepipe.intrinsics_file import from_file
from posepipe.pipeline import manifest
from posepipe.pipeline.batch import is_done
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.report.gather import video_of
from posepipe.pipeline.settings import RunSettings
from posepipe.training.data.asfamc import forward_kinematics, read_amc, read_asf
from posepipe.training.data.bvh import joint_positions, read_bvh
from posepipe.training.data.bvh_clips import bvh_clips, read_map
from posepipe.training.recipes import read_config
from posepipe.trt_build.engine.sidecar import check_engine, digest_of, engines_in, read_sidecar, write_sidecar
from tests.fuzz.mutate import damage, json_text, json_value
from tests.fuzz.target import Seed, Target
from tests.training.test_asfamc import AMC, ASF
from tests.training.test_bvh import write_bvh
from tests.trt_build.test_sidecar import INFO, PLAN

_CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "train"


def build_config(folder: Path) -> None:
    for name in ("martinez_cmu", "mdn_published", "wsgan_cmu", "drpose_published", "prpose_mgcn_cmu"):
        (folder / f"{name}.toml").write_bytes((_CONFIGS / f"{name}.toml").read_bytes())
    (folder / "map.toml").write_text('r_hip = "RightThigh"\nl_hip = "LeftThigh"\nhead = "Top"\n')


def config_seeds(folder: Path) -> tuple[Seed, ...]:
    names = sorted(path.name for path in folder.glob("*_*.toml"))
    return (*(Seed(name, read_config) for name in names), Seed("map.toml", read_map))


def build_manifest(folder: Path) -> None:
    outputs = tuple(manifest.Output(f"a/{n}", 10, "0" * 64) for n in ("x.h5", "x.overlay.mp4"))
    stages = {"detect": {"mean": 1.5, "p50": 1.0, "p95": 3.0}}
    for name, status in (("a/x.mp4", manifest.OK), ("b\n.mp4", manifest.FAILED), ("c.mp4", manifest.PARTIAL)):
        manifest.append(
            folder, manifest.Entry(name, "1" * 64, "s", status, "why", 9, 8, 1, True, 1, outputs, 2.5, stages)
        )


def lines_of_json(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    index = rng.randrange(len(lines))
    if lines[index]:
        lines[index] = json_text(lines[index], rng)
    return b"\n".join(lines)


def read_manifest(path: Path) -> None:
    """Also whether a video counts as done, which must never look outside the folder."""
    known = manifest.read(path.parent)
    item = WorkItem("a/x.mp4", path.parent / "a" / "x.mp4", path.parent / "a", 5)
    for name, entry in known.items():
        assert isinstance(name, str)
        assert entry.line().endswith(b"}\n")
        assert not is_done(item, entry, path.parent, RunSettings(), "s")  # there are no results
        assert video_of(path.parent, entry).name == name
        manifest.parse(entry.line())


def manifest_seeds(folder: Path) -> tuple[Seed, ...]:
    return (Seed(manifest.NAME, read_manifest, (damage, lines_of_json, lines_of_json)),)


def build_intrinsics(folder: Path) -> None:
    values = {"fx": 1000.5, "fy": 1e3, "cx": 640, "cy": 360, "width": 1280, "height": 720}
    (folder / "camera.json").write_text(json.dumps(values, indent=1))
    matrix, bent = [1000.0, 0, 640, 0, 1000, 360, 0, 0, 1], [0.1, -0.05, 0.001, 0, 0]
    opencv = "".join(
        f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {len(data) // rows}\n   dt: d\n   data: {data}\n"
        for name, rows, data in (("camera_matrix", 3, matrix), ("distortion_coefficients", 1, bent))
    )
    (folder / "opencv.yml").write_text(f"%YAML:1.0\n---\nimage_width: 1280\nimage_height: 720\n{opencv}")
    ros = {"image_width": 1280, "image_height": 720, "camera_matrix": {"rows": 3, "cols": 3, "data": matrix}}
    ros |= {"distortion_model": "plumb_bob", "distortion_coefficients": {"rows": 1, "cols": 5, "data": bent}}
    (folder / "ros.json").write_text(json.dumps(ros))
    (folder / "kalibr.yaml").write_text(
        "cam0:\n  camera_model: pinhole\n  distortion_model: equidistant\n  distortion_coeffs: [0.1, 0, 0, 0]\n"
        "  intrinsics: [1000, 1000, 640, 360]\n  resolution: [1280, 720]\n"
    )


def json_tree(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return json_text(data, rng)


def read_intrinsics(path: Path) -> None:
    camera = from_file(path, 640, 360)
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion)
    assert all(math.isfinite(v) for v in numbers)
    assert min(camera.fx, camera.fy) > 0
    assert 0 < camera.fov_deg < 180
    assert camera.described


def intrinsics_seeds(folder: Path) -> tuple[Seed, ...]:
    known = (("camera.json", True), ("ros.json", True), ("opencv.yml", False), ("kalibr.yaml", False))
    return tuple(Seed(name, read_intrinsics, (damage, json_tree) if tree else (damage,)) for name, tree in known)


def build_sidecar(folder: Path) -> None:
    (folder / "a.engine").write_bytes(PLAN)
    write_sidecar(folder / "a.engine", INFO)


def signed(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A side-car of other contents, whose own hash is right."""
    known = json.loads(data)
    del known["sidecar_sha256"]
    changed = json_value(known, rng)
    if isinstance(changed, dict):
        changed["sidecar_sha256"] = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()
    return json.dumps(changed).encode()


def read_engine(path: Path) -> None:
    engine = path.with_suffix(".engine")
    engines_in(path.parent)
    info = read_sidecar(engine)
    check_engine(
        info, engine, gpu=INFO.gpu, compute_capability="9.0", tensorrt=INFO.tensorrt,
        checkpoint_sha256=INFO.checkpoint_sha256, skeleton="h36m17",
        conversion=INFO.conversion, steps=10, hypotheses=200, persons=4,
    )  # fmt: skip
    assert (info.gpu, info.hypotheses, info.engine_bytes) == (INFO.gpu, 200, len(PLAN))
    assert info.persons >= 4  # more than the engine has is seen by the runner, which knows its shapes
    assert info.rebuild_command(path.parent)


def sidecar_seeds(folder: Path) -> tuple[Seed, ...]:
    assert digest_of({})
    return (
        Seed("a.json", read_engine, (damage, json_tree, signed, signed), restore=True),
        Seed("a.engine", read_engine, restore=True),
    )


def build_mocap(folder: Path) -> None:
    write_bvh(folder / "a.bvh", frames=3)
    (folder / "a.asf").write_text(ASF)
    (folder / "a.amc").write_text(AMC)


def _bvh(path: Path) -> None:
    file = read_bvh(path)
    places = joint_positions(file)
    assert places.shape == (len(file.values), len(file.joints), 3)


def _asf(path: Path) -> None:
    skeleton = read_asf(path.read_bytes().decode("latin-1"), path.name)
    motion = read_amc((path.parent / "a.amc").read_text(), skeleton, "a.amc")
    assert forward_kinematics(skeleton, motion).shape == (motion.frames, len(skeleton.joint_names), 3)


def _amc(path: Path) -> None:
    skeleton = read_asf((path.parent / "a.asf").read_text(), "a.asf")
    for drop in (False, True):
        motion = read_amc(path.read_bytes().decode("latin-1"), skeleton, path.name, drop)
        assert forward_kinematics(skeleton, motion).shape == (motion.frames, len(skeleton.joint_names), 3)


def mocap_seeds(folder: Path) -> tuple[Seed, ...]:
    return (
        Seed("a.bvh", _bvh),
        Seed("a.bvh", bvh_clips),
        Seed("a.asf", _asf, restore=True),
        Seed("a.amc", _amc, restore=True),
    )


CONFIG = Target(build_config, config_seeds)
MANIFEST = Target(build_manifest, manifest_seeds)
INTRINSICS = Target(build_intrinsics, intrinsics_seeds)
SIDECAR = Target(build_sidecar, sidecar_seeds)
MOCAP = Target(build_mocap, mocap_seeds)
