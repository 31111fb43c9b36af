"""Whether neighbours among the images are neighbours among the codes, and the other way round.

Letters: N images, P pixels of an image, D latent dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.evaluation.base import metric
from vae_run.evaluation.codes import Points, few, means
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

Ranks = NDArray[np.integer[Any]]


@metric()
def geometry(view: View) -> dict[str, float]:
    """`trustworthiness` and `continuity` of the codes (posterior means), 1 at best.

    `pca_...` is that of as many principal components of the training images; with two latent
    dimensions `tsne_...` is that of t-SNE (van der Maaten & Hinton 2008; perplexity 30, from
    scikit-learn), which is fitted to these very images. Of 2,000 clean images at most, a fixed
    random choice from the split, by Euclidean distance, with 12 neighbours each, or as many as are
    fewer than half of the images. Nothing for fewer than 4 images.
    """
    view = few(view, min(MOST_IMAGES, MOST_NUMBERS // view.split.images[0].numel()))
    codes = means(view)
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
    seen = ranks(pixels)
    numbers = {}
    for name, points in maps.items():
        mapped = ranks(points)
        numbers[f"{name}trustworthiness"] = trustworthiness(seen, mapped)
        numbers[f"{name}continuity"] = trustworthiness(mapped, seen)
    return numbers


def tsne(points: Points) -> Points:
    """The t-SNE map [N, 2] of points [N, P], the same every time."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    found: Points = TSNE(perplexity=perplexity, random_state=SEED).fit_transform(points)
    return found.astype(np.float64)


def ranks(points: Points) -> Ranks:
    """Which neighbour j is of i, [N, N], by distance from 1 on; i itself is 0."""
    points = points - points.mean(0)
    lengths = np.square(points).sum(1)
    squares = lengths[:, None] + lengths - 2 * points @ points.T
    np.fill_diagonal(squares, -np.inf)
    order = squares.argsort(1, kind="stable")
    found = np.empty(order.shape, dtype=np.int32)
    np.put_along_axis(found, order, np.arange(len(points), dtype=np.int32)[None], axis=1)
    return found


def trustworthiness(true: Ranks, mapped: Ranks) -> float:
    """How far the neighbours on a map are the true ones (Venna & Kaski 2001).

    1 - 2 / (N k (2N - 3k - 1)) sum_i sum_j (r(i, j) - k), where j runs over those of the k
    neighbours of i on the map that are not among its k true ones, and r is their true rank.
    With the arguments exchanged it is the continuity: how far true neighbours stay together.
    """
    n = len(true)
    k = min(NEIGHBOURS, (n - 1) // 2)
    false_friends = (mapped > 0) & (mapped <= k) & (true > k)
    penalty = float((true[false_friends] - k).sum())
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))
