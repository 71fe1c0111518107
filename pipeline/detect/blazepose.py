"""BlazePose (Bazarevsky et al. 2020, "BlazePose: On-device Real-time Body Pose tracking") as MediaPipe 0.10.21 ships
it: one person, 33 keypoints, on the CPU, from the models inside the wheel.

MediaPipe's own graph is run, but driven from here and not through `mediapipe.solutions.pose`, for three reasons: its
smoothing gets the frames' real times (the solution pretends 30 per second), the network may use several threads (the
solution uses one), and it never tries to download a model.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from types import TracebackType
from typing import Any

import numpy as np

from posepipe.pipeline.detect.mediapipe_graph import (
    CHATTER,
    check_model,
    graph_config,
    import_mediapipe,
    provoke_first_warning,
)
from posepipe.pipeline.detect.quiet import stderr_without
from posepipe.types import Frame, Pose2D

NAME = "blazepose"
SKELETON = "blazepose33"

_OUTPUTS = ("pose_landmarks", "pose_world_landmarks")
_FRAME_MICROSECONDS = 33_333


class BlazePose:
    """The detector: frames in, at most one person each out. Use it as a context manager, or close() it.

    static: treat frames as unrelated pictures (detect anew in each, no smoothing); otherwise they are a video, in
    order: the person is followed from frame to frame and landmarks are smoothed. The state is part of the result, so
    start a new one for every video. complexity: 1 is the model in the wheel; 0 and 2 work where their .tflite file
    was put beside it. min_detection, min_tracking: MediaPipe's thresholds.

    max_threads: of the neural network; results are the same bit for bit with any number. Two are 1.75 times as fast as
    one while nothing else runs (10.5 against 18.3 ms a frame), but they wait for each other by spinning, so they slow
    the whole pipeline down where other stages need those cores too. Default: half the cores, at most 4.

    Not safe to share between threads. Raises UsageError for a model that is not there, MissingDependencyError when
    MediaPipe or a system library is missing.
    """

    name = NAME
    skeleton = SKELETON

    def __init__(
        self,
        static: bool = False,
        complexity: int = 1,
        max_threads: int | None = None,
        min_detection: float = 0.5,
        min_tracking: float = 0.5,
    ) -> None:
        if max_threads is None:
            max_threads = network_threads(_cores())
        with stderr_without(CHATTER):
            self._mp = import_mediapipe()
            check_model(self._mp.root, complexity)
            provoke_first_warning(self._mp)
            self._graph = self._mp.graph.CalculatorGraph(
                graph_config=graph_config(self._mp, max_threads, min_detection, min_tracking)
            )
            self._results: dict[str, Any] = {}
            for stream in _OUTPUTS:
                self._graph.observe_output_stream(stream, self._results.__setitem__, True)
            bools = {
                "smooth_landmarks": not static,
                "use_prev_landmarks": not static,
                "enable_segmentation": False,
                "smooth_segmentation": False,
            }
            side_packets = {name: self._mp.create.create_bool(value) for name, value in bools.items()}
            side_packets["model_complexity"] = self._mp.create.create_int(complexity)
            self._graph.start_run(side_packets)
            self._graph.wait_until_idle()  # the models load here, and chatter
        self._closed = False
        self._clock = 0
        self._clock_zero: float | None = None

    def __enter__(self) -> BlazePose:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            with suppress(RuntimeError):  # a graph that has failed says so again when it is closed
                self.close()

    def close(self) -> None:
        """Stop the graph and its threads; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._graph.close()

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]:
        """The person in a frame, or ().

        keypoints: pixels; MediaPipe extrapolates, so they may lie outside the image. confidence: MediaPipe's
        `visibility`, which is low for joints that are hidden or outside the image; in a video it is smoothed over
        about ten frames, so it lags behind. world: metres, hip centre at the origin, in our camera frame's axes
        (MediaPipe's x to the right, y down, z away from the camera are the same)."""
        height, width = frame.image.shape[:2]
        image = self._mp.create.create_image_frame(
            image_format=self._mp.image.ImageFormat.SRGB, data=np.ascontiguousarray(frame.image)
        )
        self._results.clear()
        self._graph.add_packet_to_input_stream("image", image.at(self._microseconds(frame.pts)))
        self._graph.wait_until_idle()
        packets = [self._results.get(stream) for stream in _OUTPUTS]
        if any(packet is None or packet.is_empty() for packet in packets):
            return ()
        landmarks, world = (self._mp.get.get_proto(packet).landmark for packet in packets)
        table = np.array([(p.x * width, p.y * height, p.visibility) for p in landmarks], np.float32)
        metres = np.array([(p.x, p.y, p.z) for p in world], np.float32)
        seen = np.isfinite(table).all(axis=1)
        confidence = np.where(seen, np.clip(np.nan_to_num(table[:, 2]), 0, 1), 0).astype(np.float32)
        return (Pose2D(np.ascontiguousarray(table[:, :2]), confidence, SKELETON, metres),)

    def _microseconds(self, pts: float) -> int:
        """MediaPipe's clock: it must advance, whatever the source's does (which may stand still or start anew)."""
        clock = 0
        if math.isfinite(pts) and self._clock_zero is not None:
            clock = round((pts - self._clock_zero) * 1e6)
        if clock <= self._clock:
            clock = self._clock + _FRAME_MICROSECONDS
            if math.isfinite(pts):
                self._clock_zero = pts - clock * 1e-6
        self._clock = clock
        return clock


def network_threads(cores: int) -> int:
    """How many threads to give the network of a pipeline that has so many cores: its other stages want half of them."""
    return max(1, min(4, cores // 2))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
