"""Do the hypotheses say how wrong they may be? Proper scores, calibration and diversity, in numpy.

Weights always have the sum 1 over H. Scores treat the hypotheses as the discrete distribution that a user is given, so
that with one hypothesis CRPS is the absolute error and the energy score is the distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
BLOCK_BYTES = 1 << 25  # of pairwise distances in memory at a time


def truth_level(hypotheses: Array, weights: Array, truth: Array) -> Array:
    """The smallest p whose region holds the truth, per joint: (N, H, J, 3), (N, H), (N, J, 3) -> (N, J).

    The p region is the one of `posepipe.metrics.coverage`: the ball around the weighted mean with a share p of the
    weight in it. Honest hypotheses give levels that are uniform on 0..1, so that the share of levels <= p is the
    coverage at p. inf: farther out than every hypothesis; 0: nearer than the nearest."""
    mean = np.einsum("nh,nhjc->njc", weights, hypotheses)
    spread = np.linalg.norm(hypotheses - mean[:, None], axis=-1)
    miss = np.linalg.norm(truth - mean, axis=-1)[:, None]
    order = np.argsort(spread, axis=1)
    ranked = np.take_along_axis(spread, order, 1)
    mass = np.take_along_axis(np.broadcast_to(weights[..., None], spread.shape), order, 1)
    position = np.cumsum(mass, 1) - 0.5 * mass
    nearer = (ranked < miss).sum(1, keepdims=True)
    above, below = np.minimum(nearer, ranked.shape[1] - 1), np.maximum(nearer - 1, 0)
    p0, p1 = (np.take_along_axis(position, i, 1) for i in (below, above))
    r0, r1 = (np.take_along_axis(ranked, i, 1) for i in (below, above))
    level = p0 + (p1 - p0) * (miss - r0) / np.where(r1 > r0, r1 - r0, 1.0)
    level = np.where(nearer == 0, 0.0, np.where(nearer == ranked.shape[1], np.inf, level))
    return level[:, 0]


def crps(samples: Array, weights: Array, truth: Array) -> Array:
    """Continuous ranked probability score E|X - y| - E|X - X'| / 2 of every number: (..., H), (..., H), (...) -> (...).

    Gneiting & Raftery 2007, eq. 21; E|X - X'| from the sorted samples, so H log H and not H squared."""
    order = np.argsort(samples, axis=-1)
    x = np.take_along_axis(samples, order, -1)
    w = np.take_along_axis(np.broadcast_to(weights, samples.shape), order, -1)
    below_and_above = 2 * np.cumsum(w, -1) - w - 1  # weight below minus weight above
    return (w * np.abs(x - truth[..., None])).sum(-1) - (w * x * below_and_above).sum(-1)


def energy_parts(samples: Array, weights: Array, truth: Array) -> tuple[Array, Array]:
    """E|X - y| and E|X - X'| of vectors of any length: (..., H, D), (..., H), (..., D) -> (...), (...).

    Of all pairs, in blocks of bounded memory."""
    samples, truth = np.asarray(samples, np.float64), np.asarray(truth, np.float64)
    shape, (count, size) = samples.shape[:-2], samples.shape[-2:]
    miss = (weights * np.linalg.norm(samples - truth[..., None, :], axis=-1)).sum(-1)
    rows = samples.reshape(-1, count, size)
    rows = rows - rows.mean(1, keepdims=True)  # small numbers, so that x.x - 2 x.y + y.y loses nothing
    weight = np.broadcast_to(weights, (*shape, count)).reshape(-1, count)
    pairs = np.empty(len(rows))
    step = max(1, BLOCK_BYTES // (8 * count * count))
    for start in range(0, len(rows), step):
        part, w = rows[start : start + step], weight[start : start + step]
        squared = (part**2).sum(-1)
        distance = part @ np.swapaxes(part, 1, 2)
        distance *= -2
        distance += squared[:, :, None]
        distance += squared[:, None]
        np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
        pairs[start : start + step] = np.einsum("ni,ni->n", (distance @ w[..., None])[..., 0], w)
    return miss, pairs.reshape(shape)


def energy_score(samples: Array, weights: Array, truth: Array) -> Array:
    """E|X - y| - E|X - X'| / 2: (..., H, D), (..., H), (..., D) -> (...). Gneiting & Raftery 2007, eq. 22."""
    miss, pairs = energy_parts(samples, weights, truth)
    return miss - pairs / 2


def distinct(pairs: Array, weights: Array) -> Array:
    """E|X - X'| over pairs of two different hypotheses: the mean pairwise distance ("diversity"). (...), (..., H) ->
    (...); 0 for a single hypothesis."""
    same = (weights**2).sum(-1)
    return np.where(same < 1 - 1e-9, pairs / np.maximum(1 - same, 1e-9), 0.0)
