"""MediaPipe's pose graph: importing it, setting its thresholds and threads, and what it says on standard error."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from posepipe.errors import MissingDependencyError, UsageError

# Debian and Ubuntu packages behind the libraries that the OpenCV wheel, which MediaPipe imports, does not carry
# (libGL.so.1, libglib-2.0.so.0, libgthread-2.0.so.0; by ldd).
SYSTEM_PACKAGES = ("libgl1", "libglib2.0-0")

_GRAPH = "modules/pose_landmark/pose_landmark_cpu.binarypb"
_MODELS = {0: "pose_landmark_lite.tflite", 1: "pose_landmark_full.tflite", 2: "pose_landmark_heavy.tflite"}
CHATTER = re.compile(
    rb"INFO: Created TensorFlow Lite XNNPACK delegate"
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context)"
    rb"|mkdir -p failed for path|Matplotlib (created a temporary|is building the font) cache"
)


class MediaPipe(NamedTuple):
    """The parts of MediaPipe that are used here."""

    root: Path
    graph: ModuleType
    validated: ModuleType
    image: ModuleType
    create: ModuleType
    get: ModuleType
    config: ModuleType
    inference: ModuleType
    detections: ModuleType
    thresholding: ModuleType
    executor: ModuleType
    landmark: ModuleType
    rect: ModuleType


def import_mediapipe() -> MediaPipe:
    """Import MediaPipe (0.6 s, half of it matplotlib, which its drawing helpers want)."""
    try:
        import mediapipe

        # The imports of unused names below register messages without which the graph's options cannot be read.
        import mediapipe.python.solutions.pose
        from mediapipe.calculators.tensor import inference_calculator_pb2, tensors_to_detections_calculator_pb2
        from mediapipe.calculators.util import thresholding_calculator_pb2
        from mediapipe.framework import calculator_pb2, thread_pool_executor_pb2
        from mediapipe.framework.formats import landmark_pb2, rect_pb2
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import (
            calculator_graph,
            image_frame,
            resource_util,
            validated_graph_config,
        )
    except ImportError as error:
        raise _import_error(error) from error
    root = Path(mediapipe.__file__).parent
    resource_util.set_resource_dir(str(root.parent))
    return MediaPipe(
        root,
        calculator_graph,
        validated_graph_config,
        image_frame,
        packet_creator,
        packet_getter,
        calculator_pb2,
        inference_calculator_pb2,
        tensors_to_detections_calculator_pb2,
        thresholding_calculator_pb2,
        thread_pool_executor_pb2,
        landmark_pb2,
        rect_pb2,
    )


def _import_error(error: ImportError) -> MissingDependencyError:
    library = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", str(error))
    if library:
        return MissingDependencyError(
            f"MediaPipe and OpenCV need the system library {library[1]}.",
            f"Run: sudo apt-get install -y {' '.join(SYSTEM_PACKAGES)}",
        )
    return MissingDependencyError(
        f"MediaPipe 0.10.21 cannot be imported ({error}).", "Run: pip install mediapipe==0.10.21 'numpy<2'"
    )


def check_model(root: Path, complexity: int) -> None:
    """Raises UsageError unless the landmark model of that complexity is there (MediaPipe would try to download it)."""
    if complexity not in _MODELS:
        raise UsageError(f"BlazePose has no complexity {complexity}.", "Use 0, 1 or 2.")
    model = root / "modules" / "pose_landmark" / _MODELS[complexity]
    if not model.is_file():
        raise UsageError(
            f"BlazePose of complexity {complexity} needs {model.name}, which the mediapipe wheel does not hold.",
            f"Use complexity 1, or put the file into {model.parent}.",
        )


def graph_config(mp: MediaPipe, max_threads: int, min_detection: float, min_tracking: float) -> Any:
    """MediaPipe's pose graph, expanded, with thresholds and threads set. The graph itself is a chain: one thread."""
    validated = mp.validated.ValidatedGraphConfig()
    validated.initialize(binary_graph_path=str(mp.root / _GRAPH))
    config = mp.config.CalculatorGraphConfig()
    config.ParseFromString(validated.binary_config)
    config.executor[0].type = "ThreadPoolExecutor"
    config.executor[0].options.Extensions[mp.executor.ThreadPoolExecutorOptions.ext].num_threads = 1
    for node in config.node:
        options = node.options.Extensions
        if node.calculator == "InferenceCalculatorCpu":
            options[mp.inference.InferenceCalculatorOptions.ext].delegate.xnnpack.num_threads = max_threads
        elif node.calculator == "TensorsToDetectionsCalculator":
            options[mp.detections.TensorsToDetectionsCalculatorOptions.ext].min_score_thresh = min_detection
        elif node.calculator == "ThresholdingCalculator":
            options[mp.thresholding.ThresholdingCalculatorOptions.ext].threshold = min_tracking
    return config


def provoke_first_warning(mp: MediaPipe) -> None:
    """LandmarkProjectionCalculator warns once per process, with the first person seen. A graph of it alone makes it
    do so now, where the line can be held back."""
    graph = mp.graph.CalculatorGraph(
        graph_config="""
        input_stream: "landmarks" input_stream: "rect" output_stream: "out"
        node {
          calculator: "LandmarkProjectionCalculator"
          input_stream: "NORM_LANDMARKS:landmarks" input_stream: "NORM_RECT:rect" output_stream: "NORM_LANDMARKS:out"
        }"""
    )
    landmarks = mp.landmark.NormalizedLandmarkList(landmark=[mp.landmark.NormalizedLandmark()])
    graph.start_run({})
    graph.add_packet_to_input_stream("landmarks", mp.create.create_proto(landmarks).at(0))
    graph.add_packet_to_input_stream(
        "rect", mp.create.create_proto(mp.rect.NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1)).at(0)
    )
    graph.wait_until_idle()
    graph.close()
