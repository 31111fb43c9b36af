"""Whether neighbours among the images are neighbours among the codes, and the other way round.

Letters: N images, P pixels of an image, D latent dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vae_run.evaluation.base import metric
from vae_run.evaluation.codes import Points, expected_codes, few
from vae_run.evaluation.principal_components import components

if TYPE_CHECKING:
    from vae_run.evaluation.view import View

MOST_IMAGES = 2000
"""Images taken at most: memory and the time of t-SNE grow with their square."""
MOST_NUMBERS = 2**26
"""Pixels taken at most, of all images together: half a gigabyte."""
NEIGHBOURS = 12
PERPLEXITY = 30.0
SEED = 0
ROUNDING = 1e-12
"""Difference of squared distances, relative to the largest, that rounding may leave."""


@metric(of_codes=True)
def geometry(view: View) -> dict[str, float]:
    """`trustworthiness` and `continuity` of the expected codes E_q[z], 1 at best.

    `pca_...` is that of as many principal components of the training images; with two latent
    dimensions `tsne_...` is that of t-SNE (van der Maaten & Hinton 2008; perplexity 30, from
    scikit-learn), which is fitted to these very images. Of 2,000 clean images at most, a fixed
    random choice from the split, by Euclidean distance, with 12 neighbours each, or as many as are
    fewer than half of the images. Nothing for fewer than 4 images.
    """
    view = few(view, min(MOST_IMAGES, MOST_NUMBERS // view.split.images[0].numel()))
    codes = expected_codes(view)
    if view.size < 4 or not np.isfinite(codes).all():
        return {}
    images = torch.cat([batch.target.cpu() for batch in view.batches()])
    pixels = images.flatten(1).double().numpy()
    maps = {"": codes}
    if view.train is not None and view.latent_dim <= pixels.shape[1]:
        found = components(view.train, view.latent_dim)
        maps["pca_"] = found.codes(images.to(found.mean.device)).cpu().numpy()
    if view.latent_dim == 2:
        maps["tsne_"] = tsne(pixels)
    numbers = {}
    for name, points in maps.items():
        both = kept(pixels, points)
        numbers[f"{name}trustworthiness"], numbers[f"{name}continuity"] = both
    return numbers


def tsne(points: Points) -> Points:
    """The t-SNE map [N, 2] of points [N, P], the same every time."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    found: Points = TSNE(perplexity=perplexity, random_state=SEED).fit_transform(points)
    return found.astype(np.float64)


def kept(points: Points, mapped: Points) -> tuple[float, float]:
    """Trustworthiness and continuity of the map from points [N, P] to [N, D].

    The trustworthiness (Venna & Kaski 2001) is
    1 - 2 / (N k (2N - 3k - 1)) sum_i sum_j (r(i, j) - k), where j runs over those of the k
    neighbours of i on the map that are not among its k true ones, and r is their true rank. The
    continuity is the same with points and map exchanged: how far true neighbours stay together.
    r is 1 more than the number of points nearer to i, so that data with ties are a trustworthy map
    of themselves; the order of neighbours at equal distances on the map is arbitrary.
    """
    k = min(NEIGHBOURS, (len(points) - 1) // 2)
    apart, on_map = _distances(points), _distances(mapped)
    return _trustworthiness(apart, on_map, k), _trustworthiness(on_map, apart, k)


def _distances(points: Points) -> Points:
    """Squared distances [N, N]; what rounding leaves between equal points is 0, to itself -1."""
    centred = points - points.mean(0)
    lengths = np.square(centred).sum(1)
    squares: Points = lengths[:, None] + lengths - 2 * centred @ centred.T
    squares[squares < ROUNDING * lengths.max()] = 0
    np.fill_diagonal(squares, -1)
    return squares


def _trustworthiness(apart: Points, on_map: Points, k: int) -> float:
    """Of squared distances [N, N] of the points, and of the points on the map."""
    n, penalty = len(apart), 0
    neighbours = on_map.argsort(1, kind="stable")[:, 1 : k + 1]
    tolerance = ROUNDING * float(apart.max())
    for row, found in zip(np.sort(apart, 1), np.take_along_axis(apart, neighbours, 1), strict=True):
        ranks = np.searchsorted(row, found - tolerance)  # the point itself is one of those below
        penalty += int(np.maximum(ranks - k, 0).sum())
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))
