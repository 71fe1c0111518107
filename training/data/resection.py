"""A camera from joints in the world and their exact projections: Human3.6M's npz files bring both, but no cameras.

Direct linear transform, then Levenberg-Marquardt on pixels with the lens (Hartley & Zisserman, Multiple View Geometry,
2nd ed., §7.1, §7.3 and A6.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.training.data.motion import RecordedCamera

Doubles = NDArray[np.float64]
MOST = 4000  # points are enough
MAX_RMS_PX = 1.0  # above it the pixels are not projections of these joints


def resect(subject: str, name: str, world: NDArray, pixels: NDArray) -> RecordedCamera | None:
    """world (N, 3) metres, y up, pixels (N, 2) -> the camera, or None where they do not determine one to within
    MAX_RMS_PX."""
    finite = np.isfinite(world).all(-1) & np.isfinite(pixels).all(-1)
    points, seen = np.asarray(world[finite], np.float64), np.asarray(pixels[finite], np.float64)
    step = max(1, -(-len(points) // MOST))
    points, seen = points[::step], seen[::step]
    if len(points) < 12:
        return None
    try:
        start = _linear(points, seen)
        best, rms = _refined(start, points, seen)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(rms) or rms > MAX_RMS_PX:
        return None
    return _camera(subject, name, best)


def project_recorded(joints: NDArray, camera: RecordedCamera) -> Doubles:
    """(..., 3) metres in the camera frame -> (..., 2) pixels. The lens as Human3.6M has it: x (1 + k1 r2 + k2 r4 + k3
    r6 + p1 y + p2 x) + p2 r2, and y likewise with p1 r2 (without the factor 2 that others write before p1 and p2)."""
    return _project(joints, camera.focal, camera.principal, camera.radial, camera.tangential)


def _project(joints: NDArray, focal: Doubles, principal: Doubles, radial: Doubles, tangential: Doubles) -> Doubles:
    xy = np.asarray(joints[..., :2], np.float64) / joints[..., 2:]
    r2 = (xy**2).sum(-1)
    bend = 1 + r2 * (radial[0] + r2 * (radial[1] + r2 * radial[2])) + xy @ tangential[::-1]
    result: Doubles = (xy * bend[..., None] + r2[..., None] * tangential[::-1]) * focal + principal
    return result


def _linear(points: Doubles, seen: Doubles) -> Doubles:
    """15 numbers (see _parts) with no lens."""
    shift, scale = points.mean(0), points.std()
    middle, size = seen.mean(0), seen.std()
    if scale < 1e-6 or size < 1e-6:
        raise np.linalg.LinAlgError("all points are one")
    x = np.concatenate([(points - shift) / scale, np.ones((len(points), 1))], 1)
    u = (seen - middle) / size
    zero = np.zeros_like(x)
    rows = np.concatenate([np.c_[x, zero, -u[:, :1] * x], np.c_[zero, x, -u[:, 1:] * x]])
    matrix = np.linalg.eigh(rows.T @ rows)[1][:, 0].reshape(3, 4)
    matrix = np.array([[size, 0, middle[0]], [0, size, middle[1]], [0, 0, 1]]) @ matrix
    matrix = matrix @ np.r_[np.c_[np.eye(3) / scale, -shift / scale], [[0, 0, 0, 1]]]
    if np.linalg.det(matrix[:, :3]) < 0:
        matrix = -matrix
    q, r = np.linalg.qr(matrix[::-1, :3].T)
    intrinsic, turn = r.T[::-1, ::-1], q.T[::-1]
    signs = np.sign(np.diag(intrinsic))
    intrinsic, turn = intrinsic * signs, turn * signs[:, None]
    intrinsic = intrinsic / intrinsic[2, 2]
    centre = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    focal, principal = np.diag(intrinsic)[:2], intrinsic[:2, 2]
    return np.concatenate([_vector(turn), centre, focal, principal, np.zeros(5)])


def _refined(start: Doubles, points: Doubles, seen: Doubles, rounds: int = 60) -> tuple[Doubles, float]:
    """Levenberg-Marquardt with differences for derivatives -> parameters and RMS distance in pixels."""

    def error(at: Doubles) -> Doubles:
        turn, centre, *lens = _parts(at)
        return (_project((points - centre) @ turn.T, *lens) - seen).ravel()

    at, damping = start, 1e-3
    now = error(at)
    for _ in range(rounds):
        small = 1e-6 * np.maximum(np.abs(at), 1e-2)
        slope = np.stack([(error(at + d) - now) / d.sum() for d in np.diag(small)], 1)
        normal, downhill = slope.T @ slope, slope.T @ now
        trial = at - np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), downhill)
        there = error(trial)
        if there @ there < now @ now:
            settled = now @ now - there @ there < 1e-12 * (now @ now)
            at, now, damping = trial, there, damping / 5
            if settled:
                break
        else:
            damping *= 5
    return at, float(np.sqrt((now.reshape(-1, 2) ** 2).sum(-1).mean()))


def _parts(at: Doubles) -> tuple[Any, ...]:
    """rotation (3, 3), centre, focal, principal, radial, tangential."""
    return _matrix(at[:3]), at[3:6], at[6:8], at[8:10], at[10:13], at[13:15]


def _camera(subject: str, name: str, at: Doubles) -> RecordedCamera:
    return RecordedCamera(subject, name, *_parts(at))


def _matrix(vector: Doubles) -> Doubles:
    """Rodrigues."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    result: Doubles = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return result


def _vector(turn: Doubles) -> Doubles:
    """The inverse of _matrix, from the axis that the rotation keeps."""
    angle = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
    values, vectors = np.linalg.eig(turn)
    axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    result: Doubles = min((s * angle * axis for s in (1, -1)), key=lambda v: float(np.abs(_matrix(v) - turn).max()))
    return result
