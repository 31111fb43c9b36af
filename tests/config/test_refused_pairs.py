"""Parts that make no model together are refused by name, before any data are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from parts import composed

from vae_run.config.check import check
from vae_run.data.dataset import Dataset

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Run

REFUSED = [
    # typed, how the message begins, what it tells to do
    ("posterior=delta", "objective: an ELBO needs a posterior with a density", "posterior=normal"),
    (
        "model=ae objective=iwae",
        "objective: an ELBO needs a posterior with a density",
        "objective=reconstruction",
    ),
    (
        "prior=spherical",
        "prior=spherical: is bounded, codes have length 1, and codes of NormalPosterior have not, "
        "so the KL is infinite",
        "posterior=von_mises_fisher",
    ),
    (
        "posterior=von_mises_fisher",
        "prior: found StandardNormal, a density over all of R^D",
        "prior=spherical",
    ),
    (
        "likelihood=gaussian evaluation.metrics=[objective,bits_per_dim]",
        "evaluation.metrics: bits_per_dim: GaussianLikelihood is a density",
        "likelihood=discretized_logistic",
    ),
    (
        "objective=reconstruction prior=mixture",
        "prior: found MixturePrior, whose parameters are trained by log p(z), which "
        "objective=reconstruction has not",
        "objective=elbo",
    ),
    (
        "objective=reconstruction prior=vamp",
        "prior: found VampPrior, whose parameters",
        "objective=elbo",
    ),
    ("model=rae prior=flow", "prior: found FlowPrior, whose parameters", "fitted_gaussian"),
    ("objective=regularized prior=mixture", "prior: found MixturePrior", "objective=elbo"),
    ("objective=iwae prior=flat", "objective: prior=flat is improper", "objective=elbo"),
    (
        "network.tied=true",
        "network.tied: needs a posterior with one parameter per dimension and a likelihood with "
        "one per pixel; found NormalPosterior and",
        "posterior=delta likelihood=mse",
    ),
    (
        "model=ae network.tied=true likelihood=gaussian_pixel",
        "network.tied: needs a posterior with one parameter",
        "likelihood=mse",
    ),
    (
        "model=ae network=conv1d objective.orthonormality=1",
        "objective.orthonormality: is for a decoder whose last layer is linear; found network",
        "network=mlp",
    ),
    (
        "objective=reweighted_wake_sleep prior=vamp",
        "objective=reweighted_wake_sleep: VampPrior has the encoder's parameters in it",
        "objective=iwae",
    ),
]


@pytest.mark.parametrize(("typed", "begins", "remedy"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_pair_is_refused_by_name_before_any_data_are_read(
    typed: str,
    begins: str,
    remedy: str,
    vae_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(self: Dataset) -> None:
        pytest.fail("data were read")

    monkeypatch.setattr(Dataset, "load", read)
    for task in ("train", "check"):
        finished = vae_run(*typed.split(), f"task={task}")
        assert finished.code == 1
        assert finished.err.startswith(f"error: {begins}"), finished.err
        assert remedy in finished.err
    assert list(tmp_path.iterdir()) == []


TAKEN = {
    "network.tied=true": ["model=ae likelihood=mse network.tied=true"],
    "model=ae network.tied=true likelihood=gaussian_pixel": [
        "model=ae network.tied=true likelihood=mse",
        "model=ae likelihood=gaussian_pixel",
    ],
    "model=ae network=conv1d objective.orthonormality=1": [
        "model=ae network=mlp objective.orthonormality=1",
        "model=ae network=conv1d",
    ],
    "posterior=delta": ["posterior=normal", "posterior=delta objective=reconstruction"],
    "model=ae objective=iwae": ["model=ae objective=reconstruction", "model=vae objective=iwae"],
    "prior=spherical": ["prior=spherical posterior=von_mises_fisher", "prior=standard_normal"],
    "posterior=von_mises_fisher": ["posterior=von_mises_fisher prior=spherical"],
    "likelihood=gaussian evaluation.metrics=[objective,bits_per_dim]": [
        "likelihood=discretized_logistic evaluation.metrics=[objective,bits_per_dim]",
        "likelihood=gaussian evaluation.metrics=[objective]",
    ],
    "objective=reconstruction prior=mixture": [
        "objective=elbo prior=mixture",
        "objective=reconstruction prior=standard_normal",
    ],
    "objective=reconstruction prior=vamp": [
        "objective=elbo prior=vamp",
        "objective=reconstruction prior=standard_normal",
    ],
    "model=rae prior=flow": ["model=rae prior=fitted_gaussian", "objective=elbo prior=flow"],
    "objective=regularized prior=mixture": [
        "objective=elbo prior=mixture",
        "posterior=delta objective=regularized prior=fitted_gaussian",
    ],
    "objective=iwae prior=flat": ["objective=elbo prior=flat", "objective=iwae"],
    "objective=reweighted_wake_sleep prior=vamp": [
        "objective=iwae prior=vamp",
        "objective=reweighted_wake_sleep prior=mixture",
    ],
}
"""For each refused pair what its message tells to do, and each of its parts beside another."""


@pytest.mark.parametrize("typed", [row[0] for row in REFUSED])
def test_each_part_of_a_refused_pair_is_taken_beside_another(typed: str) -> None:
    remedy = next(row[2] for row in REFUSED if row[0] == typed)
    for words in TAKEN[typed]:
        assert check(composed(*words.split()))
    assert any(remedy.split("=")[-1] in words for words in TAKEN[typed]), "the remedy helps"
    parts = {word for word in typed.split() if not word.startswith("model=")}
    assert parts <= {word for words in TAKEN[typed] for word in words.split()}
