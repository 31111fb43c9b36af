"""What the codes tell of the classes: two classifiers, and clusters found without labels.

Letters: N images, D latent dimensions, P pixels of an image.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.corruptions import NoCorruption
from vae_run.data.batches import NOISE_CHUNK, seeded
from vae_run.data.splits import Split
from vae_run.evaluation.base import metric
from vae_run.evaluation.principal_components import Components, components

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

MOST_TRAIN = 60_000
"""Training images that classifiers are fitted to at most."""
NEIGHBOURS = 5
ITERATIONS = 200
"""Of the logistic regression, at most."""
STARTS = 10
"""Of k-means; the best ends up as the clustering."""

Codes = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts, as far as that is known without the data."""
    if "label" in settings.fixed.conditions:
        yield "with condition=label the encoder is told the class. Use condition=null."
    kept = settings.parts["dataset"].get("classes")
    if kept is not None and len(set(kept)) == 1:
        yield f"dataset.classes={kept} leaves one class, and there is nothing to tell apart."


@metric(conflicts=_conflicts, of_codes=True)
def usefulness(view: View) -> dict[str, float]:
    """Accuracies in [0, 1] of classifiers on codes, beside PCA's, and agreement of clusters.

    `knn_accuracy` is that of the majority of the 5 nearest training codes, `probe_accuracy` that
    of a logistic regression (L2, C = 1) on standardised codes; both are fitted to the training
    split, to 60,000 images of it at most, chosen with a fixed seed. `pca_...` is the same with as
    many principal components of the training images. `nmi` (over the arithmetic mean of the
    entropies) and `ari` compare the classes with the clusters of k-means, as many as there are
    classes, among the codes of this split itself.

    A code is `q.mean` of the clean image, as `task=encode` gives it, and not E_q[z]: of a von
    Mises-Fisher posterior it has length 1. Nothing without
    labels or with a single class, or where the label is given to the encoder.
    """
    train = view.train
    if train is None or train.labels is None or view.split.labels is None:
        return {}
    if view.model.labels is not None or bool((train.labels == train.labels[0]).all()):
        return {}
    few = chosen(train, MOST_TRAIN)
    principal = components(train, view.latent_dim)
    fitted, known = means(replace(view, split=few, limit=None), principal)
    asked, truth = means(view, principal)
    if not all(np.isfinite(codes).all() for codes in (*fitted.values(), *asked.values())):
        return {}
    found = {}
    for prefix, codes in asked.items():
        found[f"{prefix}knn_accuracy"] = knn(fitted[prefix], known, codes, truth)
        found[f"{prefix}probe_accuracy"] = probe(fitted[prefix], known, codes, truth)
    return found | clusters(asked[""], truth)


def chosen(split: Split, most: int) -> Split:
    """`most` images of `split`, the same every time, or all where there are fewer."""
    if len(split) <= most:
        return split
    order = torch.randperm(len(split), generator=seeded("cpu", "images to fit to"))
    return split.take(order[:most].sort().values.to(split.images.device))


def means(view: View, principal: Components) -> tuple[dict[str, Codes], Labels]:
    """Of the clean images: the codes `q.mean` [N, D] as "", principal ones as "pca_"; the labels.

    The images go through the encoder in batches of one size, whatever `view.batch_size` is, since
    an image on the border between two classes changes sides for a last digit.
    """
    clean = replace(view, corruption=NoCorruption(), batch_size=NOISE_CHUNK)
    own, linear, labels = [], [], list[Tensor]()
    for batch in clean.batches():
        q = view.model.given(batch.given).encode(batch.target)
        own.append(q.mean.float().cpu())
        linear.append(principal.codes(batch.target).cpu())
        assert batch.label is not None
        labels.append(batch.label.cpu())
    codes = {"": torch.cat(own).numpy(), "pca_": torch.cat(linear).numpy()}
    return codes, torch.cat(labels).numpy()


def knn(fitted: Codes, known: Labels, asked: Codes, truth: Labels) -> float:
    """The accuracy of the majority among the nearest; of a tie, the smallest label."""
    from sklearn.neighbors import KNeighborsClassifier

    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(fitted)), algorithm="brute")
    return float(neighbours.fit(fitted, known).score(asked, truth))


def probe(fitted: Codes, known: Labels, asked: Codes, truth: Labels) -> float:
    """The accuracy of a multinomial logistic regression on standardised codes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(fitted.astype(np.float64), known)
    return float(regression.score(asked.astype(np.float64), truth))


def clusters(codes: Codes, truth: Labels) -> dict[str, float]:
    """`nmi` and `ari` of k-means with a fixed seed; nothing for a single class."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    classes = len(np.unique(truth))
    if not 2 <= classes <= len(np.unique(codes, axis=0)):
        return {}
    found = KMeans(classes, n_init=STARTS, random_state=0).fit_predict(codes.astype(np.float64))
    return {
        "nmi": float(normalized_mutual_info_score(truth, found)),
        "ari": float(adjusted_rand_score(truth, found)),
    }
