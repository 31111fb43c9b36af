"""Structural similarity of images, at one scale and at several.

Letters: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, WIDTH = 11, 1.5
"""Side and standard deviation, in pixels, of the Gaussian window of SSIM."""
C1, C2 = 0.01**2, 0.03**2
"""The constants of SSIM at a data range of 1."""
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of MS-SSIM's scales, from fine to coarse (Wang et al. 2003, section 3.2)."""
LEAST = 1e-4
"""Floor under the means of the scales, whose powers have no gradient at 0 and none below it."""


def _factors(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, at every place of the window: [B C, 1, h, w]."""
    place = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = (-0.5 * (place / WIDTH).square()).exp()
    weights = weights / weights.sum()

    def mean(image: Tensor) -> Tensor:
        rows = F.conv2d(image.flatten(0, 1)[:, None], weights.view(1, 1, 1, -1))
        return F.conv2d(rows, weights.view(1, 1, -1, 1))

    mu_x, mu_y = mean(x), mean(y)
    variances = mean(x * x) - mu_x.square() + mean(y * y) - mu_y.square()
    covariance = mean(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + C1) / (mu_x.square() + mu_y.square() + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)


def similarity(x: Tensor, y: Tensor) -> Tensor:
    """SSIM [B] of images x and y [B, C, H, W] in [0, 1] (Wang et al. 2004, eq. 13).

    (2 mu_x mu_y + C1) (2 s_xy + C2) / ((mu_x^2 + mu_y^2 + C1) (s_x^2 + s_y^2 + C2)), with moments
    under a Gaussian window of 11 pixels, and the mean over all places where it fits and over the
    channels, as the authors have it; some libraries count mirrored borders too.
    """
    luminance, structure = _factors(x, y)
    return (luminance * structure).view(len(x), -1).mean(1)


def least_side(scales: int) -> int:
    """The least shorter side, in pixels, of an image that the window fits into at each scale."""
    return (WINDOW - 1) * (1 << (scales - 1)) + 1


def multiscale_similarity(x: Tensor, y: Tensor, scales: int = len(EXPONENTS)) -> Tensor:
    """MS-SSIM [B] of images x and y [B, C, H, W] in [0, 1] (Wang et al. 2003, eq. 7).

    The product over scales of the mean contrast and structure, of the coarsest scale of the mean
    SSIM, each to its exponent. A scale is the one before with each 2x2 pixels averaged; an odd last
    row or column is repeated. With fewer than five scales the exponents of the first are scaled to
    a sum of 1. The sides must be at least `least_side(scales)`.
    """
    exponents = EXPONENTS[:scales]
    found = torch.ones(len(x), dtype=x.dtype, device=x.device)
    for scale, exponent in enumerate(exponents):
        luminance, structure = _factors(x, y)
        if scale == scales - 1:
            structure = luminance * structure
        mean = structure.view(len(x), -1).mean(1)
        mean = mean.clamp(min=LEAST) if scales > 1 else mean  # one scale is the SSIM itself
        found = found * mean ** (exponent / sum(exponents))
        x, y = _halved(x), _halved(y)
    return found


def _halved(x: Tensor) -> Tensor:
    """Means of 2x2 pixels, [B, C, ceil(H/2), ceil(W/2)]."""
    x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")
    return F.avg_pool2d(x, 2)
