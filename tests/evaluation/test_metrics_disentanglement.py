"""Disentanglement of codes that are the factors, turned factors, or nothing of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from parts import composed, experiment

from vae_run.config.check import check
from vae_run.corruptions import NoCorruption
from vae_run.data.splits import Split
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.metrics import disentanglement as module
from vae_run.evaluation.metrics.disentanglement import (
    Known,
    dci,
    disentanglement,
    factor_vae_score,
    mig,
    mutual_information,
    sap,
    specialisation,
)
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.objectives import ELBO

VALUES = (3, 6, 10, 16)


def factors(n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(count, size=n) for count in VALUES], 1)


def standard(numbers: np.ndarray) -> np.ndarray:
    return (numbers - numbers.mean(0)) / numbers.std(0)


def identity(numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The factors, in another order, sign and scale, and two dimensions of noise."""
    noise = random.normal(size=(len(numbers), 2))
    return np.concatenate([noise, standard(numbers)[:, ::-1] * [1, -3, 0.1, 7]], 1)


def turned(numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every factor spread evenly over all dimensions, by a Hadamard matrix."""
    one = np.array([[1, 1], [1, -1]])
    return standard(numbers) @ np.kron(one, one) / 2


def nothing(numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(len(numbers), 4))


def known(make, n: int, seed: int) -> Known:
    numbers = factors(n, seed)
    return Known(make(numbers, np.random.default_rng(seed + 100)), numbers)


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[Known, Known]]:
    """Codes to learn from and to judge."""
    kinds = {"identity": identity, "turned": turned, "nothing": nothing}
    return {name: (known(make, 1500, 0), known(make, 3000, 1)) for name, make in kinds.items()}


def test_mig(pairs):
    found = {name: mig(judged) for name, (_, judged) in pairs.items()}
    # Noise shares (20 - 1) (V - 1) / 2N nats with each factor by chance.
    chance = np.mean([19 * (v - 1) / (2 * 3000) / math.log(v) for v in VALUES])
    assert found["identity"] == pytest.approx(1 - chance, abs=0.01)
    assert found["turned"] < 0.1
    assert found["nothing"] < 0.01


def test_mutual_information_is_that_of_counts():
    """Two values at 20 bins: all of the entropy, or what is left of a channel that errs."""
    random = np.random.default_rng(0)
    bit = random.integers(2, size=20_000)
    wrong = np.arange(20_000) % 10 == 0
    noisy = np.where(wrong, 1 - bit, bit)
    information, entropies = mutual_information(
        Known(np.stack([5.0 - bit, noisy], 1), bit[:, None])
    )
    heads = bit.mean()
    entropy = -(heads * math.log(heads) + (1 - heads) * math.log(1 - heads))
    assert entropies[0] == pytest.approx(entropy, rel=1e-9)
    assert information[0, 0] == pytest.approx(entropy, rel=1e-9)
    capacity = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
    assert information[1, 0] == pytest.approx(capacity, abs=1e-3)


def test_a_factor_of_more_values_than_bins_cannot_reach_one():
    column = np.arange(4000)[:, None] % 40
    codes = np.concatenate([column, np.zeros((4000, 1))], 1).astype(float)
    assert mig(Known(codes, column)) == pytest.approx(math.log(20) / math.log(40), rel=1e-9)


def test_sap(pairs):
    found = {name: sap(*both) for name, both in pairs.items()}
    assert found["identity"] == pytest.approx(1, abs=0.01)
    assert found["turned"] < 0.06
    assert found["nothing"] < 0.01
    # By thresholds, what knows nothing finds one value of three.
    unordered = sap(*pairs["identity"], unordered=[0])
    assert unordered == pytest.approx((3 + 1 - 1 / 3) / 4, abs=0.02)


def test_thresholds_need_no_order_of_the_names():
    """Names 0, 1, 2 stand at 0, 7, 1 of the code: no line fits, two thresholds do."""
    names = np.random.default_rng(0).integers(3, size=(900, 1))
    codes = np.concatenate([np.array([0.0, 7.0, 1.0])[names], np.zeros((900, 1))], 1)
    data = Known(codes, names)
    assert sap(data, data, [0]) == pytest.approx(1 - 1 / 3, abs=1e-9)
    assert sap(data, data) < 0.1


def test_dci(pairs):
    found = {name: dci(*both, unordered=[0]) for name, both in pairs.items()}
    assert all(value > 0.97 for value in found["identity"].values())
    for kind in ("disentanglement", "completeness_weighted", "completeness_unweighted"):
        assert found["turned"][f"dci_{kind}"] < 0.3
        assert found["nothing"][f"dci_{kind}"] < 0.05
    assert found["turned"]["dci_informativeness"] > 0.85  # all is there, though mixed
    assert found["nothing"]["dci_informativeness"] < (1 / 3 + 0.05) / 4


def test_one_dimension_with_two_factors_is_complete_but_not_disentangled():
    relevance = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.5]])
    assert specialisation(relevance) == pytest.approx((2 * (1 - math.log(2, 3)) + 1) / 3)
    expected = (1 + 1 + 1 - math.log(2, 3)) / 3
    assert specialisation(relevance.T, weighted=False) == pytest.approx(expected)
    assert specialisation(np.full((4, 3), 0.25)) == pytest.approx(0, abs=1e-12)
    assert specialisation(np.zeros((2, 2))) == 0


def test_completeness_by_importance_is_that_of_disentanglement_lib():
    """.748 in disentanglement_lib and disent 0.9.3; the mean that is not weighted is .685."""
    relevance = np.array([[3.0, 0], [0, 1], [0, 1]])
    assert specialisation(relevance.T) == pytest.approx((3 + 2 * (1 - math.log(2, 3))) / 5)
    assert specialisation(relevance.T) == pytest.approx(0.748, abs=5e-4)
    assert specialisation(relevance.T, weighted=False) == pytest.approx(0.685, abs=5e-4)


def test_factor_vae_score(pairs):
    found = {name: factor_vae_score(*both) for name, both in pairs.items()}
    assert found["identity"] == 1.0
    assert found["turned"] < 0.8
    assert found["nothing"] == pytest.approx(1 / 4, abs=0.04)


def test_factor_vae_score_ignores_scale_and_dead_dimensions(pairs):
    seen, judged = pairs["identity"]
    scale = np.array([1e3, 1e-3, 5, 1, -2, 1])
    dead = [
        Known(np.concatenate([k.codes * scale, np.full((len(k.codes), 1), 3.0)], 1), k.factors)
        for k in (seen, judged)
    ]
    assert factor_vae_score(*dead) == 1.0
    noisy = [
        Known(
            np.concatenate([k.codes, 0.1 + 1.4e-6 * generator.normal(size=(len(k.codes), 1))], 1),
            k.factors,
        )
        for k, generator in zip((seen, judged), map(np.random.default_rng, (1, 2)), strict=True)
    ]
    assert factor_vae_score(*noisy) == 1.0  # a constant of float32 with the noise of rounding
    constant = Known(np.ones_like(judged.codes), judged.factors)
    assert factor_vae_score(constant, constant) == 0.0


def view(n: int = 400) -> View:
    """An autoencoder whose code is its input, and images that are their factors."""
    model = build_model(check(composed("model=ae", "latent_dim=4", "network.widths=[]")), (4,))
    with torch.no_grad():
        model.posterior.projection.weight.copy_(torch.eye(4))
        model.posterior.projection.bias.zero_()
    splits = []
    for seed in (0, 1):
        numbers = torch.from_numpy(factors(n, seed))
        splits.append(Split(numbers.float(), factors=numbers, unordered=(0,)))
    return View(model, ELBO(), NoCorruption(), splits[1], 4, train=splits[0])


def measured(made: View) -> dict[str, float]:
    with evaluating(made.model):
        return disentanglement(made)


def test_the_metric_compares_each_image_with_its_own_factors(monkeypatch):
    found = measured(view())
    assert set(found) == {
        *("mig", "sap", "factor_vae_score"),
        *("dci_disentanglement", "dci_informativeness"),
        *("dci_completeness_weighted", "dci_completeness_unweighted"),
    }
    assert found["factor_vae_score"] == 1.0
    assert found["dci_completeness_unweighted"] > 0.97
    assert found["sap"] == pytest.approx((3 + 2 / 3) / 4, abs=0.05)
    monkeypatch.setattr(module, "MOST_IMAGES", 300)  # a random choice, still each with its own
    fewer = measured(view())
    assert fewer["factor_vae_score"] == 1.0
    assert fewer != found


@pytest.mark.scale
def test_the_same_twice_and_in_other_batches():
    made = view(300)
    assert measured(made) == measured(made) == measured(replace(made, batch_size=7))


def test_nothing_where_it_has_no_meaning():
    made = view()
    unknown = replace(made.split, factors=None)
    assert measured(replace(made, split=unknown)) == {}
    assert measured(replace(made, train=None)) == {}
    assert measured(replace(made, latent_dim=1)) == {}
    one_shape = made.split.take((made.split.factors[:, 0] == 2).nonzero()[:, 0])
    found = measured(replace(made, split=one_shape))  # without the factor that does not vary
    assert found["sap"] == pytest.approx(1, abs=0.05)
    made = experiment()
    assert measured(made.view(made.splits.val)) == {}


def test_it_is_refused_where_factors_are_unknown():
    with pytest.raises(
        ConfigError, match=r"disentanglement: Digits does not tell.*dataset=sprites"
    ):
        check(composed("evaluation=disentanglement"))
    assert check(composed("evaluation=disentanglement", "dataset=sprites"))
    with pytest.raises(ConfigError, match="latent_dim: found 1"):
        check(composed("evaluation=disentanglement", "dataset=sprites", "latent_dim=1"))
