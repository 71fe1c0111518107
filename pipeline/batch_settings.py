"""The identity of everything besides the video that results depend on: what `--resume` and other machines compare."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from posepipe import __version__
from posepipe.errors import InputError
from posepipe.hashing import file_sha256
from posepipe.pipeline.backend import graph_of, open_runner
from posepipe.pipeline.detect.choose import identity_of
from posepipe.pipeline.settings import RunSettings


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
            "lifter": settings.lifter_name,  # a graph may be given by another path to the same file
        }
    try:
        values |= identity_of(settings)
        values["graph"] = file_sha256(graph_of(settings.lifter))
        values["intrinsics"] = file_sha256(settings.intrinsics) if settings.intrinsics else None
    except OSError as error:
        raise InputError(f"Cannot read {error.filename} ({error.strerror}).", "Check the path.") from None
    text = json.dumps(values | {"posepipe": __version__}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
