"""The ONNX Runtime backend: the sampler graph on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import CheckpointError, UsageError
from posepipe.hashing import file_sha256
from posepipe.lifters.checkpoint import Checkpoint, parse
from posepipe.lifters.variants import MAX_HYPOTHESES
from posepipe.noise import NoiseKey, normal

CONTRACT = "posepipe.contract"  # graph metadata: the checkpoint header, as JSON
WEIGHTS = "posepipe.checkpoint"  # graph metadata: file name of the checkpoint that the graph points into
WEIGHTS_SHA256 = "posepipe.checkpoint_sha256"


class OrtRunner:
    """A sampler graph in ONNX Runtime; see `Runner` for the methods.

    threads: intra-op threads. 1 is the default because detector, renderer and encoder want the other cores: with as
    many threads as cores ONNX Runtime is slowest whenever anything else runs.
    Raises CheckpointError when the graph, or the weights it points into, are missing or do not belong together.
    """

    def __init__(self, graph: Path, threads: int = 1) -> None:
        import onnxruntime

        graph = Path(graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        rebuild = "Rebuild it with `posepipe build-engines --backend onnx`."
        if not graph.is_file():
            raise CheckpointError(f"There is no sampler graph at {graph}.", rebuild)
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            if type(error).__module__.split(".")[0] != "onnxruntime":
                raise
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"ONNX Runtime cannot load {graph} ({reason}).", rebuild) from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        if CONTRACT not in metadata:
            raise CheckpointError(f"{graph} was not made by posepipe.", rebuild)
        self.contract: Checkpoint = parse(metadata[CONTRACT], str(graph))
        self.checkpoint_sha256 = metadata.get(WEIGHTS_SHA256, "")
        weights = graph.parent / metadata.get(WEIGHTS, "")
        if file_sha256(weights) != self.checkpoint_sha256:
            raise CheckpointError(f"{graph.name} was made for another version of {weights.name}.", rebuild)
        self.backend = "onnxruntime[cpu]"

    def warm_up(self, persons: int, hypotheses: int) -> None:
        shape = (persons, 17)
        keys = [NoiseKey(0, "warm-up", 0, i) for i in range(persons)]
        self.sample(np.zeros((*shape, 2), np.float32), np.ones(shape, np.float32), keys, hypotheses)

    def sample(
        self,
        keypoints: NDArray[np.float32],
        confidence: NDArray[np.float32],
        keys: Sequence[NoiseKey],
        hypotheses: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        check_hypotheses(self.contract, hypotheses)
        shape = (hypotheses, *self.contract.noise_shape)
        noise = np.stack([normal(key, shape) for key in keys])
        return self.run(keypoints, confidence, noise)

    def run(
        self, keypoints: NDArray[np.float32], confidence: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The bare graph, noise given: what parity checks compare. Raises UsageError for arrays of another shape."""
        people, noise_shape = len(keypoints), self.contract.noise_shape
        count = self.contract.fixed_hypotheses or (noise.shape[1] if noise.ndim > 1 else 0)
        wanted = {"keypoints": (people, 17, 2), "confidence": (people, 17), "noise": (people, count, *noise_shape)}
        for name, array in (("keypoints", keypoints), ("confidence", confidence), ("noise", noise)):
            if array.shape != wanted[name]:
                raise UsageError(f"The lifter's input '{name}' has the shape {array.shape}, not {wanted[name]}.")
        feeds = {"keypoints": keypoints, "confidence": confidence, "noise": noise}
        hypotheses, log_weights = self._session.run(["hypotheses", "log_weights"], feeds)
        return hypotheses, log_weights

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OrtRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
