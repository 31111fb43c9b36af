"""How images made from the prior compare with those of a split, in features of a random network.

Letters: N images, P features, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run.evaluation.base import metric
from vae_run.evaluation.codes import few
from vae_run.evaluation.metrics.reconstruction import in_unit_interval
from vae_run.evaluation.random_features import RandomConv
from vae_run.evaluation.samples import generated

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

MOST_IMAGES = 10_000
"""Images of the split, and as many samples, taken at most."""
LEAST_IMAGES = 6
"""Each needs five neighbours."""
OPEN = 1 - 1e-10
"""Factor on squared radii, so that rounding does not put a point on a ball's border inside it."""
ROWS = 256
"""Rows of a matrix of distances held at once."""


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    if not settings.classes["prior"].proper:
        yield "a flat prior has no samples. Use prior=standard_normal."


@metric(conflicts=_conflicts, of_codes=True)
def generation(view: View) -> dict[str, float]:
    """`frechet_random_conv`, and `precision_`, `recall_`, `density_`, `coverage_random_conv`.

    Between N images of the split and as many samples, of which `generated_images` tells: means of
    p(x|z), or binary draws where pixels are binary (`generated`), z from the prior or what was
    fitted to the codes, of a conditional model with the images' labels. Features are those of
    `RandomConv`, in units of their root mean variance among N training images;
    `frechet_random_conv_train` is the distance of these from the split: what a perfect model
    reaches with so few images. Distances of different N, data or features cannot be compared.
    Nothing without a density to sample codes from, for vectors, fewer than 6 images, or pixels that
    leave [0, 1], where samples are clipped.
    """
    if view.train is None or not view.model.prior.ready or len(view.split.event_shape) != 3:
        return {}
    if not (in_unit_interval(view.split) and in_unit_interval(view.train)):
        return {}
    judged = few(view, MOST_IMAGES)
    seen = few(replace(view, split=view.train, limit=None), judged.size)
    if min(judged.size, seen.size) < LEAST_IMAGES:
        return {}
    network = RandomConv(view.split.event_shape[0]).to(view.split.device)
    real, train = (_features(network, (b.target for b in v.batches())) for v in (judged, seen))
    fake = _features(network, generated(judged))
    unit = train.var(0).mean().sqrt().clamp(min=1e-12)
    real, train, fake = real / unit, train / unit, fake / unit
    return {
        "frechet_random_conv": frechet(real, fake),
        "frechet_random_conv_train": frechet(real, train),
        **{f"{name}_random_conv": value for name, value in overlap(real, fake).items()},
        "generated_images": float(len(fake)),
    }


def _features(network: RandomConv, images: Iterator[Tensor]) -> Tensor:
    """Features [N, P] of batches of images, whose pixels are clipped to [0, 1], in float64."""
    return torch.cat([network(x.float().clamp(0, 1)).cpu().double() for x in images])


def frechet(a: Tensor, b: Tensor) -> float:
    """The squared Frechet distance of Gaussians with the moments of a [N, P] and b [M, P].

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Dowson & Landau 1982; Heusel et al. 2017),
    where the covariances S are over N - 1.
    """
    s_a, s_b = (torch.cov(x.T).reshape(x.shape[1], x.shape[1]) for x in (a, b))
    values, vectors = torch.linalg.eigh(s_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    # The eigenvalues of S_a S_b are those of the symmetric S_a^(1/2) S_b S_a^(1/2).
    cross = torch.linalg.eigvalsh(root @ s_b @ root).clamp(min=0).sqrt().sum()
    shift = (a.mean(0) - b.mean(0)).square().sum()
    return max(0.0, float(shift + s_a.trace() + s_b.trace() - 2 * cross))


def overlap(real: Tensor, fake: Tensor) -> dict[str, float]:
    """`precision`, `recall`, `density` and `coverage` of features [N, P] and [M, P].

    Precision is the share of fake images that lie nearer to some real one than its third
    neighbour among the real, recall the share of real images that lie so among the fake
    (Kynkaanniemi et al. 2019, eqs. 1 and 2). Density is the mean over fake images of how many real
    ones have them nearer than their fifth neighbour, over 5, which may exceed 1; coverage is the
    share of real images that have a fake one that near (Naeem et al. 2020, eqs. 4 and 5). Balls are
    open, as in the code of Naeem et al., so that a copy of the real images has a density of 1.
    """
    centre = real.mean(0)
    real, fake = real - centre, fake - centre
    narrow, wide, around_fake = (OPEN * _radii(x, k) for x, k in ((real, 3), (real, 5), (fake, 3)))
    precise = torch.zeros(len(fake), dtype=torch.bool)
    recalled, covered, hits = 0.0, 0.0, 0.0
    for i in range(0, len(real), ROWS):
        rows = slice(i, i + ROWS)
        apart = _distances(real[rows], fake)
        precise |= (apart < narrow[rows, None]).any(0)
        recalled += float((apart < around_fake).any(1).sum())
        near = apart < wide[rows, None]
        covered, hits = covered + float(near.any(1).sum()), hits + float(near.sum())
    return {
        "precision": float(precise.double().mean()),
        "recall": recalled / len(real),
        "density": hits / (5 * len(fake)),
        "coverage": covered / len(real),
    }


def _radii(points: Tensor, k: int) -> Tensor:
    """The squared distance of each of the points [N, P] to its k-th neighbour, [N]."""
    pieces = torch.split(points, ROWS)
    found = [_distances(rows, points).kthvalue(k + 1, dim=1).values for rows in pieces]
    return torch.cat(found)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances [N, M]; what rounding leaves between equal points is 0."""
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    squares = torch.addmm(lengths, a, b.T, alpha=-2)
    return squares.mul_(squares > 1e-12 * lengths)
