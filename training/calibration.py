"""Fitting a sampler's calibration (lifters/calibration.py), and checking it on clips that it was not fitted to.

Everything that the fit needs of a person is, joint by joint, how far the truth is from the mean of the hypotheses (the
miss) and how far the hypotheses are (their quantiles), both in units of the hypotheses' RMS distance. The map keeps the
order of the distances, so the truth lies in the region of share p after it exactly where

    log miss <= log factor + (1 + shape) * log quantile_p

holds: for a given shape, every level and joint has its own best factor in closed form, and one number is searched. The
scale of the calibration is what gives this factor with as many hypotheses as were drawn. People whose keypoints are all
certain (exact 2D) and people of a detector are fitted apart; the calibration goes from one to the other by confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from posepipe.lifters.calibration import MILLIMETRE2, Calibration
from posepipe.skeleton import H36M_17
from posepipe.training.person_batches import PersonBatch

LEVELS = (0.5, 0.8, 0.95)  # what is promised
FITTED = (0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
SHAPES = np.linspace(-0.4, 1.0, 29)
LIMITS = (0.25, 8.0)  # of a scale: beyond, the network and not its spread is wrong
HYPOTHESES = 50  # drawn for the fit
CERTAIN = 1e-3  # of a person's mean confidence from 1
FEWEST = 20  # people of a regime
DOUBTFUL = 0.1  # so many of the doubtful are surer than what counts as full doubt


@dataclass(frozen=True)
class Seen:
    """People of one clip under one kind of 2D ("gt_2d", "detector_noise_2d"). miss: (N,16), quantile: (levels,N,16):
    logarithms, as above; hypotheses: how many were drawn; the hip is left out. doubt: (N,), 1 - mean confidence."""

    clip: str
    kind: str
    miss: NDArray[np.float64]
    quantile: NDArray[np.float64]
    hypotheses: int
    doubt: NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """scale: (17), the hip's is 1. shape: of the tails. doubt, more, further: what changes with the confidence, as the
    calibration's buffers have it."""

    scale: NDArray[np.float32]
    shape: float
    doubt: float = 1.0
    more: NDArray[np.float32] = field(default_factory=lambda: np.ones(17, np.float32))
    further: float = 0.0


def summarise(clip: str, kind: str, hypotheses: NDArray, truth: NDArray, confidence: NDArray | None = None) -> Seen:
    """hypotheses (N,H,17,3) of equal weight, before any calibration; truth (N,17,3); metres. confidence: (N,17), of the
    keypoints; all certain by default."""
    moving = hypotheses[:, :, 1:].astype(np.float64)
    mean = moving.mean(1, keepdims=True)
    square = ((moving - mean) ** 2).sum(-1) + MILLIMETRE2
    middle = square.mean(1)
    miss = 0.5 * np.log(((truth[:, 1:] - mean[:, 0]) ** 2).sum(-1) + MILLIMETRE2) - 0.5 * np.log(middle)
    quantile = 0.5 * np.log(np.quantile(square, FITTED, axis=1, method="hazen") / middle)
    doubt = np.zeros(len(truth)) if confidence is None else 1.0 - confidence.mean(1).astype(np.float64)
    return Seen(clip, kind, miss, quantile, hypotheses.shape[1], doubt)


def coverage(seen: Seen, fit: Fit, levels: Sequence[float] = LEVELS) -> NDArray[np.float64]:
    """(levels, 16): the share of people whose truth lies in the region, joint by joint, after the calibration."""
    chosen = seen.quantile[[FITTED.index(p) for p in levels]]
    few, doubt = 1.0 / seen.hypotheses, np.clip(seen.doubt / fit.doubt, 0, 1)[:, None]
    scale = fit.scale[1:].astype(np.float64) * fit.more[1:].astype(np.float64) ** doubt
    factor = np.sqrt((scale**2 + few) / (1 - few))
    inside = seen.miss <= np.log(factor) + (1 + fit.shape + doubt * fit.further) * chosen
    shares: NDArray[np.float64] = inside.mean(1)
    return shares


def fit_calibration(people: Sequence[Seen]) -> Fit:
    """The calibration with which the regions come nearest to every level, for people whose keypoints are certain and
    for the others; where there are too few of either, one for all. people: of the same number of hypotheses, two or
    more.
    """
    sure, unsure = (
        [_some(seen, rows(seen.doubt)) for seen in people] for rows in (lambda d: d <= CERTAIN, lambda d: d > CERTAIN)
    )
    if min(sum(len(seen.miss) for seen in regime) for regime in (sure, unsure)) < FEWEST:
        return _fit_alike(people)
    base, other = _fit_alike(sure), _fit_alike(unsure)
    doubt = float(np.quantile(np.concatenate([seen.doubt for seen in unsure]), DOUBTFUL))
    further = round(other.shape - base.shape, 4)
    return replace(base, doubt=round(doubt, 4), more=(other.scale / base.scale).astype(np.float32), further=further)


