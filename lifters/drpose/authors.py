"""The authors' DRPose files (https://github.com/KHB1698/DRPose) in our terms.

The first stage is read from the same file and never from its own one: the authors' training leaves it in training mode,
so its batch-norm statistics drift away from the checkpoint that it started from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from posepipe.errors import CheckpointError
from posepipe.lifters.authors import Imported, axis, count_blocks, replacing, strip_module, translate
from posepipe.lifters.dcgct import authors as dcgct
from posepipe.lifters.drpose.sampler import DRPoseSampler
from posepipe.lifters.htnet import authors as htnet
from posepipe.lifters.schedulers import cosine

FIRST = "encoder_feat."
NET = "pose_estimator."
BUFFERS = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
)

_NET = replacing(
    ("net.input.", f"{NET}gconv_input."),
    ("net.condition.", f"{NET}gconv_cond."),
    ("net.output.", f"{NET}gconv_output."),
    ("net.time1.", f"{NET}time_mlp.1."),
    ("net.time2.", f"{NET}time_mlp.3."),
    ("net.refinement.fc1.", f"{NET}fusion.post_refine.0."),
    ("net.refinement.fc2.", f"{NET}fusion.post_refine.3."),
)
_LAYER = replacing(
    ("attention.proj.", "atten_layers.{}.self_attn.linears.3."),
    ("graph.adjacency", "atten_layers.{}.feed_forward.A_hat"),
    ("graph.fc1.", "atten_layers.{}.feed_forward.gconv1.fc."),
    ("graph.fc2.", "atten_layers.{}.feed_forward.gconv2.fc."),
    ("norm1.weight", "atten_layers.{}.sublayer.0.norm.a_2"),
    ("norm1.bias", "atten_layers.{}.sublayer.0.norm.b_2"),
    ("norm2.weight", "atten_layers.{}.sublayer.1.norm.a_2"),
    ("norm2.bias", "atten_layers.{}.sublayer.1.norm.b_2"),
    ("cheb1.", "gconv_layers.{}.gconv1.gconv."),
    ("cheb2.", "gconv_layers.{}.gconv2.gconv."),
)


def from_authors(
    state: Mapping[str, Tensor], steps: int = 5, heads: int = 4, flip: bool = True, faithful: bool = True
) -> Imported:
    """State dict of the authors' DRPose -> our DRPoseSampler's. Raises CheckpointError that lists what does not fit.

    heads: the one constructor argument of the denoiser that the shapes do not tell (4 as published)."""
    state = strip_module(state)
    over_htnet = any(name.startswith(f"{FIRST}Hiremixer.") for name in state)
    stage = htnet if over_htnet else dcgct
    layers = count_blocks(state, f"{NET}atten_layers.")
    network: dict[str, Any] = {
        "first": {"lifter": "htnet" if over_htnet else "dcgct", **stage.network_of(state, FIRST), "flip": False},
        "steps": steps,
        "flip": flip,
        "faithful": faithful,
        "channels": axis(state, f"{NET}gconv_input.weight", 3, "DRPose"),
        "layers": layers,
        "heads": heads,
        "refinement_hidden": axis(state, f"{NET}fusion.post_refine.0.weight", 0, "DRPose"),
    }
    _check_schedule(state)
    first = stage.rename(FIRST)

    def rename(name: str) -> tuple[str, ...]:
        if name.startswith("first."):
            return first(name.removeprefix("first."))
        if name.startswith("input."):
            return ()
        if name.startswith("net.layers."):
            index, rest = name.removeprefix("net.layers.").split(".", 1)
            if rest.startswith("attention.qkv."):
                kind = rest.rsplit(".", 1)[1]
                return tuple(f"{NET}atten_layers.{index}.self_attn.linears.{i}.{kind}" for i in range(3))
            return tuple(NET + n.format(index) for n in _LAYER(rest))
        if name.startswith("net.modulation."):
            kind = name.rsplit(".", 1)[1]
            return tuple(
                f"{NET}atten_layers.{i}.sublayer.{half}.adaLN_modulation.1.{kind}"
                for i in range(layers)
                for half in (0, 1)
            )
        return _NET(name)

    sampler = DRPoseSampler(**network)
    ours, unexpected = translate(_without_unit_axes(state), sampler, rename, "DRPose", ignore=BUFFERS)
    return Imported(network, ours, unexpected)


def _without_unit_axes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' Chebyshev layers keep broadcast axes: weights (3,1,in,out) and biases (1,1,out)."""
    result = dict(state)
    for name, value in state.items():
        if name.startswith(f"{NET}gconv_"):
            result[name] = value.squeeze(1) if value.dim() == 4 else value.flatten()
    return result


def _check_schedule(state: Mapping[str, Tensor]) -> None:
    """A file with another noise schedule would load and give nonsense: compare the betas that it carries."""
    if "betas" not in state:
        return
    betas = state["betas"].double().numpy()
    ours = cosine.betas()
    if betas.shape != ours.shape or np.abs(betas - ours).max() > 1e-6:
        raise CheckpointError(
            f"This DRPose file was trained with another noise schedule ({len(betas)} times).",
            "Only the published cosine schedule of 1000 times is supported.",
        )
