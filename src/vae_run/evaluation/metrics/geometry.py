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
    """Trustworthiness and continuity of the map from points [N, P] to [N, D], by scikit-learn.

    The trustworthiness (Venna & Kaski 2001) is
    1 - 2 / (N k (2N - 3k - 1)) sum_i sum_j (r(i, j) - k), where j runs over those of the k
    neighbours of i on the map that are not among its k true ones, and r is their true rank. The
    continuity is the same with points and map exchanged: how far true neighbours stay together.
    The order of neighbours at equal distances is arbitrary.
    """
    from sklearn.manifold import trustworthiness

    k = min(NEIGHBOURS, (len(points) - 1) // 2)
    both = ((points, mapped), (mapped, points))
    first, second = (float(trustworthiness(a, b, n_neighbors=k)) for a, b in both)
    return first, second
