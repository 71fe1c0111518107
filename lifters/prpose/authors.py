"""The authors' PRPose files (https://github.com/xzhouzeng/PRPose) in our terms: one file for the variance network
("avg_model"), one for the lifter ("shhpe_model")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from posepipe.errors import CheckpointError
from posepipe.lifters.authors import Imported, Rename, axis, count_blocks, replacing, strip_module, translate
from posepipe.lifters.htnet import authors as htnet
from posepipe.lifters.prpose.sampler import PrposeSampler

_VARIANCE, _LIFTER = "variance file: ", "lifter file: "
_GCN = replacing(
    (".stem.conv.", ".gconv_input.0.gconv."),
    (".stem.norm.", ".gconv_input.0.bn."),
    (".blocks.", ".gconv_layers."),
    (".0.conv.", ".gconv1.gconv."),
    (".1.conv.", ".gconv2.gconv."),
    (".0.norm.", ".gconv1.bn."),
    (".1.norm.", ".gconv2.bn."),
    (".head.", ".gconv_output."),
)
_MLP = replacing(
    (".stem.linear.", ".w1."),
    (".stem.norm.", ".batch_norm1."),
    (".blocks.", ".linear_stages."),
    (".0.linear.", ".w1."),
    (".1.linear.", ".w2."),
    (".0.norm.", ".batch_norm1."),
    (".1.norm.", ".batch_norm2."),
    (".head.", ".w2."),
)


def from_authors(
    variance: Mapping[str, Tensor], lifter: Mapping[str, Tensor], alpha: float = 0.005, faithful: bool = False
) -> Imported:
    """State dicts of the authors' variance network (either kind) and lifter (light modulated GCN or HTNet) -> our
    PrposeSampler's. Raises CheckpointError that lists what does not fit."""
    variance, lifter = strip_module(variance), strip_module(lifter)
    network: dict[str, Any] = {"alpha": alpha, "faithful": faithful}
    if "Hiremixer.Temporal_norm.weight" in lifter:
        network |= {"lifter": "htnet", "lifter_network": htnet.network_of(lifter)}
        lifter_rule = _after("net.lifter.", "net.", htnet.rename())
    else:
        network |= {"lifter": "mgcn", "lifter_network": _gcn_size(lifter, 1, 3)}
        lifter_rule = _after("net.lifter", "", lambda name: tuple(n[1:] for n in _GCN(name)))
    if "w1.weight" in variance:
        network |= {"variance": "mlp", "variance_network": _mlp_size(variance)}
        variance_rule = _after("net.variance", "", lambda name: tuple(n[1:] for n in _MLP(name)))
    else:
        network |= {"variance": "mgcn", "variance_network": _gcn_size(variance, 2, 1)}
        variance_rule = _after("net.variance", "", lambda name: tuple(n[1:] for n in _GCN(name)))

    def rename(name: str) -> tuple[str, ...]:
        if name.startswith("net.lifter."):
            return tuple(_LIFTER + n for n in lifter_rule(name))
        if name.startswith("net.variance."):
            return tuple(_VARIANCE + n for n in variance_rule(name))
        return ()

    both = {_LIFTER + n: v for n, v in lifter.items()} | {_VARIANCE + n: v for n, v in variance.items()}
    state, unexpected = translate(both, PrposeSampler(**network), rename, "PRPose")
    return Imported(network, state, unexpected)


def _after(prefix: str, put: str, rule: Rename) -> Rename:
    return lambda name: rule(put + name.removeprefix(prefix))


def _gcn_size(state: Mapping[str, Tensor], matrices: int, out: int) -> dict[str, int]:
    name = "gconv_output.W"
    if axis(state, name, 0, "PRPose") != matrices or axis(state, name, 2, "PRPose") != out:
        raise CheckpointError(
            f"{name} has the shape {tuple(state[name].shape)}, but ({matrices}, width, {out}) is needed.",
            "Give the variance network (avg_model_*.pth) as FILE and the lifter (shhpe_model_*.pth) beside it.",
        )
    return {"width": axis(state, name, 1, "PRPose"), "blocks": count_blocks(state, "gconv_layers.")}


def _mlp_size(state: Mapping[str, Tensor]) -> dict[str, int]:
    return {"width": axis(state, "w1.weight", 0, "PRPose"), "blocks": count_blocks(state, "linear_stages.")}
