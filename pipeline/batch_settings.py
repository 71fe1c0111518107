"""The identity of everything besides the video that results depend on: what `--resume` and other machines compare."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from posepipe import __version__
from posepipe.errors import InputError
from posepipe.hashing import file_sha256
from posepipe.pipeline.backend import graph_of, open_runner
from posepipe.pipeline.detect.choose import identity_of
from posepipe.pipeline.settings import RunSettings


def named_files(settings: RunSettings) -> dict[str, Path]:
    """The settings that name a file: a calibration, a lifter or a detector by its graph, weights, keypoints."""
    values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    paths = {n: Path(v) for n, v in values.items() if isinstance(v, Path) or (isinstance(v, str) and Path(v).suffix)}
    return {name: path for name, path in paths.items() if isinstance(values[name], Path) or path.is_file()}


def absolute(settings: RunSettings) -> RunSettings:
    """The same settings for a process with another working directory."""
    found = {name: os.path.abspath(path) for name, path in named_files(settings).items()}
    paths: dict[str, Any] = {n: Path(p) if isinstance(getattr(settings, n), Path) else p for n, p in found.items()}
    return dataclasses.replace(settings, **paths)


def settings_hash(settings: RunSettings) -> str:
    """Of everything besides the video that the outputs depend on: all settings, the files that they name by their
    contents, the lifter's graph and weights, the backend and posepipe's version.

    Loads the lifter, so that settings that cannot work are refused (UsageError, CheckpointError) before the batch."""
    runner, hypotheses = open_runner(settings)
    with runner:
        values = dataclasses.asdict(settings) | {
            "hypotheses": hypotheses,
            "backend": runner.backend,
            "checkpoint": runner.checkpoint_sha256,
        }
    try:
        values |= identity_of(settings)
        values["graph"] = file_sha256(graph_of(settings.lifter))
        # The same file may be given by another path, from another folder or on another machine.
        values |= {name: file_sha256(path) for name, path in named_files(settings).items()}
        values |= {"lifter_name": settings.lifter_name, "detector_name": settings.detector_name}  # in the results
    except OSError as error:
        raise InputError(f"Cannot read {error.filename} ({error.strerror}).", "Check the path.") from None
    text = json.dumps(values | {"posepipe": __version__}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
