"""What every backend offers: one method that turns keypoints and noise keys into hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posepipe.lifters.checkpoint import Checkpoint
from posepipe.noise import NoiseKey


class Runner(Protocol):
    """A loaded sampler. Use as a context manager; `sample` may be called from one thread at a time.

    contract: the checkpoint's header. backend: `onnxruntime`, `tensorrt` or `torch`, with the device in brackets.
    checkpoint_sha256: of the weights file.
    """

    contract: Checkpoint
    backend: str
    checkpoint_sha256: str

    def warm_up(self, persons: int, hypotheses: int) -> None:
        """Run once with these shapes, so that the first real call is as fast as the others."""
        ...

    def sample(
        self,
        keypoints: NDArray[np.float32],
        confidence: NDArray[np.float32],
        keys: Sequence[NoiseKey],
        hypotheses: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """keypoints (B,17,2) in the contract's input space, confidence (B,17), one noise key per person ->
        hypotheses (B,H,17,3) metres, hip-relative, in the frame of the input space, and log_weights (B,H)."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Runner: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
