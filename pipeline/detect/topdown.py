"""Detectors of many people: boxes first, then the keypoints in each box."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.detect.boxes import FIND_EVERY, Find, Followed, follow, look_at, people_among
from posepipe.pipeline.detect.crop import crop_around, cut
from posepipe.pipeline.detect.heatmaps import decode
from posepipe.trt_build.runners.heatmaps import HeatmapRunner
from posepipe.types import Frame, Pose2D


class Estimator(Protocol):
    """Keypoints of people whose boxes are known. skeleton: their layout."""

    skeleton: str

    def poses(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """image: (height, width, 3) RGB; boxes: (N, 4) left, top, right, bottom, pixels, N > 0. Returns keypoints
        (N, J, 2) pixels (NaN: not found) and scores (N, J)."""
        ...

    def close(self) -> None: ...


class TopDown:
    """A detector of an estimator and something that finds people. every: frames after which the whole picture is looked
    at again although people are followed; 1 follows nobody. It closes both. One thread at a time."""

    def __init__(self, name: str, estimator: Estimator, find: Find, every: int = FIND_EVERY) -> None:
        self.name, self.skeleton = name, estimator.skeleton
        self._estimator, self._find, self._every = estimator, find, every
        self._followed = Followed()

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]:
        """Everybody who is found. confidence: the heatmap's largest value, or what MMPose gives, within 0..1."""
        before = self._followed if self._every > 1 else Followed()
        followed, boxes = look_at(before, frame.image, self._find, self._every)
        if not len(boxes):
            self._followed = followed
            return ()
        keypoints, scores = self._estimator.poses(frame.image, boxes)
        seen = np.isfinite(keypoints).all(-1)
        confidence = np.where(seen, np.clip(np.nan_to_num(scores), 0, 1), 0).astype(np.float32)
        found = [Pose2D(points, sure, self.skeleton) for points, sure in zip(keypoints, confidence, strict=True)]
        poses = people_among(found)
        self._followed = follow(followed, poses)
        return poses

    def close(self) -> None:
        with ExitStack() as both:
            both.callback(self._estimator.close)
            both.callback(getattr(self._find, "close", lambda: None))

    def __enter__(self) -> TopDown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class HeatmapEstimator:
    """An estimator that cuts people out, runs a heatmap network over all of them at once, and reads its heatmaps."""

    def __init__(self, runner: HeatmapRunner) -> None:
        self._runner = runner
        self.skeleton = runner.contract.skeleton

    def poses(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        c = self._runner.contract
        crops = [crop_around(box, c.width, c.height, c.padding) for box in boxes]
        pictures = np.stack([cut(image, crop, c.width, c.height, c.decoding == "udp") for crop in crops])
        heatmaps = self._runner.run(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32))
        places, scores = decode(heatmaps, c.decoding, c.blur)
        return np.stack([crop.place(p) for crop, p in zip(crops, places, strict=True)]), scores

    def close(self) -> None:
        self._runner.close()
