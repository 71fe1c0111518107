"""Opening the lifter that a run asks for on the backend that it asks for."""

from __future__ import annotations

from pathlib import Path

from posepipe.errors import CheckpointError
from posepipe.lifters.catalogue import entry
from posepipe.pipeline.settings import RunSettings
from posepipe.trt_build.runners.contract import check_hypotheses
from posepipe.trt_build.runners.load import Choice, choose, contract_of, load, people_at_once
from posepipe.trt_build.runners.protocol import Runner


def open_runner(settings: RunSettings) -> tuple[Runner, int]:
    """The loaded, warmed-up runner and the number of hypotheses to draw.

    Raises UsageError for an unknown lifter or an impossible H, CheckpointError when there are no usable weights,
    EngineError or MissingDependencyError when the backend that was asked for does not work here."""
    graph = graph_of(settings.lifter)
    contract = contract_of(graph)
    hypotheses = settings.hypotheses if settings.hypotheses is not None else contract.hypotheses
    check_hypotheses(contract, hypotheses)
    choice = choose(settings.backend, graph, hypotheses)
    runner = load(choice, graph)
    try:
        runner.warm_up(people_at_once(choice, runner, settings.several), hypotheses)
    except BaseException:
        runner.close()
        raise
    return runner, hypotheses


def backend_of(settings: RunSettings) -> Choice:
    """Which backend a run will take, and why: one line for people (`str`). Raises as open_runner does."""
    return choose(settings.backend, graph_of(settings.lifter), settings.hypotheses)


def graph_of(lifter: str) -> Path:
    """The graph of a catalogue name, or a path to one, or to an engine, that `posepipe build-engines` made."""
    if lifter.endswith((".onnx", ".engine")):
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