def _fit_alike(people: Sequence[Seen]) -> Fit:
    """One calibration for all, kinds of 2D counting alike; left and right alike. For each shape, each joint's factor is
    the mean over the levels of what would cover it exactly, with one correction for all joints together; then the shape
    that misses the levels least."""
    people = [seen for seen in people if len(seen.miss)]
    kinds = sorted({seen.kind for seen in people})
    groups = [_join([seen for seen in people if seen.kind == kind]) for kind in kinds]
    best, fit, few = np.inf, Fit(np.ones(17, np.float32), 0.0), 1.0 / groups[0].hypotheses
    for shape in SHAPES:
        wanted = np.mean([_wanted(group, shape) for group in groups], axis=0)
        wanted = 0.5 * (wanted + wanted[list(H36M_17.mirror)])
        rests = [group.miss - (1 + shape) * group.quantile - wanted[1:] for group in groups]
        factor = np.mean([np.quantile(rest[i], p) for rest in rests for i, p in enumerate(FITTED)])
        shares = np.array([(rest <= factor).mean((1, 2)) for rest in rests])
        missed = np.abs(shares - np.array(FITTED)).mean()
        if missed < best:
            square = np.exp(2 * (wanted + factor)) * (1 - few) - few
            scale = np.sqrt(np.clip(square, LIMITS[0] ** 2, LIMITS[1] ** 2)).astype(np.float32)
            scale[0] = 1.0
            best, fit = missed, Fit(scale, round(float(shape), 4))
    return fit


def check_on_other_clips(people: Sequence[Seen]) -> dict[str, Any]:
    """Coverage, in per cent, of people in clips that were not fitted. "halves": fitted to one half of the clips and
    measured on the other, both ways. "left_out": every clip by a fit to all others; together, and the clips' least and
    most."""
    clips = sorted({seen.clip for seen in people}, key=lambda c: -sum(len(s.miss) for s in people if s.clip == c))
    result: dict[str, Any] = {"levels": [round(100 * p) for p in LEVELS]}
    if len(clips) < 2:
        return result
    result["halves"] = []
    for fitted, measured in ((clips[::2], clips[1::2]), (clips[1::2], clips[::2])):
        fit = fit_calibration([seen for seen in people if seen.clip in fitted])
        found = {"fitted": fitted, "measured": measured}
        result["halves"].append({**found, **_by_kind([s for s in people if s.clip in measured], [fit] * len(people))})
    fits = {clip: fit_calibration([seen for seen in people if seen.clip != clip]) for clip in clips}
    result["left_out"] = _by_kind(people, [fits[seen.clip] for seen in people])
    by_clip = [_by_kind([s for s in people if s.clip == c], [fits[c]] * len(people)) for c in clips]
    for kind in result["left_out"]:
        rows = np.array([row[kind] for row in by_clip if kind in row])
        result[f"clips_{kind}"] = {"least": rows.min(0).tolist(), "most": rows.max(0).tolist()}
    return result


@torch.no_grad()
def draw(
    sampler: nn.Module, noise_shape: tuple[int, ...], batch: PersonBatch, count: int = HYPOTHESES, seed: int = 0
) -> NDArray[np.float32]:
    """(N,count,17,3) of a sampler in eval mode, in blocks, from seeded noise."""
    generator, parts = torch.Generator().manual_seed(seed), []
    device = next(sampler.parameters()).device
    for start in range(0, len(batch.joints), 200):
        k, c = (torch.from_numpy(a[start : start + 200]) for a in (batch.keypoints, batch.confidence))
        noise = torch.randn(len(k), count, *noise_shape, generator=generator)
        parts.append(sampler(k.to(device), c.to(device), noise.to(device))[0].cpu().numpy())
    return np.concatenate(parts)


def attach(sampler: nn.Module, fit: Fit | None) -> None:
    """Give a sampler this calibration, or take it away. Checkpoints of it say "calibrated" in their `network`."""
    if fit is None:
        cast(Any, sampler).calibration = None
        return
    calibration = Calibration()
    calibration.scale.copy_(torch.from_numpy(fit.scale))
    calibration.shape.fill_(fit.shape)
    calibration.doubt.fill_(fit.doubt)
    calibration.more.copy_(torch.from_numpy(fit.more))
    calibration.further.fill_(fit.further)
    sampler.calibration = calibration.to(next(sampler.parameters()).device)


def _join(parts: Sequence[Seen]) -> Seen:
    miss, quantile = np.concatenate([p.miss for p in parts]), np.concatenate([p.quantile for p in parts], 1)
    doubt = np.concatenate([p.doubt for p in parts])
    return Seen("", parts[0].kind, miss, quantile, parts[0].hypotheses, doubt)


def _some(seen: Seen, rows: NDArray[np.bool_]) -> Seen:
    return replace(seen, miss=seen.miss[rows], quantile=seen.quantile[:, rows], doubt=seen.doubt[rows])


def _wanted(group: Seen, shape: float) -> NDArray[np.float64]:
    """(17) the logarithms of the factors that cover each joint right, the mean over the levels; the hip's is 0."""
    rest = group.miss - (1 + shape) * group.quantile
    exact = [np.quantile(rest[i], p, axis=0) for i, p in enumerate(FITTED)]
    return np.concatenate([[0.0], np.mean(exact, axis=0)])


def _by_kind(people: Sequence[Seen], fits: Sequence[Fit]) -> dict[str, list[float]]:
    """Per cent of all joints of all people, for each kind of 2D; fits: of each entry of people."""
    result = {}
    for kind in sorted({seen.kind for seen in people}):
        pairs = [(seen, fit) for seen, fit in zip(people, fits, strict=False) if seen.kind == kind]
        shares = np.average(
            [coverage(*pair).mean(1) for pair in pairs], axis=0, weights=[len(s.miss) for s, _ in pairs]
        )
        result[kind] = [round(100 * float(share), 1) for share in shares]
    return result
