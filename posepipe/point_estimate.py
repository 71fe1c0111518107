"""The one pose that stands for many hypotheses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 6
_SOFTENING = 0.01  # metres: nearer than this a hypothesis does not gain more influence


def geometric_median(joints: NDArray, log_weights: NDArray) -> NDArray:
    """Per joint the point with the least weighted mean distance to the hypotheses: what minimises the expected MPJPE if
    the hypotheses are right. (..., H, J, 3) metres, (..., H) -> (..., J, 3). One hypothesis is returned as it is.

    Unlike the mean it hardly moves when a few hypotheses are far out, which honest ones sometimes are: with 20
    hypotheses of the mixture network it is 1 to 3 mm nearer to the truth (posepipe evaluate). Weiszfeld's
    iteration from the mean, softened near the hypotheses."""
    weights = np.exp(log_weights - log_weights.max(-1, keepdims=True))
    weights = (weights / weights.sum(-1, keepdims=True))[..., None, None].astype(joints.dtype)
    centre = (weights * joints).sum(-3, keepdims=True)
    if joints.shape[-3] == 1:
        return joints[..., 0, :, :]
    for _ in range(_ITERATIONS):
        distance = np.sqrt(((joints - centre) ** 2).sum(-1, keepdims=True) + _SOFTENING**2)
        share = weights / distance
        centre = (share * joints).sum(-3, keepdims=True) / share.sum(-3, keepdims=True)
    return centre[..., 0, :, :].astype(joints.dtype)
