"""The authors' DC-GCT files (https://github.com/KHB1698/DC-GCT) in our terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from posepipe.lifters.authors import Imported, Rename, axis, count_blocks, replacing, strip_module, translate
from posepipe.lifters.dcgct.sampler import DCGCTSampler

_NET = replacing(
    ("net.blocks.", "blocks."),
    ("net.norm.", "Temporal_norm."),
    ("net.embed.", "patch_embed."),
    ("net.position", "pos_embed"),
    ("net.head.", "fcn."),
    (".norm_in.", ".norm_gcn1."),
    (".norm_out.", ".norm_gcn2."),
    (".conv.", ".gcn.conv."),
    (".norm1.", ".tcn.0."),
    (".linear.", ".tcn.3."),
    (".norm2.", ".tcn.4."),
    ("global1.norm.", "global1.norm_attn."),
    ("global2.norm.", "global2.norm_attn."),
    (".attention.", ".attn."),
)


def rename(prefix: str = "") -> Rename:
    """Our sampler's names -> the authors' names, behind `prefix`. The authors have no input statistics."""
    return lambda name: () if name.startswith("input.") else tuple(prefix + n for n in _NET(name))


def network_of(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Constructor arguments that the shapes of the authors' entries tell. Raises CheckpointError."""
    axis(state, f"{prefix}blocks.0.local1.gcn1.gcn.conv.weight", 0, "DC-GCT")
    return {
        "channels": axis(state, f"{prefix}pos_embed", 2, "DC-GCT"),
        "blocks": count_blocks(state, f"{prefix}blocks."),
    }


def from_authors(state: Mapping[str, Tensor], flip: bool = True) -> Imported:
    """State dict of the authors' DC-GCT -> our DCGCTSampler's. Raises CheckpointError that lists what does not fit."""
    state = strip_module(state)
    network = {**network_of(state), "flip": flip}
    ours, unexpected = translate(state, DCGCTSampler(**network), rename(), "DC-GCT")
    return Imported(network, ours, unexpected)
