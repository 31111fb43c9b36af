"""docs/conventions.md: our value of each of its rows, and that each row names its test.

The values of other libraries were measured by running them; where they agree with ours, ours is
held to the same number.
"""

from __future__ import annotations

import ast
import math
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from vae_run.evaluation.metrics.anomaly import separation
from vae_run.evaluation.metrics.disentanglement import Known, mig, sap, specialisation
from vae_run.evaluation.metrics.generation import frechet, overlap
from vae_run.evaluation.metrics.geometry import kept
from vae_run.evaluation.metrics.intrinsic_dimension import mle, twonn
from vae_run.evaluation.metrics.latent import pairwise
from vae_run.evaluation.quantities import TABLE
from vae_run.models.distributions.continuous_bernoulli import ContinuousBernoulli
from vae_run.models.distributions.sphere import VonMisesFisher, log_area, tail_rule
from vae_run.models.distributions.spline_flow import Flow
from vae_run.models.similarity import least_side, multiscale_similarity, similarity

ROOT = Path(__file__).parents[2]
ROWS = [
    line for line in (ROOT / "docs/conventions.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| quantity", "| ---"))
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_row_names_a_test_that_exists(row: str) -> None:
    named = re.findall(r"<!-- (tests/[\w/]+\.py)::(\w+) -->", row)
    assert named, f"no test is named: {row}"
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_rows() -> None:
    assert len(ROWS) >= 20


def values_and_codes(count: int) -> Known:
    """A code that is its factor of `count` values, and one that is constant."""
    column = np.arange(3200 - 3200 % count)[:, None] % count
    return Known(np.concatenate([column, np.zeros_like(column)], 1).astype(float), column)


def test_mig_of_a_factor_of_more_values_than_bins() -> None:
    """Twelve of the 20 bins take two of the 32 values each, and tell log 2 less of 24 in 32."""
    assert mig(values_and_codes(32)) == pytest.approx(1 - 24 / 32 * math.log(2) / math.log(32))
    assert mig(values_and_codes(32)) == pytest.approx(0.85)
    assert mig(values_and_codes(20)) == pytest.approx(1)


def test_sap_of_values_without_an_order() -> None:
    known = values_and_codes(3)
    assert sap(known, known, [0]) == pytest.approx(2 / 3)
    assert sap(known, known) == pytest.approx(1)


def test_dci_of_one_factor() -> None:
    assert specialisation(np.array([[3.0], [1.0], [1.0]])) == 1.0


def normal(count: int, dimensions: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, dimensions))


def test_twonn_counts_ratios_from_zero() -> None:
    """scikit-dimension 0.5.0, which counts them from 1: 2.8910."""
    points = normal(1000, 3)
    assert twonn(points) == pytest.approx(2.8816, abs=1e-4)


def test_levina_bickel_is_scikit_dimensions() -> None:
    """2.98001 in `MLE(K=10)` with `comb="mle"`, and 8/9 of it with `unbiased=True`."""
    assert mle(normal(1000, 3), 10) == pytest.approx(2.98001, abs=1e-5)


def test_dimension_of_duplicates_and_of_one_feature() -> None:
    points = normal(1000, 3)[:300]
    assert mle(np.concatenate([points, points]), 10) == mle(points, 10)
    assert twonn(np.concatenate([points, points])) == twonn(points)
    assert twonn(normal(1000, 3)[:, :1]) == pytest.approx(0.9602, abs=1e-3)


def square() -> tuple[torch.Tensor, torch.Tensor]:
    """A square of 12 x 12 pixels in 28 x 28, and the same moved by two columns."""
    image = torch.zeros(1, 1, 28, 28, dtype=torch.double)
    image[..., 8:20, 8:20] = 1
    return image, image.roll(2, 3)


def test_ssim_is_that_of_scikit_image() -> None:
    assert float(similarity(*square())) == pytest.approx(0.43657, abs=1e-5)


def test_ms_ssim_needs_161_pixels() -> None:
    assert least_side(5) == 161
    image = torch.rand(1, 1, 161, 161, generator=torch.Generator().manual_seed(0))
    assert float(multiscale_similarity(image, image)) == pytest.approx(1)


def test_trustworthiness_of_a_lattice_with_itself() -> None:
    lattice = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2)
    assert kept(lattice, lattice) == (1.0, 1.0)


def test_frechet_distance_of_a_set_with_itself() -> None:
    few = torch.randn(8, 64, generator=torch.Generator().manual_seed(0)).double()
    assert 0 <= frechet(few, few) < 1e-6


