"""Published numbers, and the experiments of `conf/experiment` that reproduce them.

Values are means over images, in nats per image where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

WITHIN = 0.3
"""Nats within which a value agrees where the source tells no error."""


@dataclass(frozen=True)
class Expected:
    """A published value.

    Attributes:
        value: the value itself.
        error: its published error; None: none is told.
    """

    value: float
    error: float | None = None


@dataclass(frozen=True)
class Reproduction:
    """An experiment and what is expected of it.

    Attributes:
        experiment: its name; `vae-run -m experiment=NAME` runs it.
        title: what is measured.
        quantity: the column of `sweep.csv`.
        source: where the expected values stand.
        groups: the name of each group of runs that differ in their seeds alone, and its values of
            swept keys.
        expected: the published value of each group; a group that has none is told without.
        within: the difference from then on which a value without a published error differs.
        pooled: swept keys over whose values each seed's mean is taken.
        claim: whether the groups' means are as the source says, where it gives no numbers.
    """

    experiment: str
    title: str
    quantity: str
    source: str
    groups: Mapping[str, Mapping[str, str]]
    expected: Mapping[str, Expected] = field(default_factory=dict)
    within: float = WITHIN
    pooled: tuple[str, ...] = ()
    claim: Callable[[Mapping[str, float]], bool] | None = None


def _svae_groups() -> dict[str, dict[str, str]]:
    normal = {
        f"normal, d = {d}": {"model": "vae", "latent_dim": str(d)} for d in (2, 5, 10, 20, 40)
    }
    return normal | {
        f"hyperspherical, d = {d}": {"model": "hyperspherical_vae", "latent_dim": str(d + 1)}
        for d in (2, 5, 10, 20, 40)
    }


SVAE_TABLE = {
    "normal, d = 2": Expected(-135.73, 0.83),
    "normal, d = 5": Expected(-110.21, 0.21),
    "normal, d = 10": Expected(-93.84, 0.30),
    "normal, d = 20": Expected(-88.90, 0.26),
    "normal, d = 40": Expected(-88.93, 0.30),
    "hyperspherical, d = 2": Expected(-132.50, 0.73),
    "hyperspherical, d = 5": Expected(-108.43, 0.09),
    "hyperspherical, d = 10": Expected(-93.16, 0.31),
    "hyperspherical, d = 20": Expected(-89.02, 0.31),
    "hyperspherical, d = 40": Expected(-90.87, 0.34),
}
"""log p(x) in Table 1 of Davidson et al. 2018, as two public reproductions quote it independently:
the notebook of github.com/raphaelrubrice/HVAE, and a script that has the errors too."""


def rises_and_does_not_overfit(bounds: Mapping[str, float]) -> bool:
    """Whether the bound rises up to 20 dimensions, and 200 lose at most 1 nat to them."""
    *rising, last = bounds.values()
    return all(low < high for low, high in pairwise(rising)) and last > rising[-1] - 1.0


def spheres_are_better_in_few_dimensions(means: Mapping[str, float]) -> bool:
    """Whether hyperspherical codes win for d = 2, 5 and 10, and normal ones for d = 40."""
    gain = {
        d: means[f"hyperspherical, d = {d}"] - means[f"normal, d = {d}"] for d in (2, 5, 10, 40)
    }
    return gain.pop(40) < 0.0 < min(gain.values())


REPRODUCTIONS = (
    Reproduction(
        "ppca",
        "MNIST, 10 dimensions: log p(x) of probabilistic PCA",
        "test/log_likelihood",
        "scikit-learn's `PCA(10).score` on the same images (Tipping & Bishop 1999)",
        {"closed form": {}},
        within=186.024 * 1e-6,
    ),
    Reproduction(
        "linear_vae",
        "the same by gradient descent on the ELBO of a linear VAE",
        "test/log_likelihood",
        "the closed form (Lucas et al. 2019: there is no other maximum)",
        {"three seeds": {}},
    ),
    Reproduction(
        "aevb_curves",
        "grey MNIST: lower bound after 5e6 images",
        "test/elbo",
        "Kingma & Welling 2014, Figure 2: rises up to 20 dimensions, 200 do not overfit",
        {f"{d} dimensions": {"latent_dim": str(d)} for d in (3, 5, 10, 20, 200)},
        claim=rises_and_does_not_overfit,
    ),
    Reproduction(
        "svae_table1",
        "dynamically binarized MNIST: log p(x), 500 samples",
        "test/log_likelihood",
        "Davidson et al. 2018, Table 1",
        _svae_groups(),
        SVAE_TABLE,
        claim=spheres_are_better_in_few_dimensions,
    ),
    Reproduction(
        "static_mnist_vae",
        "statically binarized MNIST, 40 dimensions: log p(x), 200 samples",
        "test/log_likelihood",
        "Rezende & Mohamed 2015, Table 2 (pythae's reproduction: -89.78)",
        {"three seeds": {}},
        {"three seeds": Expected(-89.9)},
    ),
    Reproduction(
        "one_class",
        "one-class MNIST: mean AUROC over the ten digits, setting chosen on val",
        "test/mse_auroc",
        "Ruff et al. 2018, Table 1: Deep SVDD .948",
        {"ten digits": {}},
        {"ten digits": Expected(0.948)},
        within=0.005,
        pooled=("dataset.classes",),
    ),
)
