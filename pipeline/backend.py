"""Opening the lifter that a run asks for on the backend that it asks for."""

from __future__ import annotations

from pathlib import Path

from posepipe.errors import CheckpointError
from posepipe.lifters.catalogue import entry
from posepipe.pipeline.settings import RunSettings
from posepipe.trt_build.runners.ort import OrtRunner, check_hypotheses
from posepipe.trt_build.runners.protocol import Runner


def open_runner(settings: RunSettings) -> tuple[Runner, int]:
    """The loaded, warmed-up runner and the number of hypotheses to draw. `auto` is ONNX Runtime, the only backend yet.

    Raises UsageError for an unknown lifter or an impossible H, CheckpointError when there are no usable weights."""
    runner = OrtRunner(graph_of(settings.lifter))
    hypotheses = settings.hypotheses if settings.hypotheses is not None else runner.contract.hypotheses
    check_hypotheses(runner.contract, hypotheses)
    runner.warm_up(1, hypotheses)
    return runner, hypotheses


def graph_of(lifter: str) -> Path:
    """The graph of a catalogue name, or a path to one that `posepipe build-engines` made."""
    if lifter.endswith(".onnx"):
        return Path(lifter)
    chosen = entry(lifter)
    if chosen.graph_path.is_file():
        return chosen.graph_path
    if not chosen.checkpoint:
        raise CheckpointError(
            f"No weights are shipped for the lifter '{chosen.name}'.",
            "Bring the authors' with `posepipe import-checkpoint`, export them with `posepipe build-engines`, and give "
            "--lifter the .onnx file.",
        )
    raise CheckpointError(
        f"The lifter '{chosen.name}' has no graph at {chosen.graph_path}.",
        f"Make it with `posepipe build-engines --lifter {chosen.name}`.",
    )
