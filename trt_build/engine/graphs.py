"""From weights to graph files: what `build-engines` does before it needs a GPU. Needs torch and onnx.

Every graph is compared with what it was made from before it gets its name: the float32 graph with torch, the float16
one with the float32 one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posepipe.errors import CheckpointError, OutputError
from posepipe.lifters.catalogue import Entry, fits, names_of, variant_for
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.lifters.variants import asked_for, merged, vary
from posepipe.trt_build.engine.names import graph_name

# metres, graph against torch (export_onnx.compare_with_torch): float32 in another order, and a calibration may spread
# hypotheses, and with them that difference, by up to 3
MAX_DIFFERENCE = 3e-5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is made of one lifter. variant: header fields that its graph changes. settings: those that were asked for,
    H aside. contract: the header with them."""

    entry: Entry
    checkpoint: Path
    variant: dict[str, Any]
    settings: dict[str, Any]
    contract: Checkpoint


@dataclass(frozen=True)
class Graphs:
    """Files made of one plan. full: float32. used: in `precision`."""

    plan: Plan
    checkpoint: Path
    full: Path
    used: Path
    precision: str


def plan_for(e: Entry, given: Path | None, settings: dict[str, Any]) -> Plan:
    """settings: hypotheses, steps, scheduler, faithful; None where nothing was asked for. Raises CheckpointError if
    the weights are absent or of another lifter, UsageError for settings that it does not have."""
    checkpoint = given or e.checkpoint_path
    if not checkpoint.is_file():
        fix = f"Give --checkpoint FILE; `posepipe import-checkpoint --from {e.source or 'SYSTEM'}` makes one."
        fix = "Check the path." if given else fix
        raise CheckpointError(f"There are no weights for '{e.name}' at {checkpoint}.", fix)
    header = read_header(checkpoint)
    if not fits(e, header):
        names = names_of(header)
        raise CheckpointError(
            f"{checkpoint} holds weights of '{names[0] if names else header.lifter}', not of '{e.name}'.",
            f"Use --lifter {' or --lifter '.join(names)}." if names else "See `posepipe lifters`.",
        )
    variant = variant_for(e, header)
    variant = merged(variant, asked_for(vary(header, variant), **settings))
    beyond = {name: value for name, value in settings.items() if value is not None and name != "hypotheses"}
    return Plan(e, checkpoint, variant, beyond, vary(header, variant))


def check_folder(folder: Path) -> None:
    """Make the folder and try to write into it, before anything that takes long. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"Cannot write to {folder} ({error}).", "Give a folder that you may write to.") from None


def make_graphs(plan: Plan, out: Path | None, precision: str, say: Say) -> Graphs:
    """Export into `out` (None: beside the shipped weights), in float32 and, if asked for, in float16.

    Raises CheckpointError if a graph differs too much, OutputError if the folder cannot be written to."""
    from posepipe.trt_build.export_onnx import compare_with_torch, export

    name, checkpoint, full = plan.entry.name, plan.checkpoint, plan.entry.graph_path
    if out is not None:
        checkpoint, full = _beside(checkpoint, out), out / graph_name(name)
    with to_be_checked(full) as graph:
        export(checkpoint, graph, plan.variant, folded=precision == "fp32")
        difference = compare_with_torch(checkpoint, graph, plan.variant)
        if not difference <= MAX_DIFFERENCE:
            raise CheckpointError(f"The graph of '{name}' differs from torch by {difference:.2e}.")
    say(f"{name}: {full} ({full.stat().st_size / 1e3:.0f} kB), {difference:.1e} from torch")
    if precision == "fp32":
        return Graphs(plan, checkpoint, full, full, precision)
    used = full.with_name(graph_name(name, precision))
    say(f"{name}: {used}, float16 against float32: {write_float16_checked(name, full, used)}")
    return Graphs(plan, checkpoint, full, used, precision)


def write_float16_checked(name: str, full: Path, used: Path) -> str:
    """Write the float16 variant of a graph if it is within the gate's limits of it on 1,000 people, as imitated by
    rounding (rounded.py); if it is not, the variant whose first and last products stay in float32. Returns what was
    measured. Raises CheckpointError if both are beyond the limits."""
    from posepipe.trt_build.engine.gate import compare, reference
    from posepipe.trt_build.engine.precision import write_float16
    from posepipe.trt_build.engine.rounded import write_rounded
    from posepipe.trt_build.runners.ort import OrtRunner

    with OrtRunner(full) as exact:
        expected = reference(exact.contract, exact.run)
    with to_be_checked(used) as graph:
        imitation = graph.with_name(f"{graph.name}.rounded")
        measured = []
        for ends in (True, False):
            write_float16(full, graph, ends)
            try:
                write_rounded(graph, imitation)
                with OrtRunner(imitation) as half:
                    difference = compare(expected, half.run, 50, expected.count)
            finally:
                imitation.unlink(missing_ok=True)
            measured.append(difference.line("fp16"))
            if difference.passes("fp16"):
                return measured[-1] if ends else f"{measured[-1]}, first and last products in float32"
        raise CheckpointError(
            f"'{name}' does not bear fp16: {'; with float32 at both ends '.join(measured)}.",
            "Use --precision fp32 for these weights.",
        )


def check_readable(made: Graphs, buckets: Sequence[int]) -> None:
    """Fix the shapes for every bucket and hold the result to what TensorRT reads. Raises EngineError."""
    from posepipe.trt_build.engine.make import fixed_graph

    for persons in buckets:
        fixed_graph(made.used, made.plan.entry.name, persons, made.plan.contract.hypotheses)


@contextmanager
def to_be_checked(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` to write to; it becomes `path` when the block ends without an error, and vanishes
    otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"Cannot write {path} ({error}).", "Give a folder that you may write to.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _beside(checkpoint: Path, folder: Path) -> Path:
    """Put the weights next to the graph that points into them: a hard link where possible, else a copy."""
    target = folder / checkpoint.name
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.samefile(checkpoint):
            return target
        try:
            os.link(checkpoint, temporary)
        except OSError:
            shutil.copyfile(checkpoint, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"Cannot write to {folder} ({error}).", "Give a folder that you may write to.") from None
    finally:
        if folder.is_dir():
            temporary.unlink(missing_ok=True)
    return target
