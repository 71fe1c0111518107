"""The pictures of a report: error against H, calibration, and the error of each joint on a body."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posepipe.errors import OutputError
from posepipe.skeleton import H36M_17
from posepipe.training.evaluation.chart import INK, Image, blank, line_chart, nice_ticks, write
from posepipe.training.evaluation.measure import Report

# A person facing us, arms away from the body: where each joint is drawn, x right and y down in body heights
BODY = {
    "hip": (0, 0), "r_hip": (-0.1, 0.01), "r_knee": (-0.14, 0.25), "r_ankle": (-0.16, 0.48),
    "l_hip": (0.1, 0.01), "l_knee": (0.14, 0.25), "l_ankle": (0.16, 0.48),
    "spine": (0, -0.13), "thorax": (0, -0.27), "neck": (0, -0.35), "head": (0, -0.46),
    "l_shoulder": (0.12, -0.27), "l_elbow": (0.26, -0.16), "l_wrist": (0.39, -0.05),
    "r_shoulder": (-0.12, -0.27), "r_elbow": (-0.26, -0.16), "r_wrist": (-0.39, -0.05),
}  # fmt: skip


def write_plots(report: Report, title: str, folder: Path) -> list[Path]:
    """PNG files that the report has numbers for. Raises OutputError when they cannot be written."""
    pictures = {"joints.png": joints_on_a_body(report, title)}
    if len(report.by_count) > 1:
        pictures["error_by_hypotheses.png"] = error_by_hypotheses(report, title)
    if report.calibration:
        pictures["calibration.png"] = calibration(report, title)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in pictures.items():
            (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    except OSError as error:
        raise OutputError(
            f"Cannot write plots to {folder} ({error.strerror}).", "Give --plots another folder."
        ) from None
    return [folder / name for name in pictures]


def error_by_hypotheses(report: Report, title: str) -> Image:
    """What a user gets, and what the oracles would, from 1 to H hypotheses."""
    counts = [float(n) for n in report.by_count]
    names = {"agg": "aggregate", "p_best": "p_best (oracle)", "j_best": "j_best (oracle)"}
    series = {
        f"{name}, P{protocol}": (counts, [v[f"p{protocol}_{key}"] for v in report.by_count.values()])
        for protocol in (1, 2)
        for key, name in names.items()
    }
    return line_chart(series, title, "hypotheses H", "error, mm", log_x=True)


def calibration(report: Report, title: str) -> Image:
    """How often the p region holds the truth, against p; on the diagonal the lifter is honest."""
    levels = [float(p) for p in report.calibration]
    series = {"coverage": (levels, list(report.calibration.values()))}
    return line_chart(
        series,
        title,
        "p (on the diagonal the lifter is honest)",
        "share of joints whose truth lies in the p region",
        unit_square=True,
    )


def joints_on_a_body(report: Report, title: str) -> Image:
    """Mean error of the aggregate at every joint, as numbers and as dots of that size."""
    image = blank(title, 900, 1000)
    errors = report.per_joint["p1"]
    places = {joint: (450 + round(840 * x), 520 + round(840 * y)) for joint, (x, y) in BODY.items()}
    for parent, child in H36M_17.bones:
        cv2.line(image, places[H36M_17.joints[parent]], places[H36M_17.joints[child]], (190, 190, 190), 6, cv2.LINE_AA)
    most = float(nice_ticks(0, max(errors.values()))[-1])
    for joint, at in places.items():
        share = errors[joint] / max(most, 1e-9)
        cv2.circle(image, at, round(6 + 26 * share), _heat(share), -1, cv2.LINE_AA)
        cv2.circle(image, at, round(6 + 26 * share), INK, 1, cv2.LINE_AA)
        side = -1 if joint.startswith("r_") else 1
        low = 34 if joint in ("hip", "thorax") else 6  # clear of the bones to the sides
        beside = (at[0] + side * round(14 + 26 * share), at[1] + low)
        write(image, f"{errors[joint]:.0f}", beside, 0.7, "right" if side < 0 else "left", thick=2)
    write(
        image,
        "MPJPE of the aggregate by joint, mm; the person faces you (their left is on the right)",
        (450, 980),
        0.5,
        "middle",
    )
    return image


def _heat(share: float) -> tuple[int, int, int]:
    """White for 0 to deep red for 1, BGR."""
    pale, deep = np.array([235, 240, 255]), np.array([30, 30, 190])
    mixed: NDArray[np.float64] = pale + min(max(share, 0.0), 1.0) * (deep - pale)
    blue, green, red = mixed.round().astype(int).tolist()
    return blue, green, red