def cubic(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(a b / P + 1)^3, KID's kernel (Binkowski et al. 2018), of all pairs."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def kid_of_itself(features: torch.Tensor) -> float:
    """The unbiased estimate for a set [n, P] and itself: -2 (diagonal - rest) / n, below 0."""
    n, kernel = len(features), cubic(features, features)
    within = (kernel.sum() - kernel.trace()) / (n * (n - 1))
    estimate = float(2 * within - 2 * kernel.mean())
    assert estimate == pytest.approx(float(-2 / n * (kernel.diagonal().mean() - within)))
    return estimate


def few_features() -> torch.Tensor:
    return torch.randn(8, 64, generator=torch.Generator().manual_seed(0)).double()


def test_kid_of_a_set_with_itself() -> None:
    """No metric here is called so."""
    assert find_spec("vae_run.evaluation.metrics.kid") is None
    assert not [name for name in TABLE.rows if "kid" in name]
    assert kid_of_itself(few_features()) < 0


@pytest.mark.scale
def test_kid_of_torchmetrics() -> None:
    module = pytest.importorskip("torchmetrics.image.kid")
    features = few_features()
    kid = module.KernelInceptionDistance(feature=torch.nn.Identity(), subset_size=8, subsets=3)
    kid.update(features, real=True)
    kid.update(features, real=False)
    mean, deviation = map(float, kid.compute())
    assert mean == pytest.approx(kid_of_itself(features), rel=1e-4)
    assert deviation == pytest.approx(0, abs=1e-6)


def test_auroc_of_scores_in_nats() -> None:
    scores = torch.tensor([100.0, 101.0, 102.0, 103.0])
    assert separation(scores[:2], scores[2:])["auroc"] == 1.0


def test_scores_that_are_no_numbers_have_no_auroc() -> None:
    scores = torch.full((3,), math.nan)
    assert separation(scores, scores) == {}


def test_density_and_coverage_are_prdcs() -> None:
    """Of prdc 0.2 with k = 5, for copies and for one real image 300 times."""
    real = torch.from_numpy(normal(300, 6))
    assert overlap(real, real)["density"] == pytest.approx(1)
    one = overlap(real, real[:1].repeat(300, 1))
    assert one["recall"] == 0
    assert one["precision"] == 1
    apart = torch.cdist(real, real, compute_mode="donot_use_mm_for_euclid_dist")
    fifth = apart.sort(dim=1).values[:, 5]
    inside = int((apart[:, 0] < fifth).sum())
    assert one["density"] == pytest.approx(inside / 5)
    assert one["coverage"] == pytest.approx(inside / 300)
    assert inside == 11  # prdc 0.2: a density of 2.2 and a coverage of .0367


@pytest.mark.parametrize(("dimensions", "concentration"), [(20, 1.0), (300, 1.0), (1024, 50.0)])
def test_entropy_of_von_mises_fisher(dimensions: int, concentration: float) -> None:
    """log area - kappa^2 / 2D + ..., for a concentration that is small beside the dimension."""
    q = VonMisesFisher(torch.eye(dimensions)[:1], torch.tensor([concentration]), tail_rule())
    expected = log_area(dimensions) - concentration**2 / (2 * dimensions)
    assert float(q.entropy()) == pytest.approx(expected, abs=1e-2)


def test_continuous_bernoulli_near_one_half() -> None:
    logits = torch.linspace(-0.05, 0.05, 2001)
    wide = logits.double()
    exact = 0.5 + wide / 12 - wide**3 / 720
    assert float((ContinuousBernoulli(logits).mean - exact).abs().max()) < 1e-7
    mass = torch.linspace(0, 1, 1001).expand(3, -1)
    density = ContinuousBernoulli(torch.tensor([[-0.01], [0.0], [0.01]])).log_prob(mass).exp()
    mean = torch.trapezoid(density * mass, mass)
    variance = torch.trapezoid(density * (mass - mean[:, None]).square(), mass)
    assert variance.tolist() == pytest.approx([1 / 12] * 3, abs=1e-5)


def test_splines_end_at_five() -> None:
    """The map is the identity from +-5 on, and a flow of one dimension integrates to 1."""
    torch.manual_seed(0)
    flow = Flow(1, 0, 2, [8])
    with torch.no_grad():
        ends = torch.tensor([[-5.0], [5.0], [-7.0], [7.0]])
        assert torch.isfinite(flow().log_prob(ends)).all()
        grid = torch.linspace(-12, 12, 24001)[:, None]
        assert float(torch.trapezoid(flow().log_prob(grid).exp(), grid[:, 0])) == pytest.approx(
            1, abs=1e-3
        )


def test_mutual_information_ends_at_log_n() -> None:
    """1/N sum log q(z_n|x_n) - log q(z_n) of posteriors that do not meet is log N."""
    means = 100.0 * torch.arange(50.0)[:, None]
    q = Independent(Normal(means, torch.ones_like(means)), 1)
    densities = pairwise(q, means)
    aggregate = densities.logsumexp(1) - math.log(50)
    assert float((densities.diagonal() - aggregate).mean()) == pytest.approx(math.log(50))
