"""Li & Lee 2020's TensorFlow checkpoints (https://github.com/chaneyddtt/weakly-supervised-3d-pose-generator)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from posepipe.lifters.authors import Imported, Rename, axis, translate
from posepipe.lifters.wsgan.net import Discriminator, Encoder
from posepipe.lifters.wsgan.sampler import WsganSampler
from posepipe.training.import_checkpoint.tf_state import read_variables

_SYSTEM = "weakly supervised generator (TensorFlow)"
_SPLIT = "Generator/Posenet/W_posefc1"

_GENERATOR = {
    "features.stem": "Generator/{}_genfc1",
    "features.pair.first": "Generator/{}_fc1",
    "features.pair.second": "Generator/{}_fc2",
    "pose.from_features": "Generator/Posenet/{}_posefc1",
    "pose.second": "Generator/Posenet/{}_posefc2",
    "pose.pair.first": "Generator/Posenet/{}_posefc3",
    "pose.pair.second": "Generator/Posenet/{}_posefc4",
    "pose.head": "Generator/Posenet/{}_posefc5",
    "camera.pairs.0.first": "Generator/Camnet/{}_camfc1",
    "camera.pairs.0.second": "Generator/Camnet/{}_camfc2",
    "camera.pairs.1.first": "Generator/Camnet/{}_camfc3",
    "camera.pairs.1.second": "Generator/Camnet/{}_camfc4",
    "camera.head": "Generator/Camnet/{}_camfc5",
}
_ENCODER = {
    "stem": "Generator/Encoder/{}_encfc1",
    "pair.first": "Generator/Encoder/{}_encfc2",
    "pair.second": "Generator/Encoder/{}_encfc3",
    "head": "Generator/Encoder/{}_encfc4",
}
# "dicsfc10" is the authors' spelling.
_DISCRIMINATOR = {
    f"{branch}.{layer}": f"Discriminator/Discriminator/{{}}_discfc{start + index}"
    for branch, start in (("pose", 0), ("kcs", 5))
    for index, layer in enumerate(("stem", "pairs.0.first", "pairs.0.second", "pairs.1.first", "pairs.1.second"))
} | {"head": "Discriminator/Discriminator/{}_dicsfc10"}


def import_wsgan(file: Path) -> Imported:
    """A published checkpoint -> network arguments and state of WsganSampler; encoder and discriminator, which only
    training needs, are listed as unexpected. Raises CheckpointError."""
    variables = split_code(read_variables(file))
    width = axis(variables, "Generator/W_genfc1", 0, _SYSTEM)
    network: dict[str, Any] = {"width": width, "latent": axis(variables, f"{_SPLIT}[code]", 1, _SYSTEM)}
    state, unexpected = translate(variables, WsganSampler(**network), _rename(_GENERATOR, "net."), _SYSTEM)
    return Imported(network, state, unexpected)


def import_critics(file: Path) -> tuple[Encoder, Discriminator]:
    """The two networks that only training needs, to go on training. Raises CheckpointError."""
    variables = read_variables(file)
    encoder = Encoder(
        axis(variables, "Generator/Encoder/W_encfc1", 0, _SYSTEM),
        axis(variables, "Generator/Encoder/W_encfc4", 0, _SYSTEM),
    )
    place = "Discriminator/Discriminator/W_"
    discriminator = Discriminator(
        axis(variables, f"{place}discfc0", 0, _SYSTEM),
        axis(variables, f"{place}discfc5", 0, _SYSTEM),
        axis(variables, f"{place}dicsfc10", 0, _SYSTEM),
    )
    _fill(encoder, variables, _ENCODER)
    _fill(discriminator, variables, _DISCRIMINATOR)
    return encoder.eval(), discriminator.eval()


def split_code(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """The pose network's first matrix cut into the part for the features and the part for the code."""
    both = variables.get(_SPLIT)
    if both is None:
        return variables
    rest = {name: value for name, value in variables.items() if name != _SPLIT}
    width = len(both)
    return rest | {f"{_SPLIT}[features]": both[:, :width], f"{_SPLIT}[code]": both[:, width:]}


def _fill(module: nn.Module, variables: dict[str, Tensor], table: dict[str, str]) -> None:
    state, _ = translate(variables, module, _rename(table, ""), _SYSTEM)
    module.load_state_dict(state)


def _rename(table: dict[str, str], prefix: str) -> Rename:
    def rename(name: str) -> tuple[str, ...]:
        layer, entry = name.removeprefix(prefix).rsplit(".", 1)
        if layer == "pose.from_code":
            return (f"{_SPLIT}[code]",)
        if layer == "pose.from_features" and entry == "weight":
            return (f"{_SPLIT}[features]",)
        return (table[layer].format("W" if entry == "weight" else "b"),)

    return rename
