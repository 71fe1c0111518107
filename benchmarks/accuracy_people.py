"""Who lifters are judged on by accuracy.py: subject 05 seen by virtual cameras, and actors filmed and detected."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import rays
from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.lifters.space import person_from_rays
from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.actor_body import varied_body
from posepipe.pipeline.source.actor_motion import MOTIONS
from posepipe.skeleton import H36M_17
from posepipe.training.evaluation.views import choose_clips, draw_views
from posepipe.training.virtual_camera import DEFAULT_CAMERAS, CameraRanges

FIRST = 5000  # seeds of films and bodies; the noise that training replays is of 0 to 199
FAR = 0.6  # person sizes: farther off in the mean, another thing was detected, or left for right


@dataclass(frozen=True)
class People:
    """keypoints (N,17,2), confidence (N,17): in person space. joints (N,17,3): metres, hip-relative, in the frame of
    the turned camera. remark: what was left out, for the page."""

    keypoints: NDArray[np.float32]
    confidence: NDArray[np.float32]
    joints: NDArray[np.float32]
    remark: str = ""

    def some(self, count: int) -> People:
        """At most `count` of them, evenly spread."""
        rows = np.unique(np.linspace(0, len(self.joints) - 1, min(count, len(self.joints))).astype(int))
        return People(self.keypoints[rows], self.confidence[rows], self.joints[rows], self.remark)


# name -> the cameras that subject 05 is seen by. "reference" is what the reference point of 102 / 70 mm was measured
# with: yaw anywhere, upright, the whole person in the picture, and neither very near nor from far above. Its fields of
# view are not known; they do not matter much, since person space turns the camera towards the person.
CAMERAS = {
    "trained": DEFAULT_CAMERAS,
    "reference": CameraRanges(pitch_deg=(-26.0, 14.0), roll_deg=0.0, distance=(2.5, 8.0), cut_share=0.0),
}


def of_subject(data: Path, frames: int, noise: str, cameras: CameraRanges = DEFAULT_CAMERAS) -> People:
    """The validation split, every frame seen by a camera of its own; noise: "none" or "detector"."""
    views = draw_views(choose_clips(data), frames, noise, cameras=cameras)
    return People(views.keypoints, views.confidence, views.joints)


def of_films(cache: Path, films: int, seconds: float) -> People:
    """Actors of other bodies, sides, heights and lenses than those whose errors training replays, through BlazePose
    with tracking and the conversion, as `posepipe run` does; kept in `cache`, which is made anew for other numbers."""
    if cache.exists():
        with np.load(cache) as held:
            if (int(held["films"]), float(held["seconds"])) == (films, seconds):
                return _lifted(held["keypoints"], held["confidence"], held["joints"], int(held["filmed"]))
    rows, filmed = [], 0
    for film in _films(films, seconds):
        source = ActorSource(film)
        with BlazePose() as detector:
            for index in range(len(source)):
                frame, truth = source.render(index)
                found = detector.detect(frame)
                if index < 2:
                    continue
                filmed += 1
                if found:
                    seen = BLAZEPOSE33_H36M17.pose(found[0])
                    rows.append((rays(seen.keypoints, film.intrinsics), seen.confidence, truth.joints_camera))
    points, confidence, joints = (np.stack(part).astype(np.float32) for part in zip(*rows, strict=True))
    cache.parent.mkdir(parents=True, exist_ok=True)
    kept = {"keypoints": points, "confidence": confidence, "joints": joints}
    np.savez_compressed(cache, films=films, seconds=seconds, filmed=filmed, **kept)
    return _lifted(points, confidence, joints, filmed)


def _films(count: int, seconds: float) -> list[ActorScene]:
    rng, result = np.random.default_rng(FIRST), []
    for i in range(count):
        film = ActorScene(
            motion=MOTIONS[i % len(MOTIONS)],
            seconds=seconds,
            fps=15.0,
            width=480,
            height=480,
            fov_deg=float(rng.uniform(40, 80)),
            yaw_deg=float(rng.uniform(0, 360)),
            pitch_deg=max(float(rng.uniform(-8, 30)), 0.0),
            seed=FIRST + i,
            body=varied_body(FIRST + i),
        )
        if i % 3 == 2:  # partly outside of the picture
            film = dataclasses.replace(film, distance=film._fitting_distance() * float(rng.uniform(0.5, 0.9)))
        result.append(film)
    return result


def _lifted(points: NDArray, confidence: NDArray, joints: NDArray, filmed: int) -> People:
    exact = joints[..., :2] / joints[..., 2:]
    size = np.sqrt(((exact - exact.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))
    near = np.linalg.norm(points - exact, axis=-1).mean(-1) < FAR * size
    crossed = np.linalg.norm(points[:, list(H36M_17.mirror)] - exact, axis=-1).mean(-1)
    kept = near & (np.linalg.norm(points - exact, axis=-1).mean(-1) <= 1.5 * crossed)
    view = person_from_rays(points[kept], confidence[kept])
    relative = (joints[kept] - joints[kept, :1]) @ np.swapaxes(view.rotation, -1, -2)
    remark = (
        f"{filmed} frames filmed, {len(points)} with a person found, {len(points) - int(kept.sum())} of these left out"
    )
    return People(view.keypoints, view.confidence, relative.astype(np.float32), remark)
