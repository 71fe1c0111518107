"""Samplers rewritten for fewer operations: what `posepipe build-engines` exports for a CPU.

The networks in net.py are written to be read and trained. Here parts of them are exchanged for ones that calculate the
same from the same parameters, under the same names, in evaluation.
"""

from __future__ import annotations

from torch import nn

from posepipe.lifters.dcgct.folded import FoldedPartitionedGraphConv
from posepipe.lifters.dcgct.net import PartitionedGraphConv
from posepipe.lifters.drpose.folded import FoldedDenoiser
from posepipe.lifters.drpose.net import Denoiser
from posepipe.lifters.martinez.folded import FoldedTrunk
from posepipe.lifters.martinez.net import Trunk
from posepipe.lifters.prpose.folded import FoldedLightGcn
from posepipe.lifters.prpose.net import LightGraphConv, ModulatedGcn


def fold(sampler: nn.Module) -> nn.Module:
    """The sampler with its networks' parts exchanged where there is a cheaper form. Changes it, returns it."""
    for name, child in sampler.named_children():
        setattr(sampler, name, _cheaper(child))
    return sampler.eval()


def _cheaper(module: nn.Module) -> nn.Module:
    if type(module) is Denoiser:
        return FoldedDenoiser(module)
    if type(module) is Trunk:
        return FoldedTrunk(module)
    if type(module) is PartitionedGraphConv:
        return FoldedPartitionedGraphConv(module)
    if type(module) is ModulatedGcn and isinstance(module.head, LightGraphConv):
        return FoldedLightGcn(module)
    for name, child in module.named_children():
        setattr(module, name, _cheaper(child))
    return module
