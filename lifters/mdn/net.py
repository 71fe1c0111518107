"""The mixture density network of Li & Lee 2019, "Generating Multiple Hypotheses for 3D Human Pose Estimation with
Mixture Density Network" (CVPR 2019), §3: Martinez' trunk and three heads for means, deviations and mixing weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from posepipe.lifters.martinez.net import MaxNormLinear, Trunk


class MixtureDensityNet(nn.Module):
    """(B, in_features) -> means (B,K,out), sigma (B,K), log_alpha (B,K): K isotropic Gaussian kernels (eq. 1-4).

    sigma = ELU(z) + 1, alpha = softmax. As published, the mixing head alone is not norm-clipped.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 48,
        kernels: int = 5,
        width: int = 1024,
        blocks: int = 2,
        dropout: float = 0.5,
        max_norm: bool = True,
    ) -> None:
        super().__init__()
        self.kernels = kernels
        self.out_features = out_features
        self.trunk = Trunk(in_features, width, blocks, dropout, max_norm)
        self.mu = MaxNormLinear(width, out_features * kernels, max_norm)
        self.sigma = MaxNormLinear(width, kernels, max_norm)
        self.alpha = MaxNormLinear(width, kernels, max_norm=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.heads(self.trunk(x))

    def heads(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, width) features of the trunk -> the mixture."""
        # The authors lay the outputs out dimension-major: element d * K + k is dimension d of kernel k.
        means = self.mu(hidden).unflatten(1, (self.out_features, self.kernels)).transpose(1, 2)
        sigma = functional.elu(self.sigma(hidden)) + 1.0
        return means, sigma, torch.log_softmax(self.alpha(hidden), dim=1)
