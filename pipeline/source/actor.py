"""The rendered actor as a source of frames: an embedded demo input whose 3D truth is known exactly.

No video of a person can be shipped with the project, so `posepipe demo` films this figure instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, from_fov, project
from posepipe.errors import UsageError
from posepipe.pipeline.source.actor_body import ActorBody
from posepipe.pipeline.source.actor_motion import MOTIONS, WALK_RADIUS, pose_at
from posepipe.pipeline.source.actor_paint import Wardrobe, dress
from posepipe.pipeline.source.actor_pose import BodyPose
from posepipe.pipeline.source.actor_render import picture
from posepipe.pipeline.source.actor_shapes import shapes
from posepipe.pipeline.source.actor_stage import View, orbit, room
from posepipe.skeleton import BLAZEPOSE_33, H36M_17
from posepipe.types import Frame


@dataclass(frozen=True)
class ActorScene:
    """What is filmed and how. Frames are at times index / fps; the same scene and index give the same bytes.

    fov_deg spans the longer image side. yaw_deg: where the camera stands (0: the actor faces it at the start, growing
    towards the actor's left). pitch_deg > 0: the camera stands above the actor's middle and looks down. distance:
    metres to the actor's place; None takes what fits the whole motion into the picture."""

    motion: str = "walk"
    seconds: float = 8.0
    fps: float = 30.0
    width: int = 720
    height: int = 720
    fov_deg: float = 60.0
    yaw_deg: float = 0.0
    pitch_deg: float = 5.0
    distance: float | None = None
    seed: int = 0
    body: ActorBody = field(default_factory=ActorBody)

    def __post_init__(self) -> None:
        if self.motion not in MOTIONS:
            raise UsageError(f"Unknown motion '{self.motion}'.", f"Known: {', '.join(MOTIONS)}.")
        if not (self.seconds > 0 and self.fps > 0):
            raise UsageError("The actor needs a positive duration and frame rate.", "Try --seconds 8 --fps 30.")
        if min(self.width, self.height) < 64:
            raise UsageError("The actor's picture must be at least 64 pixels on each side.")
        if not -80.0 <= self.pitch_deg <= 80.0 or self.view.position[1] < 0.05:
            raise UsageError(
                f"A camera pitch of {self.pitch_deg}° does not fit here.", "Stay between -80 and 80, above the ground."
            )

    @property
    def frames(self) -> int:
        """Number of frames."""
        return max(round(self.seconds * self.fps), 1)

    @property
    def intrinsics(self) -> Intrinsics:
        """The true camera (not assumed)."""
        return from_fov(self.width, self.height, self.fov_deg, assumed=False)

    @property
    def view(self) -> View:
        """The camera in the world."""
        target = np.array([0.0, 0.51 * self.body.height, 0.0])
        distance = self.distance if self.distance is not None else self._fitting_distance()
        return orbit(target, math.radians(self.yaw_deg), math.radians(self.pitch_deg), distance, self.intrinsics)

    def _fitting_distance(self) -> float:
        camera, k = self.intrinsics, self.body.scale
        roam = (WALK_RADIUS + 0.05) * k if self.motion == "walk" else 0.15
        tall = 0.58 * self.body.height * 1.04 + (0.10 if self.motion == "wave" else 0.0)
        wide = (0.62 if self.motion != "walk" else 0.45) * k + roam
        return max(tall / (camera.height / 2 / camera.fy) + roam, wide / (camera.width / 2 / camera.fx) + 0.3)


@dataclass(frozen=True)
class ActorTruth:
    """Exact truth of one frame.

    joints_world: (17, 3) metres, y up, ground at 0. joints_camera: (17, 3) metres in the camera frame (x right, y down,
    z forward). keypoints: (17, 2) pixels. blazepose: (33, 2) pixels of BlazePose's landmarks, by our anatomy."""

    joints_world: NDArray[np.float64]
    joints_camera: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    blazepose: NDArray[np.float64]
    skeleton: str = H36M_17.name


class ActorSource:
    """Iterates (Frame, ActorTruth) over a scene; `render(index)` gives any one of them."""

    def __init__(self, scene: ActorScene) -> None:
        self.scene = scene
        self.view = scene.view
        self.intrinsics = scene.intrinsics
        self._wardrobe: Wardrobe = dress(scene.body.colours)
        middle = float(np.hypot(self.view.position[0], self.view.position[2]))
        self.background = room(self.view, middle + 2.5)

    def __len__(self) -> int:
        return self.scene.frames

    def pose(self, index: int) -> BodyPose:
        """The exact pose of a frame in the world."""
        return pose_at(self.scene.body, self.scene.motion, index / self.scene.fps, self.scene.seed)

    def truth(self, index: int) -> ActorTruth:
        """The truth of a frame without rendering it."""
        return self._truth(self.pose(index))

    def _truth(self, pose: BodyPose) -> ActorTruth:
        joints = self.view.to_camera(pose.joints)
        landmarks = self.view.to_camera(np.stack([pose.joint(name) for name in BLAZEPOSE_33.joints]))
        return ActorTruth(pose.joints, joints, project(joints, self.intrinsics), project(landmarks, self.intrinsics))

    def render(self, index: int) -> tuple[Frame, ActorTruth]:
        """One frame and its truth. Raises IndexError outside 0..len-1."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        pose = self.pose(index)
        image = picture(shapes(self.scene.body, pose, self._wardrobe), self.view, self.background)
        return Frame(index, index / self.scene.fps, image), self._truth(pose)

    def __iter__(self) -> Iterator[tuple[Frame, ActorTruth]]:
        return (self.render(index) for index in range(len(self)))


@lru_cache(maxsize=2)
def _source(scene: ActorScene) -> ActorSource:
    return ActorSource(scene)


def render_frame(scene: ActorScene, index: int) -> tuple[Frame, ActorTruth]:
    """Frame `index` of a scene and its truth, in any order."""
    return _source(scene).render(index)
