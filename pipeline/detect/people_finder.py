"""Finding people in a whole picture with what the runtime install has: the first of BlazePose's two networks.

It finds faces and trunks, gives the middle of the hips and the radius of the person around it, and is made for people
not too far away: somebody of less than about a fifth of the picture's shorter side is not found. Wide and high pictures
are therefore looked at in squares as well. BlazePose itself goes on with the best of its finds; here all count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.detect.boxes import overlaps
from posepipe.pipeline.detect.mediapipe_graph import CHATTER, import_mediapipe
from posepipe.pipeline.detect.quiet import stderr_without

_GRAPH = """
input_stream: "image" output_stream: "detections"
node {
  calculator: "PoseDetectionCpu" input_stream: "IMAGE:image" output_stream: "DETECTIONS:detections"
}"""
_HIPS, _EDGE = 0, 1  # of its keypoints: the middle of the hips; a point at the person's radius from there
_LONG = 1.3  # sides of a picture that is looked at in squares, too
_SAME = 0.4  # overlap of two finds of one person


class PeopleFinder:
    """Called with a picture (height, width, 3) RGB; gives boxes (N, 4) left, top, right, bottom in pixels, best first.

    A box is a square around the hips that holds the person in any posture. Raises MissingDependencyError."""

    def __init__(self, threads: int = 1) -> None:
        with stderr_without(CHATTER):
            self._mp = import_mediapipe()
            validated = self._mp.validated.ValidatedGraphConfig()
            validated.initialize(graph_config=_GRAPH)
            config = self._mp.config.CalculatorGraphConfig()
            config.ParseFromString(validated.binary_config)
            for node in config.node:
                if node.calculator == "InferenceCalculatorCpu":
                    options = node.options.Extensions[self._mp.inference.InferenceCalculatorOptions.ext]
                    options.delegate.xnnpack.num_threads = threads
            self._graph = self._mp.graph.CalculatorGraph(graph_config=config)
            self._found: dict[str, Any] = {}
            self._graph.observe_output_stream("detections", self._found.__setitem__, True)
            self._graph.start_run({})
            self._graph.wait_until_idle()
        self._clock = 0
        self._closed = False

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        finds = [find for part in _parts(image) for find in self._in(image, *part)]
        finds.sort(key=lambda find: -find[4])
        kept: list[NDArray[np.float32]] = []
        for find in finds:
            if not kept or overlaps(find[:4], np.stack(kept)).max() < _SAME:
                kept.append(find[:4])
        return np.array(kept, np.float32).reshape(-1, 4)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._graph.close()

    def _in(self, image: NDArray[np.uint8], left: int, top: int, width: int, height: int) -> list[NDArray[np.float32]]:
        part = np.ascontiguousarray(image[top : top + height, left : left + width])
        frame = self._mp.create.create_image_frame(image_format=self._mp.image.ImageFormat.SRGB, data=part)
        self._found.clear()
        self._clock += 1
        self._graph.add_packet_to_input_stream("image", frame.at(self._clock))
        self._graph.wait_until_idle()
        packet = self._found.get("detections")
        if packet is None or packet.is_empty():
            return []
        finds = []
        for detection in self._mp.get.get_proto_list(packet):
            points = detection.location_data.relative_keypoints
            at, edge = (np.array([points[i].x * width, points[i].y * height]) for i in (_HIPS, _EDGE))
            radius = float(np.linalg.norm(edge - at))
            x, y = at + [left, top]
            finds.append(np.array([x - radius, y - radius, x + radius, y + radius, detection.score[0]], np.float32))
        return finds


def _parts(image: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """(left, top, width, height): the whole, and squares that overlap by half where it is much longer one way."""
    height, width = image.shape[:2]
    parts = [(0, 0, width, height)]
    side, length = min(height, width), max(height, width)
    if length > _LONG * side:
        count = max(2, -(-2 * length // side) - 1)
        starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
        parts += [(s, 0, side, side) if width >= height else (0, s, side, side) for s in starts]
    return parts
