"""What a graph says of itself, and whether a call fits it: shared by the runners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import CheckpointError, UsageError
from posepipe.hashing import file_sha256
from posepipe.lifters.checkpoint import Checkpoint, parse
from posepipe.lifters.variants import MAX_HYPOTHESES
from posepipe.noise import NoiseKey

CONTRACT = "posepipe.contract"  # graph metadata: the checkpoint header, as JSON
WEIGHTS = "posepipe.checkpoint"  # graph metadata: file name of the checkpoint that the graph points into
WEIGHTS_SHA256 = "posepipe.checkpoint_sha256"
REBUILD = "Rebuild it with `posepipe build-engines --backend onnx`."


@dataclass(frozen=True)
class GraphInfo:
    """contract: the checkpoint's header as the graph uses it. weights: the checkpoint that it points into."""

    contract: Checkpoint
    weights: Path
    weights_sha256: str


def graph_info(graph: Path, metadata: Mapping[str, str]) -> GraphInfo:
    """From a graph's metadata. Raises CheckpointError unless it is one of ours over the weights that lie beside it."""
    if CONTRACT not in metadata:
        raise CheckpointError(f"{graph} was not made by posepipe.", REBUILD)
    name, digest = metadata.get(WEIGHTS, ""), metadata.get(WEIGHTS_SHA256, "")
    weights = graph.parent / name
    if not name or Path(name).name != name:
        raise CheckpointError(f"{graph} names the weights '{name}', which is not a file beside it.", REBUILD)
    try:
        # A device or a pipe would be read for ever.
        right = weights.is_file() and file_sha256(weights) == digest
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Cannot read the weights of {graph} ({error}).", REBUILD) from None
    if not right:
        raise CheckpointError(f"{graph.name} was made for another version of {weights.name}.", REBUILD)
    return GraphInfo(parse(metadata[CONTRACT], str(graph)), weights, digest)


def check_hypotheses(contract: Checkpoint, hypotheses: int) -> None:
    """UsageError when the lifter cannot give this many hypotheses."""
    fixed = contract.fixed_hypotheses
    if fixed is not None and hypotheses != fixed:
        raise UsageError(
            f"This lifter ({contract.lifter}) always gives {fixed} hypothes{'is' if fixed == 1 else 'es'}.",
            f"Leave out --hypotheses, or use another lifter (not {hypotheses}).",
        )
    if not 1 <= hypotheses <= MAX_HYPOTHESES:
        raise UsageError(f"{hypotheses} hypotheses are not possible.", f"Give 1 to {MAX_HYPOTHESES}.")


def check_people(keypoints: NDArray[np.float32], confidence: NDArray[np.float32], keys: Sequence[NoiseKey]) -> None:
    """UsageError unless there are keypoints, confidence and a noise key for each of at least one person."""
    people = len(keys)
    if not people:
        raise UsageError("There is nobody to lift.")
    for name, array, wanted in (("keypoints", keypoints, (people, 17, 2)), ("confidence", confidence, (people, 17))):
        if array.shape != wanted:
            raise UsageError(f"The lifter's input '{name}' has the shape {array.shape}, not {wanted}.")
