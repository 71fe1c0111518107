"""Several rendered actors before one camera: people who walk about, cross and hide each other, with exact truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import project
from posepipe.pipeline.source.actor import ActorScene, ActorTruth
from posepipe.pipeline.source.actor_body import ActorBody
from posepipe.pipeline.source.actor_motion import pose_at
from posepipe.pipeline.source.actor_paint import dress
from posepipe.pipeline.source.actor_pose import BodyPose
from posepipe.pipeline.source.actor_raster import Capsule
from posepipe.pipeline.source.actor_render import picture
from posepipe.pipeline.source.actor_shapes import shapes
from posepipe.pipeline.source.actor_stage import cast_shadow, room
from posepipe.skeleton import BLAZEPOSE_33
from posepipe.types import Frame

Place = Callable[[float], "tuple[float, float] | None"]  # seconds -> floor point (x, z) metres, None: not there


@dataclass(frozen=True)
class Member:
    """One of several. place: where the ground of the motion lies at a time; None while the actor is away."""

    place: Place
    motion: str = "wave"
    seed: int = 0
    body: ActorBody = field(default_factory=ActorBody)


class CrowdSource:
    """Frames of a scene (its camera, size and times; its own motion is not used) with several actors in it.

    Iterates (Frame, truths), one truth per member, None for who is away."""

    def __init__(self, scene: ActorScene, members: tuple[Member, ...]) -> None:
        self.scene, self.members = scene, members
        self.view, self.intrinsics = scene.view, scene.intrinsics
        self._wardrobes = [dress(m.body.colours) for m in members]
        self._empty = room(self.view, float(np.hypot(self.view.position[0], self.view.position[2])) + 6.0)

    def __len__(self) -> int:
        return self.scene.frames

    def truths(self, index: int) -> tuple[ActorTruth | None, ...]:
        """The exact truth of a frame, without rendering it."""
        found = [self._pose(m, index) for m in self.members]
        return tuple(None if p is None else self._truth(*p) for p in found)

    def render(self, index: int) -> tuple[Frame, tuple[ActorTruth | None, ...]]:
        """One frame and its truth."""
        parts: list[Capsule] = []
        image: NDArray[np.uint8] = self._empty.copy()
        for member, wardrobe in zip(self.members, self._wardrobes, strict=True):
            found = self._pose(member, index)
            if found is None:
                continue
            pose, shift = found
            one = [_moved(part, shift) for part in shapes(member.body, pose, wardrobe)]
            cast_shadow(image, self.view, one)
            parts += one
        if parts:
            image = picture(parts, self.view, image, shadow=False)
        return Frame(index, index / self.scene.fps, image), self.truths(index)

    def __iter__(self) -> Iterator[tuple[Frame, tuple[ActorTruth | None, ...]]]:
        return (self.render(index) for index in range(len(self)))

    def _pose(self, member: Member, index: int) -> tuple[BodyPose, NDArray[np.float64]] | None:
        seconds = index / self.scene.fps
        place = member.place(seconds)
        if place is None:
            return None
        return pose_at(member.body, member.motion, seconds, member.seed), np.array([place[0], 0.0, place[1]])

    def _truth(self, pose: BodyPose, shift: NDArray[np.float64]) -> ActorTruth:
        world = pose.joints + shift
        joints = self.view.to_camera(world)
        landmarks = np.stack([pose.joint(name) for name in BLAZEPOSE_33.joints]) + shift
        seen = project(self.view.to_camera(landmarks), self.intrinsics)
        return ActorTruth(world, joints, project(joints, self.intrinsics), seen)


def _moved(part: Capsule, shift: NDArray[np.float64]) -> Capsule:
    origin = None if part.origin is None else part.origin + shift
    return replace(part, a=part.a + shift, b=part.b + shift, origin=origin)
