"""The values that travel between stages: frozen dataclasses, each with shapes, units and frames stated.

Camera frame: x right, y down, z forward, metres. Pixels: origin top-left, x right, y down. Time: seconds, from the
source's own timestamps. J is the number of joints of a detector's skeleton; 3D is always H36M-17.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """One decoded image, upright (the container's rotation is already applied).

    image: (height, width, 3) uint8 RGB. pts: seconds on the source's clock. index: 0-based position in the source.
    corrupt: the decoder flagged the picture as damaged.
    """

    index: int
    pts: float
    image: NDArray[np.uint8]
    corrupt: bool = False


@dataclass(frozen=True)
class Pose2D:
    """2D keypoints of one person, in the layout named by `skeleton`.

    keypoints: (J, 2) float32 pixels. confidence: (J,) float32 in 0..1; 0 means "not seen", the coordinates are then
    meaningless (and may be NaN). world: (J, 3) float32 metres, the detector's own 3D guess where it has one
    (MediaPipe's world landmarks: hip-centred, axes as our camera frame); used only for comparison. person: who it is,
    where the source of the keypoints says so; identity is then not worked out here.
    """

    keypoints: FloatArray
    confidence: FloatArray
    skeleton: str
    world: FloatArray | None = None
    person: int | None = None

    def __post_init__(self) -> None:
        joints = len(self.keypoints)
        if self.keypoints.shape != (joints, 2) or self.confidence.shape != (joints,):
            raise ValueError(f"Pose2D needs (J,2) and (J,), got {self.keypoints.shape} and {self.confidence.shape}")


@dataclass(frozen=True)
class Hypotheses:
    """H plausible 3D poses of one person.

    joints: (H, 17, 3) float32 metres, hip at the origin, camera frame. log_weights: (H,) float32, log-sum-exp 0.
    """

    joints: FloatArray
    log_weights: FloatArray

    def __post_init__(self) -> None:
        count = len(self.log_weights)
        if self.joints.shape != (count, 17, 3):
            raise ValueError(f"Hypotheses needs ({count},17,3), got {self.joints.shape}")


@dataclass(frozen=True)
class Pose3D:
    """What a user gets: one pose with its uncertainty.

    joints: (17, 3) float32 metres, hip at the origin, camera frame. joint_std: (17,) float32 metres, the root of the
    mean squared distance of the hypotheses. root: (3,) float32 metres, the hip in the camera frame (NaN when it cannot
    be fitted).
    """

    joints: FloatArray
    joint_std: FloatArray
    root: FloatArray


@dataclass(frozen=True)
class Track:
    """One person in one frame, with an identity that lasts over time.

    pose2d is in H36M-17 (the conversion already applied); detected is what the detector said, in its own layout.
    smoothed2d, smoothed3d: the same after smoothing over time, for showing (see `shown`); None where nothing was.
    """

    id: int
    pose2d: Pose2D
    detected: Pose2D
    hypotheses: Hypotheses | None = None
    pose3d: Pose3D | None = None
    smoothed2d: Pose2D | None = None
    smoothed3d: Pose3D | None = None

    @property
    def shown(self) -> Track:
        """This track with the smoothed poses in the place of the raw ones, where there are any: what viewers draw."""
        return replace(self, pose2d=self.smoothed2d or self.pose2d, pose3d=self.smoothed3d or self.pose3d)
