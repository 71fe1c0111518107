"""What a sampler of many hypotheses may end with: their spread, fitted to how far real people were from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MILLIMETRE2 = 1e-6  # square metres: within a millimetre of the mean the shape has no say, and no logarithm is of 0
ALONE = 1e-3  # for a single hypothesis, whose distance from the mean is 0 whatever it is multiplied by


class Calibration(nn.Module):
    """hypotheses (B,H,17,3) metres, log_weights (B,H) -> hypotheses (B,H,17,3), as far from their weighted mean as the
    truth is found to be. The mean stays where it is.

    Two buffers, fitted on validation data (training/calibration.py). With r the distance of a hypothesis' joint from
    the mean and R the root of its weighted mean square over the hypotheses, r becomes
    gain * scale * r * (r / R)^shape: scale (17), 1 as it comes, for how much; shape, 0 as it comes, for the tails,
    longer where it is positive.
    gain = sqrt((1 + q) / (1 - q)) with q the sum of squared weights (1 / H for equal ones): the mean of few hypotheses
    is itself off by some of the spread, and they lie nearer to it than to the mean of all; so few, many and the truth
    are spread alike about what a user takes for the middle. One hypothesis stays as it is.
    """

    scale: Tensor
    shape: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(17))
        self.register_buffer("shape", torch.zeros(()))

    def forward(self, hypotheses: Tensor, log_weights: Tensor) -> Tensor:
        weights = log_weights.exp()[..., None, None]
        mean = (weights * hypotheses).sum(1, keepdim=True)
        away = hypotheses - mean
        square = away.square().sum(-1, keepdim=True) + MILLIMETRE2
        middle = (weights * square).sum(1, keepdim=True)
        few = weights.square().sum(1, keepdim=True)
        gain = torch.sqrt((1.0 + few) / (1.0 - few).clamp(min=ALONE))
        stretch = torch.exp(0.5 * self.shape * (torch.log(square) - torch.log(middle)))
        return mean + gain * self.scale[:, None] * stretch * away


def calibrated(calibration: Calibration | None, hypotheses: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """A sampler's result; without a calibration, as it is, and nothing in the graph."""
    return hypotheses if calibration is None else calibration(hypotheses, log_weights), log_weights
