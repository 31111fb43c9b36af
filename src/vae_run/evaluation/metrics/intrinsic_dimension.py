"""How many dimensions the images, and their codes, fill locally: two estimates from neighbours.

Letters: N points, P coordinates of a point, K neighbours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.evaluation.view import View

MOST_IMAGES = 10_000
"""Images taken at most: the time grows with their square."""
MOST_NUMBERS = 2**27
"""Pixels taken at most, of all images together: half a gigabyte."""
DISCARDED = 0.1
"""The share of points with the largest ratios, where the density is not constant, left out."""

COUNTS = (5, 10, 20)
"""Neighbours k that the maximum-likelihood estimate is made from."""

Points = NDArray[np.floating[Any]]


@metric(of_codes=True)
def intrinsic_dimension(view: View) -> dict[str, float]:
    """`data_twonn` of the clean images and `codes_twonn` of their codes `q.mean`, and `..._mle_k`.

    The latter is `mle` with k = 5, 10 and 20 neighbours. Of 10,000 images of the split at most,
    evenly spaced. Nothing where it cannot be told: for fewer than three different points (k + 1 of
    them), or points at equal distances.
    """
    pixels = view.split.images[0].numel()
    few = replace(view, limit=max(3, min(MOST_IMAGES, MOST_NUMBERS // pixels)))
    images, codes = [], []
    for batch in few.batches():
        images.append(batch.target.flatten(1).cpu().numpy())
        code = view.model.given(batch.given).encode(batch.input).mean
        codes.append(code.float().cpu().numpy())
    found: dict[str, float | None] = {}
    for name, points in (("data", images), ("codes", codes)):
        apart = distances(np.concatenate(points), max(COUNTS))
        found[f"{name}_twonn"] = _twonn(apart)
        found |= {f"{name}_mle_{k}": _mle(apart, k) for k in COUNTS}
    return {name: value for name, value in found.items() if value is not None}


def distances(points: Points, most: int) -> Points:
    """The distances of each of the different points to its nearest others, rising, [N, K].

    K is `most`, or as many as there are others; [0, 0] where points are not finite. Points too
    near to be told apart in floating point, at distance 0, are left out.
    """
    from sklearn.neighbors import NearestNeighbors

    points = np.unique(points, axis=0)
    if len(points) < 2 or not np.isfinite(points).all():
        return np.empty((0, 0))
    search = NearestNeighbors(n_neighbors=min(most, len(points) - 1))
    found: Points = search.fit(points).kneighbors()[0]
    return found[found[:, 0] > 0]


def twonn(points: Points) -> float | None:
    """The intrinsic dimension of points [N, P] (Facco et al. 2017, Scientific Reports 7, 12140).

    mu = r2 / r1, the ratio of a point's distances to its second and its first neighbour, has the
    distribution F(mu) = 1 - mu^-d wherever the density is constant up to r2, so that d is the
    slope of -log(1 - F(mu)) over log mu, a line through the origin. F is estimated as i / N for
    the ratios in rising order, i from 0; the largest tenth is left out. Points that occur more
    than once count once. The standard error is about d / sqrt(N).
    """
    return _twonn(distances(points, 2))


def _twonn(apart: Points) -> float | None:
    if apart.shape[1] < 2:
        return None
    first, second = apart[:, 0], apart[:, 1]
    kept = int(len(first) * (1 - DISCARDED))
    x = np.sort(np.log(second / first))[:kept]
    y = -np.log1p(-np.arange(kept) / max(1, len(first)))
    norm = float(x @ x)
    return float(x @ y) / norm if norm > 0 else None


def mle(points: Points, k: int) -> float | None:
    """The maximum-likelihood dimension of points [N, P] from k neighbours of each.

    Around a point it is 1 / m with m = 1 / (k - 1) sum_{j < k} log(r_k / r_j), r_j its distance to
    the j-th neighbour (Levina & Bickel 2004, eq. 8). Over points it is 1 over the mean of m, which
    is what maximises their joint likelihood (MacKay & Ghahramani 2005), and not the mean of 1 / m.
    """
    return _mle(distances(points, k), k)


def _mle(apart: Points, k: int) -> float | None:
    if apart.shape[1] < k:
        return None
    mean = float(np.log(apart[:, k - 1 : k] / apart[:, : k - 1]).mean()) if len(apart) else 0.0
    return 1 / mean if mean > 0 else None
