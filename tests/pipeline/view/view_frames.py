"""Frames for viewers, of people whose place and pose are known exactly."""

import numpy as np

from posepipe.camera import from_fov, project
from posepipe.pipeline.render.layout import Caption
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.stats import StageSummary
from posepipe.pipeline.view.protocol import Status, ViewFrame
from posepipe.types import Frame, Hypotheses, Pose2D, Pose3D, Track

CAMERA = from_fov(640, 360)
STANDING = np.array(
    [
        (0, 0, 0), (-0.13, 0, 0), (-0.15, 0.42, 0), (-0.15, 0.84, 0), (0.13, 0, 0), (0.15, 0.42, 0), (0.15, 0.84, 0),
        (0, -0.24, 0), (0, -0.49, 0), (0, -0.59, 0), (0, -0.70, 0), (0.18, -0.45, 0), (0.30, -0.2, 0), (0.35, 0, 0),
        (-0.18, -0.45, 0), (-0.30, -0.2, 0), (-0.35, 0, 0),
    ],
    np.float32,
)  # fmt: skip


def frame_of(index: int, people: int = 1, hypotheses: int = 20, repeated: bool = False) -> ViewFrame:
    """People 1.2 m apart, 4 m away, whose joints get the more uncertain the higher their number is."""
    noise = np.random.default_rng(index)
    std = np.linspace(0.02, 0.14, 17, dtype=np.float32)
    tracks = []
    for person in range(people):
        root = np.array([1.2 * person - 0.6, 0.1, 4.0], np.float32)
        pose2d = Pose2D(project(STANDING + root, CAMERA).astype(np.float32), np.full(17, 0.9, np.float32), "h36m17")
        fan = None
        if hypotheses:
            spread = noise.normal(size=(hypotheses, 17, 3)) * std[:, None] * (0.3, 0.3, 1.0)
            weights = np.full(hypotheses, -np.log(hypotheses), np.float32)
            fan = Hypotheses((STANDING + spread).astype(np.float32), weights)
        tracks.append(Track(person + 1, pose2d, pose2d, fan, Pose3D(STANDING, std, root)))
    image = np.full((360, 640, 3), (40, 80, 120), np.uint8)
    caption = Caption(25.0, "mdn", hypotheses, "blazepose", "onnxruntime", live=True)
    stages = (StageSummary("detect", 10, 20.0, 19.0, 25.0, 30.0), StageSummary("lift", 10, 5.0, 4.0, 6.0, 7.0))
    status = Status(25.0, 61.0, 10, 2)
    frame = Frame(index, index / 25, image)
    return ViewFrame(frame, tuple(tracks), caption, ViewSettings(), CAMERA, status, stages, repeated)
