"""Every lifter, small and with random weights: what the self test builds and runs in seconds. Needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from posepipe.lifters.build import build_sampler, save
from posepipe.lifters.catalogue import Entry
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.variants import fixed_hypotheses, noise_shape

HYPOTHESES = 6
_DENSE = {"width": 32}
_HTNET = {"channels": 36, "blocks": 1, "hidden": 32, "gcn_hidden": 32, "heads": 2}
_DCGCT = {"channels": 40, "blocks": 1, "heads": 2}
_DENOISER = {"steps": 2, "channels": 24, "layers": 1, "heads": 2, "refinement_hidden": 24}
_GCN = {"width": 24, "blocks": 1}

# catalogue name -> arguments of its network; a name that differs in use alone has those of the plain one
NETWORKS: dict[str, dict[str, Any]] = {
    "martinez": _DENSE,
    "mdn": _DENSE,
    "wsgan": {"width": 32, "latent": 8},
    "htnet": _HTNET,
    "dcgct": _DCGCT,
    "drpose": {"first": {"lifter": "dcgct", **_DCGCT}, **_DENOISER},
    "drpose:dcgct": {"first": {"lifter": "dcgct", **_DCGCT}, **_DENOISER},
    "drpose:htnet": {"first": {"lifter": "htnet", **_HTNET}, **_DENOISER},
    "drpose:martinez": {"first": {"lifter": "martinez", **_DENSE}, **_DENOISER},
    "prpose": {"lifter": "htnet", "alpha": 0.05, "lifter_network": _HTNET, "variance_network": _GCN},
    "prpose:mgcn": {"lifter": "mgcn", "alpha": 0.05, "lifter_network": _GCN, "variance_network": _GCN},
    "prpose:martinez": {
        "lifter": "martinez",
        "alpha": 0.05,
        "use_confidence": True,
        "lifter_network": _DENSE,
        "variance_network": _GCN,
    },
}


def network_of(e: Entry) -> dict[str, Any]:
    return NETWORKS.get(e.name) or NETWORKS[e.system]


def write_random(path: Path, e: Entry, network: dict[str, Any], seed: int = 0) -> Path:
    """A checkpoint of this lifter with these arguments and random weights, the same for the same seed."""
    fixed = fixed_hypotheses(e.system, network)
    header = Checkpoint(
        e.system,
        network,
        "person",
        "blazepose33-h36m17@1",
        noise_shape(e.system, network),
        fixed or HYPOTHESES,
        fixed,
        network.get("steps"),
        provenance={"weights": f"random, seed {seed}"},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        save(path, build_sampler(header).eval(), header)
    return path
