"""Whether the dimensions of the code are the factors that the images were made from.

Letters: N images, D latent dimensions, F factors, V values of a factor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_run.evaluation.base import metric
from vae_run.evaluation.codes import Points, expected_codes, few

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

Numbers = NDArray[np.int64]

MOST_IMAGES = 10_000
"""Images of the split, and training images, taken at most."""
BINS = 20
"""Bins of a latent dimension in the mutual information, as in Locatello et al. 2019."""
TREES, LEAF, TREE_IMAGES = 20, 20, 5000
"""Trees of a forest, images in a leaf at least, and training images that it sees at most."""
VOTES, GROUP = 5000, 64
"""Votes of the FactorVAE score, to learn from and to judge each, and images to a vote."""
SEED = 0
ROUNDING = 2e-5
"""Standard deviation of a constant, relative to its size, that float32 may give it."""


@dataclass(frozen=True)
class Known:
    """Codes [N, D] and factors [N, F], each the number of a value from 0."""

    codes: Points
    factors: Numbers


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    dataset = settings.classes["dataset"]
    if not dataset.known_factors:
        yield (
            f"{dataset.__name__} does not tell the factors that its images were made from. Use "
            "dataset=sprites."
        )
    if settings.fixed.latent_dim < 2:
        yield "latent_dim: found 1, and a gap is one between two dimensions. Use 2 or more."


@metric(conflicts=_conflicts, of_codes=True)
def disentanglement(view: View) -> dict[str, float]:
    """`mig`, `sap`, `factor_vae_score`, `dci_disentanglement`, `dci_completeness_weighted`,
    `dci_completeness_unweighted` and `dci_informativeness`, each at most 1 and higher where
    dimensions and factors correspond.

    Of the expected codes E_q[z], including dimensions that the decoder ignores, as in Locatello et
    al. 2019. What must be learned is learned on the training split, the importances of DCI there
    alone. Nothing where the factors are not known, and for a code of one dimension; a factor with
    one value is left out.
    """
    train, split = view.train, view.split
    if train is None or train.factors is None or split.factors is None or view.latent_dim < 2:
        return {}
    seen, judged = _known(replace(view, split=train, limit=None)), _known(view)
    kept = [
        k
        for k in range(judged.factors.shape[1])
        if min(len(np.unique(known.factors[:, k])) for known in (seen, judged)) > 1
    ]
    if not kept or not (np.isfinite(seen.codes).all() and np.isfinite(judged.codes).all()):
        return {}
    seen, judged = (Known(known.codes, known.factors[:, kept]) for known in (seen, judged))
    unordered = [place for place, k in enumerate(kept) if k in split.unordered]
    return {
        "mig": mig(judged),
        "sap": sap(seen, judged, unordered),
        "factor_vae_score": factor_vae_score(seen, judged),
        **dci(seen, judged, unordered),
    }


def _known(view: View) -> Known:
    view = few(view, MOST_IMAGES)
    assert view.split.factors is not None
    return Known(expected_codes(view), view.split.factors.cpu().numpy())


def mig(known: Known) -> float:
    """Mutual information gap (Chen et al. 2018, eq. 6).

    1/F sum_k (I(z_j; v_k) - max_{j' != j} I(z_j'; v_k)) / H(v_k), j the most informative dimension.
    I is that of counts in 20 equal bins between a dimension's extremes, with a bias upwards that is
    about the same for all dimensions. A factor of more than 20 values cannot reach 1.
    """
    information, entropies = mutual_information(known)
    highest = np.sort(information, axis=0)
    return float(((highest[-1] - highest[-2]) / entropies).mean())


def mutual_information(known: Known) -> tuple[Points, Points]:
    """I(z_j; v_k) [D, F] of binned dimensions, and H(v_k) [F], in nats."""
    columns = known.factors.T
    found = [[_information(_binned(code), column) for column in columns] for code in known.codes.T]
    return np.array(found), np.array([_information(column, column) for column in columns])


def _binned(code: Points) -> Numbers:
    return np.digitize(code, np.histogram_bin_edges(code, BINS)[1:-1])


def _information(a: Numbers, b: Numbers) -> float:
    """The mutual information of two columns of numbers from 0, in nats."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / independent[some])).sum())


def sap(seen: Known, judged: Known, unordered: Collection[int] = ()) -> float:
    """Separated attribute predictability (Kumar et al. 2018, section 3).

    Mean over factors of the gap between the two dimensions that alone predict it best: by the
    squared correlation with a factor that is a quantity; for one in `unordered`, by the balanced
    accuracy of thresholds on the dimension.
    """
    gaps = []
    for k in range(judged.factors.shape[1]):
        if k in unordered:
            scores = [_threshold_accuracy(seen, judged, j, k) for j in range(judged.codes.shape[1])]
        else:
            scores = [_squared_correlation(code, judged.factors[:, k]) for code in judged.codes.T]
        scores.sort()
        gaps.append(scores[-1] - scores[-2])
    return float(np.mean(gaps))


def _squared_correlation(code: Points, factor: Numbers) -> float:
    code, centred = code - code.mean(), factor - factor.mean()
    norm = (code @ code) * (centred @ centred)
    return float((code @ centred) ** 2 / norm) if norm > 0 else 0.0


