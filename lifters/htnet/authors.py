"""The authors' HTNet files (https://github.com/vefalun/HTNet) in our terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from posepipe.lifters.authors import Imported, Rename, axis, count_blocks, replacing, strip_module, translate
from posepipe.lifters.htnet.sampler import HTNetSampler

_NET = replacing(
    ("net.blocks.", "Hiremixer.blocks."),
    ("net.norm.", "Hiremixer.Temporal_norm."),
    ("net.embed.", "patch_embed."),
    ("net.position", "pos_embed"),
    ("net.head.", "fcn."),
    (".ljc.norm_in.", ".lgc.norm_gcn1."),
    (".ljc.norm_out.", ".lgc.norm_gcn2."),
    (".ljc.", ".lgc."),
    (".ipc.three.norm.", ".ipc.norm_conv1."),
    (".ipc.three.pool.", ".ipc.conv1."),
    (".ipc.three.norm_mlp.", ".ipc.norm_conv1_mlp."),
    (".ipc.three.mlp.", ".ipc.mlp_down_1."),
    (".ipc.two.norm.", ".ipc.norm_conv2."),
    (".ipc.two.pool.", ".ipc.conv2."),
    (".ipc.two.norm_mlp.", ".ipc.norm_conv2_mlp."),
    (".ipc.two.mlp.", ".ipc.mlp_down_2."),
    (".gbi.norm.", ".gbi.norm_attn."),
    (".gbi.attention.", ".gbi.attn."),
)


def rename(prefix: str = "") -> Rename:
    """Our sampler's names -> the authors' names, behind `prefix`. The authors have no input statistics."""
    return lambda name: () if name.startswith("input.") else tuple(prefix + n for n in _NET(name))


def network_of(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Constructor arguments that the shapes of the authors' entries tell. Raises CheckpointError."""
    block = f"{prefix}Hiremixer.blocks.0"
    return {
        "channels": axis(state, f"{prefix}pos_embed", 2, "HTNet"),
        "blocks": count_blocks(state, f"{prefix}Hiremixer.blocks."),
        "hidden": axis(state, f"{block}.mlp.fc1.weight", 0, "HTNet"),
        "gcn_hidden": axis(state, f"{block}.lgc.gcn1.bias", 0, "HTNet"),
    }


def from_authors(state: Mapping[str, Tensor], flip: bool = True) -> Imported:
    """State dict of the authors' HTNet -> our HTNetSampler's. Raises CheckpointError that lists what does not fit."""
    state = strip_module(state)
    network = {**network_of(state), "flip": flip}
    ours, unexpected = translate(state, HTNetSampler(**network), rename(), "HTNet")
    return Imported(network, ours, unexpected)
