"""Classical restoration filters, which `restoration.py` compares with denoising autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from vae_run.corruptions import Grayscale


@dataclass(frozen=True)
class Pairs:
    """Clean images of a split, the same corrupted, and their labels."""

    clean: Tensor
    seen: Tensor
    label: Tensor


Filter = Callable[[Tensor, Pairs], Tensor]
"""Restores images; may learn from the training pairs."""


def of_planes(function: Callable[..., Any], seen: Tensor, _: Pairs, **options: Any) -> Tensor:
    """A filter of scipy.ndimage on every image and channel."""
    return torch.from_numpy(function(seen.numpy(), **options))


def gaussian(sigma: float, share: float = 1.0) -> Filter:
    """A Gaussian filter; `share` is what is left of the brightness, and made up for."""
    found = partial(of_planes, ndimage.gaussian_filter, sigma=(0, 0, sigma, sigma))
    return lambda seen, fit: found(seen, fit) / share


def sparing(intact: Callable[[Tensor], Tensor], filters: dict[str, Filter]) -> dict[str, Filter]:
    """The same filters, applied to the other pixels alone."""

    def spared(restore: Filter) -> Filter:
        return lambda seen, fit: torch.where(intact(seen), seen, restore(seen, fit))

    return {f"{name}, grey kept": spared(restore) for name, restore in filters.items()}


def median(side: int) -> Filter:
    return partial(of_planes, ndimage.median_filter, size=(1, 1, side, side))


def wiener(noise: float, side: int) -> Filter:
    """Lee's local Wiener filter for noise of standard deviation `noise`."""

    def restore(seen: Tensor, _: Pairs) -> Tensor:
        mean = F.avg_pool2d(seen, side, 1, side // 2, count_include_pad=False)
        square = F.avg_pool2d(seen.square(), side, 1, side // 2, count_include_pad=False)
        variance = square - mean.square()
        gain = (1 - noise**2 / variance.clamp(min=1e-6)).clamp(min=0)
        return mean + gain * (seen - mean)

    return restore


def bicubic(side: int) -> Filter:
    def restore(seen: Tensor, _: Pairs) -> Tensor:
        small = seen[..., ::side, ::side]
        return F.interpolate(small, seen.shape[2:], mode="bicubic", align_corners=False)

    return restore


def unsharp(sigma: float, amount: float) -> Filter:
    smooth = gaussian(sigma)
    return lambda seen, fit: seen + amount * (seen - smooth(seen, fit))


def deconvolution(sigma: float, ratio: float) -> Filter:
    """Wiener's, edges included: the blur's inverse, where noise is the share `ratio` of power."""

    def restore(seen: Tensor, _: Pairs) -> Tensor:
        parts = []
        for n in seen.shape[2:]:
            matrix = ndimage.gaussian_filter1d(np.eye(n), sigma, axis=0, mode="nearest")
            parts.append([torch.from_numpy(part) for part in np.linalg.svd(matrix)])
        (u, s, vh), (u2, s2, vh2) = parts
        values = s[:, None] * s2
        inner = u.T @ seen.double() @ u2 * (values / (values**2 + ratio))
        return (vh.T @ inner @ vh2).float()

    return restore


def intact(seen: Tensor) -> Tensor:
    """Which pixels lie in no block: 8-bit data never hold its value."""
    return seen != 0.5


def filled(power: int) -> Filter:
    """The block's pixels solve Laplace's equation, or with `power` 2 the biharmonic one."""

    def restore(seen: Tensor, _: Pairs) -> Tensor:
        height, width = seen.shape[2:]
        paths = [
            np.diag(np.r_[1, 2 * np.ones(n - 2), 1]) - np.eye(n, k=1) - np.eye(n, k=-1)
            for n in (height, width)
        ]
        laplace = np.kron(paths[0], np.eye(width)) + np.kron(np.eye(height), paths[1])
        matrix = np.linalg.matrix_power(laplace, power)
        images = seen.flatten(1).double().numpy()
        masks, member = np.unique(intact(seen).flatten(1).numpy(), axis=0, return_inverse=True)
        for i, known in enumerate(masks):
            rows = np.flatnonzero(member.reshape(-1) == i)
            right = -matrix[np.ix_(~known, known)] @ images[np.ix_(rows, known)].T
            inside = np.linalg.solve(matrix[np.ix_(~known, ~known)], right)
            images[np.ix_(rows, ~known)] = inside.T
        return torch.from_numpy(images).float().reshape(seen.shape)

    return restore


def keep_intact(restored: Tensor, seen: Tensor) -> Tensor:
    return torch.where(intact(seen), seen, restored)


def keep_brightness(restored: Tensor, seen: Tensor) -> Tensor:
    return restored + seen - Grayscale().apply(restored, None)


def mean_around(seen: Tensor, _: Pairs) -> Tensor:
    """The block gets the mean of the image's other pixels."""
    known = intact(seen)
    kept = (seen * known).sum((1, 2, 3), keepdim=True) / known.sum((1, 2, 3), keepdim=True)
    return torch.where(known, seen, kept)


def tinted(by_digit: bool) -> Filter:
    """Grey times the mean colour: of all digits, or of the digit whose mean image is nearest."""

    def restore(seen: Tensor, fit: Pairs) -> Tensor:
        label = fit.label if by_digit else torch.zeros_like(fit.label)
        kinds = torch.unique(label)
        means = torch.stack([fit.seen[label == k].mean(0) for k in kinds]).flatten(1)
        colours = torch.stack(
            [
                (fit.clean * fit.seen)[label == k].sum((0, 2, 3))
                / fit.seen[label == k].square().sum((0, 2, 3))
                for k in kinds
            ]
        )
        nearest = torch.cdist(seen.flatten(1), means).argmin(1)
        return seen * colours[nearest][:, :, None, None]

    return restore


def recentred(seen: Tensor, fit: Pairs) -> Tensor:
    """The centre of mass is put where it lies in the mean clean image."""

    def centre(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        mass = images.sum((1, 2, 3)).clamp(min=1e-6)
        y = (images.sum((1, 3)) * torch.arange(height)).sum(1) / mass
        x = (images.sum((1, 2)) * torch.arange(width)).sum(1) / mass
        return torch.stack([x * 2 / width, y * 2 / height], 1)

    theta = torch.eye(2, 3).repeat(len(seen), 1, 1)
    theta[:, :, 2] = centre(seen) - centre(fit.clean.mean(0, keepdim=True))
    grid = F.affine_grid(theta, list(seen.shape), align_corners=False)
    return F.grid_sample(seen, grid, align_corners=False)


def none(seen: Tensor, _: Pairs) -> Tensor:
    return seen
