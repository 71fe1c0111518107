"""The energy score of a few hypotheses: a loss that is least, on average, when they are drawn from the distribution of
the truth given the input, so that it asks for hits, for spread where it is due, and for no more."""

from __future__ import annotations

import torch
from torch import Tensor


def energy_score(hypotheses: Tensor, truth: Tensor) -> Tensor:
    """(B,H,J,3), (B,J,3) -> scalar, in their unit; H >= 2.

    Gneiting & Raftery 2007, eq. 22: mean |X - y| - 1/2 mean |X - X'| over different X and X' (so without bias for a few
    hypotheses; Bouchacourt et al. 2016, "DISCO Nets", eq. 8, train this way). The mean of two such scores: each joint
    by itself, which is what a user is given per joint, and the pose as a whole, which has the limbs move together."""
    miss, apart = hypotheses - truth[:, None], _pairs(hypotheses)
    joints = miss.norm(dim=-1).mean() - 0.5 * apart.norm(dim=-1).mean()
    scale = truth.shape[1] ** 0.5
    whole = miss.flatten(2).norm(dim=-1).mean() - 0.5 * apart.flatten(2).norm(dim=-1).mean()
    return 0.5 * (joints + whole / scale)


def _pairs(hypotheses: Tensor) -> Tensor:
    """(B,H,...) -> (B,H*(H-1)/2,...): the differences of every two."""
    first, second = torch.triu_indices(hypotheses.shape[1], hypotheses.shape[1], 1, device=hypotheses.device)
    return hypotheses[:, first] - hypotheses[:, second]


def best_distance(hypotheses: Tensor, truth: Tensor) -> Tensor:
    """(B,H,J,3), (B,J,3) -> scalar: mean joint distance of the best hypothesis; only it is pulled."""
    return (hypotheses - truth[:, None]).norm(dim=-1).mean(-1).amin(1).mean()
