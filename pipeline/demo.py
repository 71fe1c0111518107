"""`posepipe demo`: the main job on a rendered actor, whose exact 3D is known, and how far off everything was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.metrics import best_of, coverage, mpjpe, p_mpjpe
from posepipe.pipeline.film import FilmTruth
from posepipe.pipeline.runner import FrameResult
from posepipe.pipeline.source.actor import ActorScene
from posepipe.pipeline.source.actor_motion import MOTIONS
from posepipe.skeleton import H36M_17

LEVELS = (0.5, 0.8, 0.95)
DEFAULT_SIDES = {"walk": 20.0, "wave": -25.0, "squat": 40.0, "turn": 0.0, "crossed": 15.0}


def demo_scenes(motion: str, seconds: float, fps: float, fov_deg: float, size: tuple[int, int]) -> list[ActorScene]:
    """One scene, or with `all` every motion in turn, `seconds` in all."""
    motions = list(MOTIONS) if motion == "all" else [motion]
    return [
        ActorScene(
            motion=name,
            seconds=seconds / len(motions),
            fps=fps,
            width=size[0],
            height=size[1],
            fov_deg=fov_deg,
            yaw_deg=DEFAULT_SIDES.get(name, 0.0),
        )
        for name in motions
    ]


@dataclass(frozen=True)
class Errors:
    """Against exact truth over the frames in which the person was found. Millimetres; `best` is an oracle."""

    name: str
    mpjpe: float
    p_mpjpe: float
    best: float | None = None
    coverage: tuple[float, ...] = ()


@dataclass(frozen=True)
class DemoReport:
    """frames: filmed. found: with a pose. swapped: of the found ones whose 2D has left and right exchanged, over those
    in which the hips are far enough apart to tell. keypoint_error: median 2D error, share of the torso length."""

    frames: int
    found: int
    swapped: float
    keypoint_error: float
    ours: Errors
    mediapipe: Errors


class Observations:
    """Collects what the comparison needs while the pipeline runs; `add` is its `on_frame`."""

    def __init__(self) -> None:
        self.index: list[int] = []
        self._pose: list[NDArray] = []
        self._hypotheses: list[NDArray] = []
        self._log_weights: list[NDArray] = []
        self._keypoints: list[NDArray] = []
        self._world: list[NDArray] = []

    def add(self, result: FrameResult) -> None:
        people = [t for t in result.tracks if t.pose3d is not None and t.hypotheses is not None]
        if not people:
            return
        track = people[0]
        assert track.pose3d is not None
        assert track.hypotheses is not None
        assert track.detected.world is not None
        self.index.append(result.frame.index)
        self._pose.append(track.pose3d.joints)
        self._hypotheses.append(track.hypotheses.joints)
        self._log_weights.append(track.hypotheses.log_weights)
        self._keypoints.append(track.pose2d.keypoints)
        self._world.append(BLAZEPOSE33_H36M17.points(track.detected.world))

    def report(self, truth: FilmTruth) -> DemoReport | None:
        """Compare with the truth; None when the person was never found."""
        if not self.index:
            return None
        joints = truth.joints[self.index]
        joints = joints - joints[:, :1]
        hypotheses, log_weights = np.stack(self._hypotheses), np.stack(self._log_weights)
        world = np.stack(self._world)
        covered: tuple[float, ...] = ()
        best = None
        if hypotheses.shape[1] > 1:
            covered = tuple(float(c) for c in coverage(hypotheses, log_weights, joints, LEVELS))
            best = _mm(best_of(hypotheses, joints))
        pose = np.stack(self._pose)
        error, swapped = keypoint_errors(np.stack(self._keypoints), truth.keypoints[self.index])
        centred = world - world[:, :1]
        return DemoReport(
            len(truth.joints),
            len(self.index),
            swapped,
            error,
            Errors("posepipe", _mm(mpjpe(pose, joints)), _mm(p_mpjpe(pose, joints)), best, covered),
            Errors("MediaPipe world landmarks", _mm(mpjpe(centred, joints)), _mm(p_mpjpe(centred, joints))),
        )


def keypoint_errors(found: NDArray, truth: NDArray) -> tuple[float, float]:
    """(T,17,2) px each -> median error as a share of the torso length, share of frames with left and right exchanged
    (frames in which the hips are nearer to each other than 15 % of the torso do not count)."""
    torso = np.linalg.norm(truth[:, 8] - truth[:, 0], axis=-1)
    distance = np.linalg.norm(found - truth, axis=-1)
    mirrored = np.linalg.norm(found[:, list(H36M_17.mirror)] - truth, axis=-1)
    clear = np.abs(truth[:, 4, 0] - truth[:, 1, 0]) > 0.15 * torso
    swapped = (mirrored.mean(1) < distance.mean(1))[clear].mean() if clear.any() else 0.0
    return float(np.median(distance / torso[:, None])), float(swapped)


def _mm(errors: NDArray) -> float:
    return 1000 * float(errors.mean())


def print_report(report: DemoReport, lifter: str, hypotheses: int, write: Callable[[object], None]) -> None:
    """The table at the end of the demo."""
    from rich.table import Table

    table = Table(title=f"Against the actor's exact 3D joints ({report.found} of {report.frames} frames, mm)")
    for column in (
        "from the same pixels",
        "MPJPE",
        "P-MPJPE",
        f"best of {hypotheses} (oracle)",
        "50/80/95 % regions hold",
    ):
        table.add_column(column, justify="left" if column.startswith("from") else "right")
    for row, label in ((report.ours, f"posepipe, {lifter}, aggregate"), (report.mediapipe, report.mediapipe.name)):
        held = " / ".join(f"{100 * c:.0f}" for c in row.coverage)
        best = "" if row.best is None else f"{row.best:.1f}"
        table.add_row(label, f"{row.mpjpe:.1f}", f"{row.p_mpjpe:.1f}", best, f"{held} %" if held else "")
    write(table)
    write(
        f"2D keypoints: median error {100 * report.keypoint_error:.1f} % of the torso length, "
        f"left and right exchanged in {100 * report.swapped:.1f} % of the frames that can tell."
    )


def outputs(folder: Path, motion: str) -> Path:
    """Where the film goes."""
    return folder / f"actor-{motion}.mp4"
