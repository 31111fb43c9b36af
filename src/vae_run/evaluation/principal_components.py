"""Principal components of a split: what a linear code of the same size can do.

Letters: N images, d components, P pixels of an image, q components sought.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from vae_run.data.batches import seeded
from vae_run.data.splits import Split

CHUNK, CHUNK_PIXELS = 1024, 2**22
"""Images read at once at most, and pixels of them all together."""
MOST_PIXELS = 1024
"""Pixels of an image up to which `components` decomposes the whole covariance."""
MOST_IMAGES = 200_000
"""Images that `components` are found from at most."""
ITERATIONS, SPARE = 6, 16
"""Of the randomised search beyond: rounds, and components sought besides those wanted."""

_FITS: Any = WeakIdKeyDictionary()
"""Components that were found, by split, for as long as the split lives."""


@dataclass(frozen=True)
class Spectrum:
    """Mean [P] of the images, eigenvalues [P] of their covariance, falling, and vectors [P, P]."""

    mean: Tensor
    values: Tensor
    vectors: Tensor


@dataclass(frozen=True)
class Components:
    """Mean [P] of the images and the leading eigenvectors of their covariance, `basis` [P, d]."""

    mean: Tensor
    basis: Tensor

    def codes(self, x: Tensor) -> Tensor:
        """U^T (x - mu), float64 [B, d], of images x [B, *E]."""
        return (wide(x.flatten(1)) - self.mean) @ self.basis

    def reconstruct(self, x: Tensor) -> Tensor:
        """mu + U U^T (x - mu), float64 [B, *E], of images x [B, *E]; nothing is clipped."""
        return (self.mean + self.codes(x) @ self.basis.T).reshape(x.shape)

    def first(self, d: int) -> Components:
        """The first d of the components."""
        return Components(self.mean, self.basis[:, :d])


def wide(x: Tensor) -> Tensor:
    """`x` in float64, on the CPU where its device has none."""
    return x.cpu().double() if x.device.type == "mps" else x.double()


def spectrum(split: Split, *, narrow: bool = False) -> Spectrum:
    """The spectrum of the covariance (over N) of the images of `split`, in float64.

    `narrow` takes the products of a chunk in float32: half the time, and PCA's mean error the same
    to 1e-6. Of pixels that are drawn afresh with probabilities p it is that of the draws,
    Cov(p) + diag E[p (1 - p)]. Each eigenvector's largest entry is positive, so that equal data
    give equal signs.
    """
    mean, drawn = _moments(split)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.double, device=mean.device)
    for x in _chunks(split):
        centred = x - mean.to(x) if narrow else wide(x) - mean
        covariance += (centred.T @ centred).to(covariance)
    covariance /= len(split)
    covariance.diagonal().add_(drawn)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    return Spectrum(mean, values, _signed(vectors))


def components(split: Split, d: int) -> Components:
    """The first d principal components of the images of `split`, or all where there are fewer.

    Exact for images of up to `MOST_PIXELS`; of larger ones by subspace iteration from a fixed
    random start (Halko et al. 2011, algorithm 4.4), which reads the data 8 times, needs no P x P
    matrix, and ends within about 0.1 % of PCA's error. They are kept for as long as `split` lives.
    Of more than 200,000 images they are those of as many, a fixed random choice.
    """
    fits: dict[int, Components] = _FITS.setdefault(split, {})
    enough = [size for size in fits if size >= d]
    if not enough:
        exact = split.images[0].numel() <= MOST_PIXELS
        fits[d] = (_leading if exact else _searched)(_some(split), d)
        enough = [d]
    return fits[min(enough)].first(d)


def leading_values(split: Split, k: int) -> tuple[Tensor, float]:
    """The first k eigenvalues of the covariance of the images of `split`, and the sum of all.

    Exact for images of up to `MOST_PIXELS`; of larger ones those along `components`.
    """
    few = _some(split)
    if few.images[0].numel() <= MOST_PIXELS:
        values = spectrum(few, narrow=True).values
        return values[:k], float(values.sum())
    mean, drawn = _moments(few)
    basis = components(few, k).basis
    along = (drawn[:, None] * basis.square()).sum(0)
    total = float(drawn.sum())
    for x in _chunks(few):
        centred = wide(x) - mean
        along = along + (centred @ basis).square().sum(0) / len(few)
        total += float(centred.square().sum()) / len(few)
    return along, total


def _some(split: Split) -> Split:
    """`MOST_IMAGES` images of `split`, the same every time, or all where there are fewer."""
    if len(split) <= MOST_IMAGES:
        return split
    order = torch.randperm(len(split), generator=seeded("cpu", "images of principal components"))
    return split.take(order[:MOST_IMAGES].sort().values.to(split.images.device))


def _leading(split: Split, d: int) -> Components:
    found = spectrum(split, narrow=True)
    return Components(found.mean, found.vectors[:, :d].clone())


def _searched(split: Split, d: int) -> Components:
    """Subspace iteration with q = d + SPARE vectors, then the best d directions within them."""
    mean, drawn = _moments(split)
    q = min(d + SPARE, len(mean))
    start = torch.randn(len(mean), q, generator=seeded("cpu", "principal components"))
    basis = torch.linalg.qr(wide(start.to(mean.device)))[0]
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(_covariance_times(split, mean, drawn, basis))[0]
    within = basis.T @ _covariance_times(split, mean, drawn, basis)
    vectors = torch.linalg.eigh((within + within.T) / 2)[1].flip(1)
    return Components(mean, _signed(basis @ vectors[:, :d]))


def _covariance_times(split: Split, mean: Tensor, drawn: Tensor, basis: Tensor) -> Tensor:
    """The covariance times `basis` [P, q], with the products of a chunk in float32."""
    total = drawn[:, None] * basis
    for x in _chunks(split):
        centred, narrow = x - mean.to(x), basis.to(x)
        total = total + (centred.T @ (centred @ narrow)).to(total) / len(split)
    return total


def _moments(split: Split) -> tuple[Tensor, Tensor]:
    """Mean of the pixels, and the variance that drawing them afresh adds, float64 [P] each."""
    mean = sum((wide(x).sum(0) for x in _chunks(split)), start=torch.zeros(())) / len(split)
    if not split.resample:
        return mean, torch.zeros_like(mean)
    squares = sum((wide(x).square().sum(0) for x in _chunks(split)), start=torch.zeros(()))
    return mean, mean - squares / len(split)


def _chunks(split: Split) -> Iterator[Tensor]:
    """The pixels of all images, float32 [B, P] at a time."""
    size = max(1, min(CHUNK, CHUNK_PIXELS // split.images[0].numel()))
    for i in range(0, len(split), size):
        yield split.pixels(slice(i, i + size)).flatten(1)


def _signed(vectors: Tensor) -> Tensor:
    """`vectors` [P, d] with the largest entry of each made positive."""
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return vectors * largest.sign()
