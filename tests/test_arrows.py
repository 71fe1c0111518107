"""Which room may import which (DESIGN §2; the contracts stand in pyproject.toml), and what an import may cost."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
make_links = runpy.run_path(str(ROOT / "tools" / "typing_links.py"))["make_links"]


def lint(links: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the package as it is imported."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    command += ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    env = {**os.environ, "PYTHONPATH": str(links), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_arrows_of_the_design_hold(tmp_path):
    done = lint(make_links(ROOT, tmp_path / "links"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("training", "from posepipe.pipeline import settings"),
        ("lifters", "from posepipe.trt_build import runners"),
        ("trt_build", "import posepipe.training"),
        ("pipeline", "def late():\n    import torch"),
        ("pipeline", "from posepipe.lifters import build"),
        ("camera.py", "import cv2"),
        ("camera.py", "from posepipe.lifters import space"),
        ("new_shared_module.py", ""),
    ],
)
def test_an_arrow_in_the_wrong_direction_is_caught(tmp_path, room, text):
    links = make_links(ROOT, tmp_path / "links")
    place = links / "posepipe" / room
    if place.suffix == ".py":
        place.unlink(missing_ok=True)
        place.write_text(text)
    else:
        place.unlink()
        shutil.copytree(ROOT / room, place, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", "*.onnx"))
        (place / "trespasser.py").write_text(text)
    done = lint(links, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


def loaded_by(statement: str) -> tuple[set[str], float]:
    """Top-level modules in memory after the statement, and the seconds it took, in a fresh Python."""
    code = f"import time; t = time.perf_counter(); {statement}; t = time.perf_counter() - t; import sys; "
    code += "print(t, *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    seconds, *names = done.stdout.split()
    return set(names), float(seconds)


HEAVY = {"torch", "onnx", "onnxscript", "mediapipe", "cv2", "av", "onnxruntime", "h5py", "scipy", "matplotlib", "jax"}


def test_importing_posepipe_is_quick_and_loads_nothing_heavy():
    names, seconds = loaded_by("import posepipe, posepipe.__main__")
    assert not names & HEAVY
    assert seconds < 0.5


def test_the_shared_vocabulary_loads_nothing_heavy():
    shared = ["camera", "config", "conversion", "errors", "metrics", "noise", "prefetch", "skeleton", "types", "doctor"]
    names, _ = loaded_by("; ".join(f"import posepipe.{name}" for name in shared))
    assert not names & HEAVY


def test_inference_never_loads_what_only_training_needs():
    modules = [
        ".".join(("posepipe", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for folder in ("pipeline", "trt_build/runners")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.stem not in ("torch_runner", "noise_torch")  # the optional backend
        and path.stem not in ("open3d_scene", "rerun_log", "rerun_page", "rrd_file")  # viewers of optional libraries
        and "mmpose_worker" not in path.parts  # a program that runs in MMPose's own environment
    ]
    modules += ["posepipe.lifters.catalogue", "posepipe.lifters.checkpoint", "posepipe.lifters.space"]
    assert len(modules) > 10
    names, _ = loaded_by("; ".join(f"import {name}" for name in modules))
    assert not names & {"torch", "onnx", "onnxscript", "scipy", "jax"}
    assert {"numpy", "cv2"} <= names, "the modules were really imported"
