"""The lifters by name: a plain table, read by the command line, the exporter and the pipeline."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posepipe.errors import UsageError

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Entry:
    """One way of lifting.

    name: what `--lifter` takes (`system` or `system:variant`). parameters: of the networks at the published widths.
    noise: shape of the noise per hypothesis, as text where it depends on a setting. numbers: the page that says what
    the authors report, what parity we measured, and what is kept or changed. checkpoint: file of the shipped weights,
    "" where none are shipped. variant: header fields that differ from the checkpoint's (see build.load).
    """

    name: str
    title: str
    paper: str
    parameters: int
    noise: str
    checkpoint: str = ""
    variant: dict[str, Any] = field(default_factory=dict)

    @property
    def system(self) -> str:
        return self.name.split(":")[0]

    @property
    def numbers(self) -> str:
        return f"lifters/{self.system}/README.md"

    @property
    def checkpoint_path(self) -> Path:
        return WEIGHTS / self.checkpoint

    @property
    def graph_path(self) -> Path:
        return WEIGHTS / f"{self.name.replace(':', '-')}.onnx"


_MDN = "Li & Lee, CVPR 2019"
_DRPOSE = "Kang et al. 2024, arXiv 2401.04921"
_PRPOSE = "PRPose 2024"

LIFTERS = (
    Entry("martinez", "residual linear network", "Martinez et al., ICCV 2017", 4_291_632, "()", "martinez.safetensors"),
    Entry("mdn", "mixture density network, drawn from", _MDN, 4_498_682, "(49)", "mdn.safetensors"),
    Entry(
        "mdn:means",
        "the same, its kernel means",
        _MDN,
        4_498_682,
        "(49), unused",
        "mdn.safetensors",
        {"network": {"mode": "means"}, "hypotheses": 5, "fixed_hypotheses": 5},
    ),
    Entry("wsgan", "weakly supervised generator", "Li & Lee, BMVC 2020", 14_832_694, "(latent)"),
    Entry("htnet", "joint, limb and body interaction network", "Cai et al. 2023", 3_048_489, "()"),
    Entry("dcgct", "dual-chain graph-convolution transformer", "Kang et al. 2023", 2_069_827, "()"),
    Entry("drpose", "diffusion refinement over DC-GCT", _DRPOSE, 3_182_829, "(K, 17, 3)"),
    Entry("drpose:htnet", "diffusion refinement over HTNet", _DRPOSE, 4_161_491, "(K, 17, 3)"),
    Entry("prpose", "adaptive noise around HTNet", _PRPOSE, 4_147_589, "(1, 17, 2); faithful (2, 17, 2)"),
    Entry("prpose:mgcn", "adaptive noise around a light GCN", _PRPOSE, 1_256_796, "(1, 17, 2); faithful (2, 17, 2)"),
)
DEFAULT = "mdn"


def entry(name: str) -> Entry:
    """Look a lifter up by name; UsageError that lists the names and the nearest match."""
    for candidate in LIFTERS:
        if candidate.name == name:
            return candidate
    names = [e.name for e in LIFTERS]
    near = difflib.get_close_matches(name, names, 1)
    raise UsageError(
        f"No lifter is called '{name}'.", f"{f'Did you mean {near[0]}? ' if near else ''}Known: {', '.join(names)}."
    )
