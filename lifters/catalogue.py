"""The lifters by name: a plain table, read by the command line, the exporter and the pipeline."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posepipe.errors import UsageError
from posepipe.lifters.checkpoint import Checkpoint

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Entry:
    """One way of lifting.

    name: what `--lifter` takes (`system` or `system:variant`). code: where the authors published theirs, "" if theirs
    is not used. parameters: of what samples, at the published widths (what only training needs is not counted).
    noise: shape of the noise per hypothesis, as text where it depends on a setting. source: what `import-checkpoint
    --from` takes. checkpoint: file of the shipped weights, "" where none are shipped. variant: header fields that
    differ from the checkpoint's (see variants.py). needs: what the header's network must say for weights to be of this
    name ("first.lifter": the entry "lifter" of "first").
    """

    name: str
    title: str
    paper: str
    code: str
    parameters: int
    noise: str
    source: str
    checkpoint: str = ""
    variant: dict[str, Any] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)

    @property
    def system(self) -> str:
        return self.name.split(":")[0]

    @property
    def numbers(self) -> str:
        """The page that says what the authors report, what parity we measured, and what is kept or changed."""
        return f"lifters/{self.system}/README.md"

    @property
    def checkpoint_path(self) -> Path:
        return WEIGHTS / self.checkpoint

    @property
    def graph_path(self) -> Path:
        return WEIGHTS / f"{self.name.replace(':', '-')}.onnx"


_GITHUB = "https://github.com/"
_MARTINEZ = ("Martinez et al., ICCV 2017", f"{_GITHUB}una-dinosauria/3d-pose-baseline")
_MDN = (
    "Li & Lee, CVPR 2019",
    f"{_GITHUB}chaneyddtt/Generating-Multiple-Hypotheses-for-3D-Human-Pose-Estimation-with-Mixture-Density-Network",
)
_WSGAN = ("Li & Lee, BMVC 2020", f"{_GITHUB}chaneyddtt/weakly-supervised-3d-pose-generator")
_HTNET = ("Cai et al., ICASSP 2023, arXiv 2302.09790", f"{_GITHUB}vefalun/HTNet")
_DCGCT = ("Kang et al. 2023, arXiv 2308.05298", f"{_GITHUB}KHB1698/DC-GCT")
_DRPOSE = ("Kang et al. 2024, arXiv 2401.04921", f"{_GITHUB}KHB1698/DRPose")
_PRPOSE = ("Zeng et al. 2024, arXiv 2405.02114", f"{_GITHUB}xzhouzeng/PRPose")
_STEPS = "(K, 17, 3)"
_COPIES = "(1, 17, 2); faithful (2, 17, 2)"

LIFTERS = (
    Entry("martinez", "residual linear network", *_MARTINEZ, 4_291_632, "()", "martinez-tf", "martinez.safetensors"),
    Entry("mdn", "mixture density network, drawn from", *_MDN, 4_498_682, "(49)", "mdn-tf", "mdn.safetensors"),
    Entry(
        "mdn:means",
        "the same, its kernel means",
        *_MDN,
        4_498_682,
        "(49), unused",
        "mdn-tf",
        "mdn.safetensors",
        {"network": {"mode": "means"}, "hypotheses": 5, "fixed_hypotheses": 5},
    ),
    Entry("wsgan", "weakly supervised generator", *_WSGAN, 11_633_718, "(latent)", "wsgan-tf", "wsgan.safetensors"),
    Entry(
        "wsgan:zero",
        "the same, the pose of code 0",
        *_WSGAN,
        11_633_718,
        "(latent), unused",
        "wsgan-tf",
        "wsgan.safetensors",
        variant={"network": {"mode": "zero"}, "hypotheses": 1, "fixed_hypotheses": 1},
    ),
    Entry("htnet", "joint, limb and body interaction network", *_HTNET, 3_048_489, "()", "htnet", "htnet.safetensors"),
    Entry("dcgct", "dual-chain graph-convolution transformer", *_DCGCT, 2_069_827, "()", "dcgct", "dcgct.safetensors"),
    # The plain name takes any first stage. Its parameters are those over DC-GCT, on which ours stands, too.
    Entry("drpose", "diffusion refinement", *_DRPOSE, 3_182_829, _STEPS, "drpose", "drpose.safetensors"),
    Entry(
        "drpose:dcgct",
        "diffusion refinement over DC-GCT",
        *_DRPOSE,
        3_182_829,
        _STEPS,
        "drpose",
        needs={"first.lifter": "dcgct"},
    ),
    Entry(
        "drpose:htnet",
        "diffusion refinement over HTNet",
        *_DRPOSE,
        4_161_491,
        _STEPS,
        "drpose",
        needs={"first.lifter": "htnet"},
    ),
    Entry(
        "drpose:martinez",
        "diffusion refinement over martinez; ours",
        *_DRPOSE,
        5_404_634,
        _STEPS,
        "",
        needs={"first.lifter": "martinez"},
    ),
    Entry(
        "prpose",
        "adaptive noise around HTNet",
        *_PRPOSE,
        4_147_589,
        _COPIES,
        "prpose",
        "prpose.safetensors",
        needs={"lifter": "htnet"},
    ),
    Entry(
        "prpose:mgcn",
        "adaptive noise around a light GCN",
        *_PRPOSE,
        1_256_796,
        _COPIES,
        "prpose",
        needs={"lifter": "mgcn"},
    ),
    Entry(
        "prpose:martinez",
        "adaptive noise around martinez; ours",
        *_PRPOSE,
        5_410_700,
        _COPIES,
        "",
        "prpose-martinez.safetensors",
        needs={"lifter": "martinez"},
    ),
)
DEFAULT = "mdn"
_DEFAULTS = {"prpose": {"lifter": "htnet"}}  # what a header's network means where it is silent


def names_of(header: Checkpoint) -> list[str]:
    """The names that weights with this header go by, the one that uses them as the header does first; empty if none
    does."""
    used = header.network.get("mode", "sample")
    names = [(e.variant.get("network", {}).get("mode", "sample") != used, e.name) for e in LIFTERS if fits(e, header)]
    return [name for _, name in sorted(names, key=lambda pair: pair[0])]


def fits(e: Entry, header: Checkpoint) -> bool:
    """Whether weights with this header are of this name."""
    return e.system == header.lifter and all(_lookup(header, place) == value for place, value in e.needs.items())


def variant_for(e: Entry, header: Checkpoint) -> dict[str, Any]:
    """The variant that this name means for these weights: a plain name draws samples, also from imported weights
    whose authors use them otherwise."""
    if not e.variant and header.network.get("mode", "sample") != "sample":
        return {"network": {"mode": "sample"}}
    return e.variant


def _lookup(header: Checkpoint, place: str) -> Any:
    value: Any = {**_DEFAULTS.get(header.lifter, {}), **header.network}
    for part in place.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


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
