"""The model card of a checkpoint, written from its header, so that the two cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posepipe.hashing import file_sha256
from posepipe.lifters.checkpoint import read_header

NOTICE = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF "
    "EIA-0196217."
)
BY_COMMAND = """ and, as
`actor`, on rendered people of other bodies, filmed and detected (`python benchmarks/accuracy.py`;
`gt_2d_reference_cameras`: pitch -26 to 14 degrees, 2.5 to 8 m)"""
TITLES = {
    "martinez": "Residual linear lifter (Martinez et al. 2017), one hypothesis",
    "mdn": "Mixture density lifter (Li & Lee 2019), hypotheses drawn from the mixture",
    "wsgan": "Weakly supervised generator (Li & Lee 2020), hypotheses from latent codes",
    "htnet": "HTNet (Cai et al. 2023), one hypothesis",
    "dcgct": "DC-GCT (Kang et al. 2023), one hypothesis",
    "drpose": "DRPose (Kang et al. 2024), diffusion over a single-hypothesis lifter",
    "prpose": "PRPose (Zeng et al. 2024), adaptive noise on the 2D pose",
}


def model_card(checkpoint: Path, minutes: float, hardware: str) -> str:
    """Markdown for a checkpoint written by a recipe. minutes: of wall time; hardware: what it was trained on."""
    header = read_header(checkpoint)
    config, metrics = header.provenance["config"], header.provenance["metrics"]
    rows = sorted({key for values in metrics.values() for key in values})
    table = "\n".join(f"| {row} | " + " | ".join(str(metrics[c].get(row, "")) for c in metrics) + " |" for row in rows)
    settings = "\n".join(f"- `{key} = {value!r}`" for key, value in config.items())
    recipe = checkpoint.stem.replace("-", "_")
    paragraph = calibration(header.provenance)
    measured = BY_COMMAND if "actor" in metrics else " by the recipe itself, at its end"
    before = f", going on from `{config['weights']}`, the stage before it" if config.get("weights") else ""
    return f"""# {checkpoint.name}

{TITLES.get(header.lifter, header.lifter)}. Input space `{header.space}`, conversion `{header.conversion}`, skeleton
`{header.skeleton}`, network {header.network}. Weights stored as float16, sha256 `{file_sha256(checkpoint)}`.

**Data.** CMU Graphics Lab Motion Capture Database, subjects 01 02 03 64 131 135 and 32 action clips for training, 05
for validation, at 30 Hz, seen by virtual cameras (yaw anywhere, pitch -45 to 25 degrees, 1.5 to 10 m, fields of view 35
to 90 degrees), mirrored, rescaled and recombined, with the 2D errors of BlazePose as measured on the rendered actor
(`training/data/blazepose_actor_noise.npz`). {NOTICE}

**Made by** `posepipe train configs/train/{recipe}_cmu.toml` in {minutes:.0f} minutes on {hardware}{before}:

{settings}

**Measured** on subject 05 from unseen cameras (`gt_2d` exact, `detector_noise_2d` with the detector's
errors){measured};
millimetres; shares for coverage. `best_of_n` is an oracle: choosing needs the truth.

| | {" | ".join(metrics)} |
|---|{"---|" * len(metrics)}
{table}

{paragraph}**Limits.** Seven people's motion, most of it one climber's; people lying down, children and wheelchairs were
not in it. Size is that of the adults in the data: nothing here knows how tall a person is. The 2D errors are those of
one detector on a rendered figure.
"""


def calibration(provenance: Mapping[str, Any]) -> str:
    """A paragraph on how far to trust the regions; empty for weights whose spread was not fitted."""
    found = provenance.get("calibration", {})
    if "left_out" not in found:
        return ""
    names = {"gt_2d": "exact 2D", "detector_noise_2d": "the detector's errors"}
    shares = "; ".join(
        f"{' / '.join(f'{v:.1f}' for v in found['left_out'][kind])} % with {name} (clips: "
        f"{' / '.join(f'{v:.0f}' for v in found[f'clips_{kind}']['least'])} to "
        f"{' / '.join(f'{v:.0f}' for v in found[f'clips_{kind}']['most'])})"
        for kind, name in names.items()
    )
    levels = " / ".join(str(p) for p in found["levels"])
    others = len(found["clips"]) - 1
    return f"""**Coverage.** The spread of hypotheses was fitted to subject 05 (`posepipe calibrate`), so the table's
shares for that subject are of what was fitted. Every clip by a fit to the other {others} clips, the {levels} % regions
hold {shares}.

"""
