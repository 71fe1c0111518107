"""The lifters by name: a plain table, read by the command line, the exporter and the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posepipe.errors import UsageError

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Entry:
    """One way of lifting. name: what `--lifter` takes (`system` or `system:variant`). checkpoint: file of the shipped
    weights, or "" where none are shipped. variant: header fields that differ from the checkpoint's (see build.load)."""

    name: str
    title: str
    paper: str
    checkpoint: str = ""
    variant: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoint_path(self) -> Path:
        return WEIGHTS / self.checkpoint

    @property
    def graph_path(self) -> Path:
        return WEIGHTS / f"{self.name.replace(':', '-')}.onnx"


_MDN_PAPER = "Li & Lee, Generating Multiple Hypotheses for 3D Human Pose Estimation with Mixture Density Network, 2019"

LIFTERS = (
    Entry(
        "mdn",
        "mixture density network, hypotheses drawn from the mixture",
        _MDN_PAPER,
        "mdn.safetensors",
    ),
    Entry(
        "mdn:means",
        "mixture density network, the kernel means with their mixing weights",
        _MDN_PAPER,
        "mdn.safetensors",
        {"network": {"mode": "means"}, "hypotheses": 5, "fixed_hypotheses": 5},
    ),
    Entry(
        "martinez",
        "residual linear network, one hypothesis",
        "Martinez et al., A simple yet effective baseline for 3d human pose estimation, 2017",
        "martinez.safetensors",
    ),
)
DEFAULT = "mdn"


def entry(name: str) -> Entry:
    """Look a lifter up by name; UsageError that lists the names and the nearest match."""
    import difflib

    for candidate in LIFTERS:
        if candidate.name == name:
            return candidate
    names = [e.name for e in LIFTERS]
    near = difflib.get_close_matches(name, names, 1)
    raise UsageError(
        f"No lifter is called '{name}'.", f"{f'Did you mean {near[0]}? ' if near else ''}Known: {', '.join(names)}."
    )
