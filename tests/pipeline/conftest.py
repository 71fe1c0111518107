"""Fixtures of this room: small result files for the export tests (functions, since test files are not importable)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from posepipe.pipeline.sink.h5 import HEADER, H5Writer
from posepipe.skeleton import H36M_17

FPS = 25.0


def _figure(rng: np.random.Generator, frames: int, wobble: float = 0.02) -> np.ndarray:
    """(frames, 17, 3) metres, hip 0: every bone turns at random, its length varies by `wobble`."""
    joints = np.zeros((frames, 17, 3))
    for parent, child in H36M_17.bones:
        axis, start = rng.normal(size=(2, 3))
        angle = np.linspace(0, rng.uniform(1, 7), frames)[:, None]
        axis /= np.linalg.norm(axis)
        side = np.cross(axis, start)
        way = np.cos(angle) * np.cross(side, axis) + np.sin(angle) * side + 0.3 * axis
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        joints[:, child] = joints[:, parent] + way * rng.uniform(0.1, 0.5) * rng.normal(1, wobble, (frames, 1))
    return joints


def _record(
    path: Path,
    people: dict[int, dict[str, np.ndarray]],
    frames: int,
    pts: Sequence[float] | None = None,
    hypotheses: int = 3,
    dtype: str = "float32",
) -> Path:
    """people: {track: {"frame": (N,), "pose": (N,17,3), optional "root": (N,3)}}. Hypothesis k is pose * (k + 2)."""
    text = {name: name for name in HEADER}
    numbers = {"width": 640, "height": 480, "fps": FPS, "hypotheses": hypotheses, "steps": 0, "seed": 1}
    header = {**text, **numbers, "skeleton": "h36m17", "joint_names": H36M_17.joints, "camera": json.dumps({"fx": 1})}
    with H5Writer(path, header, dtype) as out:
        for index in range(frames):
            seen = [(t, int(np.flatnonzero(p["frame"] == index)[0])) for t, p in people.items() if index in p["frame"]]
            out.frame(index / FPS if pts is None else pts[index], 0 if seen else 1)
            for track, row in seen:
                pose = people[track]["pose"][row]
                out.row(
                    track,
                    index,
                    np.arange(34).reshape(17, 2) + index + 0.25,
                    np.linspace(0, 1, 17),
                    np.stack([pose * (k + 2) for k in range(hypotheses)]),
                    np.full(hypotheses, -np.log(hypotheses)),
                    pose,
                    np.full(17, 0.05),
                    people[track].get("root", np.full((row + 1, 3), np.nan))[row],
                )
    return path


@pytest.fixture(scope="session")
def figure() -> Callable[..., np.ndarray]:
    return _figure


@pytest.fixture(scope="session")
def record() -> Callable[..., Path]:
    return _record
