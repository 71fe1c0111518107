"""What a sampler of many hypotheses may end with: their spread, fitted to how far real people were from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MILLIMETRE2 = 1e-6  # square metres: within a millimetre of the mean the shape has no say, and no logarithm is of 0
ALONE = 1e-3  # for a single hypothesis, whose distance from the mean is 0 whatever it is multiplied by


class Calibration(nn.Module):
    """hypotheses (B,H,17,3) metres, log_weights (B,H), confidence (B,17) -> hypotheses (B,H,17,3), as far from their
    weighted mean as the truth is found to be. The mean stays where it is.

    Buffers, fitted on validation data (training/calibration.py). With r the distance of a hypothesis' joint from
    the mean and R the root of its weighted mean square over the hypotheses, r becomes
    sqrt((scale^2 + q) / (1 - q)) * r * (r / R)^shape, q the sum of squared weights (1 / H for equal ones).
    scale (17), 1 as it comes: for how much, with very many hypotheses. With few, their mean is itself off by q R^2, and
    they lie nearer to it than to the mean of all; so few are spread as the truth is about what a user takes for the
    middle. shape, 0 as it comes: for the tails, longer where it is positive. One hypothesis stays as it is.

    A network's own spread may not grow with the detector's errors as its errors do. So there are two regimes, and
    between them a person stands by how far the mean confidence is from 1: at 0 the above, at `doubt` and beyond scale
    times more (17) and shape plus further; 1 and 0 as they come, and then confidence does not matter.
    """

    scale: Tensor
    shape: Tensor
    doubt: Tensor
    more: Tensor
    further: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(17))
        self.register_buffer("shape", torch.zeros(()))
        self.register_buffer("doubt", torch.ones(()))
        self.register_buffer("more", torch.ones(17))
        self.register_buffer("further", torch.zeros(()))

    def forward(self, hypotheses: Tensor, log_weights: Tensor, confidence: Tensor | None = None) -> Tensor:
        weights = log_weights.exp()[..., None, None]
        mean = (weights * hypotheses).sum(1, keepdim=True)
        away = hypotheses - mean
        square = away.square().sum(-1, keepdim=True) + MILLIMETRE2
        middle = (weights * square).sum(1, keepdim=True)
        few = weights.square().sum(1, keepdim=True)
        wanted, shape = self.scale[:, None], self.shape
        if confidence is not None:
            # (B,1,1,1) throughout: ONNX's shape inference takes numbers in one dimension for shapes
            trust = confidence[:, :, None, None].mean(1, keepdim=True)
            doubt = ((1.0 - trust) / self.doubt).clamp(0.0, 1.0)
            wanted = wanted * torch.exp(doubt * torch.log(self.more[:, None]))
            shape = shape + doubt * self.further
        scale = torch.sqrt((wanted.square() + few) / (1.0 - few).clamp(min=ALONE))
        stretch = torch.exp(0.5 * shape * (torch.log(square) - torch.log(middle)))
        return mean + scale * stretch * away


def calibrated(
    calibration: Calibration | None, hypotheses: Tensor, log_weights: Tensor, confidence: Tensor
) -> tuple[Tensor, Tensor]:
    """A sampler's result; without a calibration, as it is, and nothing in the graph."""
    return hypotheses if calibration is None else calibration(hypotheses, log_weights, confidence), log_weights