def _threshold_accuracy(seen: Known, judged: Known, j: int, k: int) -> float:
    """Of factor k by V - 1 thresholds on dimension j: the mean over values of the share found."""
    from sklearn.tree import DecisionTreeClassifier

    values = len(np.unique(seen.factors[:, k]))
    tree = DecisionTreeClassifier(
        max_leaf_nodes=values, class_weight="balanced", random_state=SEED
    ).fit(seen.codes[:, [j]], seen.factors[:, k])
    factor = judged.factors[:, k]
    right = tree.predict(judged.codes[:, [j]]) == factor
    return float(np.mean([right[factor == value].mean() for value in np.unique(factor)]))


def dci(seen: Known, judged: Known, unordered: Collection[int] = ()) -> dict[str, float]:
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018, section 2).

    R [D, F] are the importances of the dimensions to a random forest that predicts a factor; one
    that classifies for a factor in `unordered`, else a regression. Disentanglement is the mean over
    dimensions, weighted by their share of R, of 1 - H_F(R_j / sum R_j), completeness the mean over
    factors of 1 - H_D(R_k / sum R_k), where H_n is the entropy with base n. Its weighted mean, by
    the factors' shares of R, is what the code of Locatello et al. 2019 computes, and papers since;
    Eastwood & Williams have the unweighted one. Informativeness is the mean over factors of the
    forests' R^2, not below 0, or share of values told right.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    choice = np.random.default_rng(SEED).permutation(len(seen.codes))[:TREE_IMAGES]
    importances, informativeness = [], []
    for k in range(seen.factors.shape[1]):
        kind = RandomForestClassifier if k in unordered else RandomForestRegressor
        # Every dimension competes for every cut: else those that say nothing are used as well.
        forest = kind(TREES, min_samples_leaf=LEAF, max_features=None, random_state=SEED)
        forest.fit(seen.codes[choice], seen.factors[choice, k])
        importances.append(forest.feature_importances_)
        informativeness.append(max(0.0, float(forest.score(judged.codes, judged.factors[:, k]))))
    relevance = np.array(importances).T
    return {
        "dci_disentanglement": specialisation(relevance),
        "dci_completeness_weighted": specialisation(relevance.T),
        "dci_completeness_unweighted": specialisation(relevance.T, weighted=False),
        "dci_informativeness": float(np.mean(informativeness)),
    }


def specialisation(relevance: Points, *, weighted: bool = True) -> float:
    """Mean over the rows of R [A, B] of 1 - H(R_a / sum R_a) / log B, weighted by sum R_a.

    A row of zeros counts 0. With one column every row is special.
    """
    totals = relevance.sum(1)
    shares = relevance / np.where(totals > 0, totals, 1)[:, None]
    logs = np.log(np.where(shares > 0, shares, 1))
    special = 1 + (shares * logs).sum(1) / np.log(max(2, relevance.shape[1]))
    weights = totals if weighted else np.ones_like(totals)
    special = np.where(totals > 0, special, 0)
    return float((weights * special).sum() / weights.sum()) if weights.sum() > 0 else 0.0


def factor_vae_score(seen: Known, judged: Known) -> float:
    """The metric of Kim & Mnih 2018, section 3: a share of votes, about 1 / F for random codes.

    A vote is on a factor k and up to 64 images with one value of it: the dimension whose variance
    among them, over that among all, is least. Each dimension stands for the factor that most of
    the votes for it among training images are on; the score is the share of votes, on images of
    the split, that come from the factor that their dimension stands for.
    """
    spread = seen.codes.std(0)
    # A constant that was computed in float32 varies by rounding, which is no information.
    alive = spread > np.maximum(1e-6 * spread.max(), ROUNDING * np.abs(seen.codes.mean(0)))
    if not alive.any():
        return 0.0
    tables = []
    for stream, known in enumerate((seen, judged)):
        votes = _votes(known.codes[:, alive] / spread[alive], known.factors, (SEED, stream))
        tables.append(votes)
    stands_for = tables[0].argmax(1)
    right = tables[1][np.arange(len(stands_for)), stands_for].sum()
    return float(right / tables[1].sum())


def _votes(codes: Points, factors: Numbers, seed: tuple[int, int]) -> Points:
    """How many of the votes on each factor were for each dimension, [D, F]."""
    random = np.random.default_rng(seed)
    groups: dict[tuple[int, int], Any] = {
        (k, value): np.flatnonzero(factors[:, k] == value)
        for k in range(factors.shape[1])
        for value in np.unique(factors[:, k]).tolist()
    }
    votes = np.zeros((codes.shape[1], factors.shape[1]))
    for image, k in zip(
        random.integers(len(codes), size=VOTES).tolist(),
        random.integers(factors.shape[1], size=VOTES).tolist(),
        strict=True,
    ):
        group = groups[k, int(factors[image, k])]
        if len(group) > 1:
            alike = codes[random.choice(group, min(GROUP, len(group)), replace=False)]
            votes[alike.var(0, ddof=1).argmin(), k] += 1
    return votes
