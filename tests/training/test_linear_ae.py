"""Linear autoencoders, trained by the program: PCA's error and subspace, another basis."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from vae_run import load
from vae_run.objectives.reconstruction import last_weight

if TYPE_CHECKING:
    from conftest import Once

SLOW = [("untied, penalty", 2), ("untied", 16)]
"""They find their last component after twice as many epochs as the others."""
TRAINED = (
    *("experiment=linear_ae", "dataset=digits", "device=cpu", "optimizer.lr=0.05"),
    *("trainer.evaluate_every=150", "evaluation.figures=[]"),
)
VARIANTS = {
    "tied": ("network.tied=true",),
    "tied, penalty": ("network.tied=true", "objective.orthonormality=1"),
    "untied": (),
    "untied, penalty": ("objective.orthonormality=1",),
}

Linear = Callable[[str, int], tuple[float, Tensor]]


@pytest.fixture(scope="module")
def linear(vae_run: Any, once: Once) -> Linear:
    """`linear("tied", 2)`: a run's test error, and its decoder's columns [P, D]; "pca" is PCA."""

    def trained(run: Path, name: str, latent_dim: int) -> None:
        epochs = 150 if (name, latent_dim) in SLOW else 60
        words = (*TRAINED, *VARIANTS.get(name, ()), f"trainer.epochs={epochs}")
        if name == "pca":
            words = ("model=pca",)
        placed = (f"latent_dim={latent_dim}", f"hydra.run.dir={run}")
        done = vae_run(*words, *placed, cwd=run.parent)
        assert done.code == 0, done.said

    @cache
    def made(name: str, latent_dim: int) -> tuple[float, Tensor]:
        folder = f"linear-{name.replace(', ', '-')}-{latent_dim}"
        return outcome(once(folder, lambda run: trained(run, name, latent_dim)))

    return made


def outcome(run: Path) -> tuple[float, Tensor]:
    error = json.loads((run / "metrics.json").read_text())["test"]["mse"]
    return error, last_weight(load(run)).detach().double()


def principal_angles(a: Tensor, b: Tensor) -> Tensor:
    """Degrees between the spans of the columns of `a` and `b` (Bjorck & Golub 1973), rising."""
    cosines = torch.linalg.svdvals(torch.linalg.qr(a)[0].T @ torch.linalg.qr(b)[0])
    return torch.rad2deg(torch.acos(cosines.clamp(max=1)))


def off_orthonormal(columns: Tensor) -> float:
    gram = columns.T @ columns
    return float((gram - torch.eye(len(gram), dtype=gram.dtype)).abs().max())


def test_principal_angles_by_hand() -> None:
    plane = torch.eye(4, dtype=torch.double)[:, :2]
    turned = plane @ torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.double)
    assert float(principal_angles(plane, turned).max()) < 1e-5
    tilt = math.radians(30)
    tilted = plane.clone()
    tilted[:, 1] = torch.tensor([0, math.cos(tilt), math.sin(tilt), 0])
    assert principal_angles(plane, tilted).tolist() == pytest.approx([0, 30], abs=1e-5)


LONG = pytest.mark.scale  # it trains for long
NAMES = [
    *("tied", "tied, penalty"),
    *(pytest.param(name, marks=LONG) for name in ("untied", "untied, penalty")),
]
RUNS = [
    *(("tied", 2), ("tied, penalty", 2)),
    *(pytest.param(*run, marks=LONG) for run in [("untied", 2), ("untied, penalty", 2)]),
    pytest.param("untied", 16, marks=LONG),
]


@pytest.mark.parametrize(("name", "latent_dim"), RUNS)
def test_its_error_is_that_of_pca(linear: Linear, name: str, latent_dim: int) -> None:
    least, _ = linear("pca", latent_dim)
    error, _ = linear(name, latent_dim)
    assert error == pytest.approx(least, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_it_spans_the_principal_subspace(linear: Linear, name: str) -> None:
    _, principal = linear("pca", 2)
    _, columns = linear(name, 2)
    assert float(principal_angles(principal, columns).max()) < 2


@pytest.mark.parametrize("name", ["pca", *NAMES])
def test_what_is_orthonormal_and_what_is_not(linear: Linear, name: str) -> None:
    """The optimum of W W^T is orthonormal by itself; untied, only under the penalty."""
    far = off_orthonormal(linear(name, 2)[1])
    assert far > 0.1 if name == "untied" else far < 0.01


@pytest.mark.scale
def test_an_untied_basis_is_not_that_of_pca(linear: Linear) -> None:
    """Any invertible map within the subspace has the same error, so no column is a component."""
    _, principal = linear("pca", 16)
    _, columns = linear("untied", 16)
    assert off_orthonormal(columns) > 0.1
    cosines = (principal.T @ (columns / columns.norm(dim=0))).abs()
    assert float(cosines.max(0).values.median()) < 0.9
