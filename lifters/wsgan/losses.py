"""The losses of Li & Lee 2020 (BMVC), each unweighted; the weights of the published run are in WEIGHTS.

MMD-GAN with a gradient penalty: Binkowski et al. 2018, "Demystifying MMD GANs", §2 and appendix; rational quadratic
mixture kernel plus a dot product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WEIGHTS = {"reprojection": 10.0, "camera": 10.0, "mmd": 1.0, "diversity": 7.5, "encoder": 10.0, "penalty": 0.1}
_ALPHAS = (0.1, 1.0, 10.0)
_DOT = 10.0
_EPS = 1e-5
_HIP, _NECK, _HEAD = 6, 8, 9


def reprojection(x: Tensor, camera: Tensor, pose: Tensor, seen: Tensor | None = None) -> Tensor:
    """2D (B,32), camera (B,2,3), poses (B,48): weighted L1 between the 2D input and the projected pose. The hip, which
    is the origin, counts nothing, neck and head a tenth (detectors and mocap disagree about them). seen: (B,16), 1 for
    the joints that x has; the others count nothing, ours."""
    projected = (camera @ pose.unflatten(1, (3, 16))).flatten(1)
    weight = torch.ones(16, dtype=x.dtype, device=x.device)
    weight[_HIP] = 0.0
    weight[[_NECK, _HEAD]] = 0.1
    weights = weight.repeat(2) if seen is None else (weight * seen).repeat(1, 2)
    return (weights * (x - projected).abs()).sum(1).div(32).mean()


def camera_loss(camera: Tensor) -> Tensor:
    """(B,2,3): how far M is from a scaled orthogonal projection, |2 / tr(M M^T) M M^T - I|_1."""
    gram = camera @ camera.mT
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    identity = torch.eye(2, dtype=camera.dtype, device=camera.device)
    return (2.0 / trace[:, None, None] * gram - identity).abs().sum((1, 2)).mean()


def diversity(pose: Tensor, code: Tensor) -> Tensor:
    """relu(1 - mean|p1 - p2| / mean|z1 - z2|); the second half of the batch is the first with other codes."""
    (p1, p2), (z1, z2) = pose.chunk(2), code.chunk(2)
    ratio = (p1 - p2).abs().mean(1) / (z1 - z2).abs().mean(1)
    return torch.relu(1.0 - ratio).mean()


def encoder_loss(encoded: Tensor, code: Tensor) -> Tensor:
    """Mean absolute difference between the code that the encoder finds in the pose and the one that made it."""
    return (encoded - code).abs().mean()


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """(m,d), (n,d) -> (m,n): sum of rational quadratic kernels (1 + |x-y|^2 / 2a)^-a and 10 <x,y>."""
    dot = x @ y.T
    squared = (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2.0 * dot).clamp(min=0.0)
    return torch.stack([(1.0 + squared / (2.0 * a)).pow(-a) for a in _ALPHAS]).sum(0) + _DOT * dot


def mmd2(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of discriminator outputs (m,d), (n,d)."""
    xx, yy = kernel(x, x), kernel(y, y)
    m, n = len(x), len(y)
    within = (xx.sum() - xx.trace()) / (m * (m - 1)) + (yy.sum() - yy.trace()) / (n * (n - 1))
    return within - 2.0 * kernel(x, y).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """(|gradient of the witness function at mix * real + (1 - mix) * fake| - 1)^2; mix is (B,1) uniform.

    The authors call it with real and fake exchanged; that flips the sign of the witness and leaves the norm."""
    between = (mix * real + (1.0 - mix) * fake).detach().requires_grad_()
    inside = discriminator(between)
    witness = kernel(inside, discriminator(fake)).mean(1) - kernel(inside, discriminator(real)).mean(1)
    (gradient,) = torch.autograd.grad(witness.sum(), between, create_graph=True)
    return ((gradient.square().sum(1) + _EPS).sqrt() - 1.0).square().mean()
