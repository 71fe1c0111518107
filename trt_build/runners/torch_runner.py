"""The torch backend: the sampler module itself, from the checkpoint. Needs torch (the `train` extra).

On the CPU it is the plain module: slower than ONNX Runtime, and what its numbers are compared with. On a GPU the module
is compiled (torch.compile) and every bucket recorded as one CUDA graph: copies in, noise, sampler, copies out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from posepipe.errors import CheckpointError, EngineError
from posepipe.lifters.build import load
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.noise import NoiseKey, normal
from posepipe.trt_build.engine.names import BUCKETS
from posepipe.trt_build.runners.buckets import Result, check_bucket, in_buckets, up_to
from posepipe.trt_build.runners.contract import REBUILD, check_hypotheses, check_people
from posepipe.trt_build.runners.noise_torch import key_tensors, normals
from posepipe.trt_build.runners.ort import read_graph

# Of a graph that is unrolled further than this only the repeated part is compiled: all of it would take minutes.
WHOLE_STEPS = 2
Sampling = Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]


class TorchRunner:
    """The sampler of a graph's checkpoint in torch; see `Runner` for the methods.

    device: `cpu`, `cuda`, or None for the GPU where torch has one. compiled, captured: switch torch.compile and CUDA
    graphs off, to measure what they bring; both only matter on a GPU. There, `warm_up` makes an H ready, and `sample`
    takes no other. Raises CheckpointError as OrtRunner does, EngineError when torch cannot use the device.
    """

    def __init__(self, graph: Path, device: str | None = None, *, compiled: bool = True, captured: bool = True) -> None:
        info = read_graph(graph)
        header, sampler = load(info.weights, {"network": info.contract.network, "hypotheses": info.contract.hypotheses})
        if header != info.contract:
            raise CheckpointError(f"{graph} does not say the same as its weights {info.weights.name}.", REBUILD)
        name = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self._sampler: nn.Module | None = sampler.to(name).requires_grad_(False)
        except (RuntimeError, AssertionError) as error:  # "Torch not compiled with CUDA enabled" is an assertion
            reason = str(error).splitlines()[0]
            raise EngineError(
                f"torch cannot use the device '{name}' ({reason}).", "Use --backend onnxruntime."
            ) from None
        self.contract: Checkpoint = info.contract
        self.checkpoint_sha256 = info.weights_sha256
        self.backend = f"torch[{name}]"
        self._device = torch.device(name)
        self._ready: dict[int, dict[int, TorchBucket]] = {}
        self._sampling = sampling(sampler, self.contract, compiled and self._device.type == "cuda")
        self._capture = GraphCapture(self._device, captured) if self._device.type == "cuda" else None

    def warm_up(self, persons: int, hypotheses: int) -> None:
        check_hypotheses(self.contract, hypotheses)
        if self._capture is None:
            keypoints, keys = np.zeros((persons, 17, 2), np.float32), [NoiseKey(0, "warm-up", 0, 0)] * persons
            self.sample(keypoints, np.ones((persons, 17), np.float32), keys, hypotheses)
            return
        ready = self._ready.setdefault(hypotheses, {})
        for people in up_to(persons, BUCKETS):
            if people not in ready:
                shape = (hypotheses, *self.contract.noise_shape)
                ready[people] = TorchBucket(
                    self._sampling, self._device, people, shape, self._capture, self._capture.wait
                )

    def sample(
        self,
        keypoints: NDArray[np.float32],
        confidence: NDArray[np.float32],
        keys: Sequence[NoiseKey],
        hypotheses: int,
    ) -> Result:
        if self._sampler is None:
            raise EngineError("The runner is closed.")
        check_hypotheses(self.contract, hypotheses)
        check_people(keypoints, confidence, keys)
        if self._capture is not None:
            return in_buckets(self._ready, keypoints, confidence, keys, hypotheses)
        shape = (hypotheses, *self.contract.noise_shape)
        noise = np.stack([normal(key, shape) for key in keys])
        with torch.no_grad():
            joints, log_weights = self._sampler(*(torch.from_numpy(a) for a in (keypoints, confidence, noise)))
        return joints.numpy(), log_weights.numpy()

    def close(self) -> None:
        self._ready, self._sampler = {}, None

    def __enter__(self) -> TorchRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sampling(sampler: nn.Module, contract: Checkpoint, compiled: bool) -> Sampling:
    """(keypoints, confidence, key words, key weights, H) -> hypotheses, log_weights; the noise is drawn inside.

    Compiled: all of it, or, where many steps are unrolled, the step that is repeated and the noise."""

    def sample(k: Tensor, c: Tensor, words: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
        shape = (len(k), count, *contract.noise_shape)
        result: tuple[Tensor, Tensor] = sampler(k, c, draw(words, weights, math.prod(shape[1:])).reshape(shape))
        return result

    draw = normals
    if not compiled:
        return sample
    net: Any = getattr(sampler, "net", None)
    if (contract.steps or 1) > WHOLE_STEPS and hasattr(net, "denoise"):
        net.denoise = torch.compile(net.denoise, dynamic=False)
        draw = torch.compile(normals, dynamic=False)
        return sample
    return torch.compile(sample, dynamic=False)


class GraphCapture:
    """Records work as a CUDA graph on a stream of its own, or, where that fails, hands it back as it is; the first
    failure is a warning. captured: False hands everything back; and it is False from a failure on."""

    def __init__(self, device: torch.device, captured: bool = True) -> None:
        self.captured = captured
        self.stream = torch.cuda.Stream(device)

    def wait(self) -> None:
        """Until what was launched has been done."""
        self.stream.synchronize()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """A function that launches the work on `stream`; `wait` waits for it. Raises EngineError when the GPU's memory
        is full."""
        try:
            with torch.cuda.stream(self.stream):
                for _ in range(3):  # compiles, chooses algorithms, fills allocators: nothing of it may be recorded
                    work()
            self.stream.synchronize()
            return self._recorded(work) if self.captured else self._plain(work)
        except torch.OutOfMemoryError:
            raise EngineError("The GPU's memory is full.", "Use fewer hypotheses, or close other programs.") from None

    def _recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            text = f"The sampler could not be recorded as a CUDA graph ({reason}); it runs launch by launch, slower."
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            self.captured = False
            return self._plain(work)

        def replay() -> None:
            with torch.cuda.stream(self.stream):
                graph.replay()

        return replay

    def _plain(self, work: Callable[[], None]) -> Callable[[], None]:
        def launch() -> None:
            with torch.cuda.stream(self.stream):
                work()

        return launch


class TorchBucket:
    """Host buffers for one number of people, and the work over them as `capture` returns it. See `Bucket`.
    `launch` starts it and does not wait.

    shape: of one person's noise, H first."""

    def __init__(
        self,
        sampling: Sampling,
        device: torch.device,
        people: int,
        shape: tuple[int, ...],
        capture: Callable[[Callable[[], None]], Callable[[], None]],
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        pin = device.type == "cuda"
        self._people = people

        def host(*size: int, kind: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(people, *size, dtype=kind, pin_memory=pin)

        self._inputs = (host(17, 2), host(17), host(7, kind=torch.int64), host(2, kind=torch.float64))
        self._outputs = (host(shape[0], 17, 3), host(shape[0]))

        def work() -> None:
            with torch.no_grad():
                k, c, words, weights = (t.to(device, non_blocking=True) for t in self._inputs)
                for mine, result in zip(self._outputs, sampling(k, c, words, weights, shape[0]), strict=True):
                    mine.copy_(result, non_blocking=True)

        self._fill(
            np.zeros((people, 17, 2), np.float32),
            np.ones((people, 17), np.float32),
            [NoiseKey(0, "warm-up", 0, i) for i in range(people)],
        )
        self.launch, self._wait = capture(work), wait

    def run(self, keypoints: NDArray[np.float32], confidence: NDArray[np.float32], keys: Sequence[NoiseKey]) -> Result:
        check_bucket(keypoints, confidence, len(keys), self._people)
        self._fill(keypoints, confidence, keys)
        try:
            self.launch()
            self._wait()
        except RuntimeError as error:
            raise EngineError(f"The GPU failed ({str(error).splitlines()[0]}).", "See `posepipe doctor`.") from None
        joints, log_weights = self._outputs
        return joints.numpy(), log_weights.numpy()

    def _fill(self, keypoints: NDArray[np.float32], confidence: NDArray[np.float32], keys: Sequence[NoiseKey]) -> None:
        given = (torch.from_numpy(keypoints), torch.from_numpy(confidence), *key_tensors(keys))
        for mine, value in zip(self._inputs, given, strict=True):
            mine.copy_(value)
