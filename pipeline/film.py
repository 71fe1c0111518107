"""Film the rendered actor into an ordinary video file, and keep the truth of every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.actor import ActorScene, ActorSource


@dataclass(frozen=True)
class FilmTruth:
    """Exact truth of a film of T frames. joints: (T, 17, 3) metres, camera frame. keypoints: (T, 17, 2) pixels."""

    joints: NDArray[np.float64]
    keypoints: NDArray[np.float64]


def film(scenes: tuple[ActorScene, ...], path: Path, on_frame: Callable[[], None] | None = None) -> FilmTruth:
    """Render the scenes one after the other (all of one size and rate) into an H.264 file.

    Quality is set high (crf 18): what is measured afterwards is the pipeline and not the compression."""
    first = scenes[0]
    joints, keypoints = [], []
    count = 0
    with VideoWriter(path, first.width, first.height, first.fps, crf=18, preset="veryfast") as writer:
        for scene in scenes:
            for frame, truth in ActorSource(scene):
                writer.write(frame.image, count / first.fps)
                joints.append(truth.joints_camera)
                keypoints.append(truth.keypoints)
                count += 1
                if on_frame:
                    on_frame()
    return FilmTruth(np.stack(joints), np.stack(keypoints))
