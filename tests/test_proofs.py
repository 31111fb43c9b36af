"""What the theory says of a whole training, on the embedded digits."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
import torch
from parts import composed

from vae_run.config.check import check
from vae_run.data.batches import TrainingBatches
from vae_run.training.experiment import Experiment, assemble
from vae_run.training.step import fit

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Run

# Overcomplete autoencoders: 100 codes for 64 pixels


def overcomplete(*words: str) -> Experiment:
    """A linear autoencoder with more codes than pixels, trained for 400 steps."""
    made = assemble(
        check(composed("model=linear_ae", "latent_dim=100", "optimizer.lr=5e-3", *words)),
        torch.device("cpu"),
    )
    batches = TrainingBatches(
        made.splits.train, made.corruption, batch_size=128, noise=(1, 100), seed=0
    )
    optimizer = made.settings.build("optimizer", params=list(made.model.parameters()))
    schedule = made.settings.build("schedule")
    records = fit(
        made.model,
        made.objective,
        batches,
        optimizer,
        schedule,
        step=0,
        clip_norm=None,
        precision=nullcontext(),
    )
    for _ in range(400):
        next(records)
    return made


def error(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).square().mean())


@pytest.mark.scale
def test_an_overcomplete_autoencoder_copies_and_a_denoising_one_does_not() -> None:
    copying = overcomplete()
    denoising = overcomplete("corruption=gaussian", "corruption.level=0.3")
    generator = torch.Generator().manual_seed(0)
    clean = copying.splits.test.pixels(slice(0, None))
    # Every pixel drawn from another image: no digit is left, nor any form.
    order = torch.rand((len(clean), 64), generator=generator).argsort(0)
    noise = clean.flatten(1).gather(0, order).reshape(clean.shape)
    corrupted = clean + 0.3 * torch.randn(clean.shape, generator=generator)
    variance = float(noise.var(0).mean())
    copied, kept = (error(each.model.reconstruct(noise), noise) for each in (copying, denoising))
    damage = error(corrupted, clean)
    assert error(copying.model.reconstruct(clean), clean) < 1e-3
    assert copied < 0.05 * variance, "no digit, and copied all the same"
    assert kept > 0.4 * variance
    assert error(denoising.model.reconstruct(corrupted), clean) < 0.5 * damage
    assert error(copying.model.reconstruct(corrupted), clean) > 0.7 * damage


# Posterior collapse: with sigma = 1 every direction of the digits has less variance than the noise


def collapse(vae_run: Run, *words: str) -> tuple[bool, dict[str, float]]:
    """Whether a short training warns of collapse, and its figures on test."""
    small = ("device=cpu", "latent_dim=4", "network.widths=[32]", "network.activation=tanh")
    short = ("trainer.steps=220", "trainer.evaluate_every=20", "optimizer.lr=0.01")
    quiet = ("evaluation.figures=[]", "hydra.run.dir=run")
    finished = vae_run(*small, *short, *quiet, "likelihood=gaussian", *words)
    assert finished.code == 0, finished.said
    with open("run/metrics.json", encoding="utf-8") as file:
        found: dict[str, float] = json.load(file)["test"]
    return "posterior collapse" in finished.said, found


def test_a_wide_likelihood_collapses_the_posterior_and_training_says_so(
    vae_run: Run, tmp_path: Path
) -> None:
    warned, found = collapse(vae_run, "likelihood.sigma=1")
    assert warned
    assert found["active_units"] == 0
    assert found["kl"] < 0.1


@pytest.mark.parametrize(
    ("cure", "units"),
    [
        (("likelihood.sigma=1", "objective=free_bits"), 1),
        (("likelihood.sigma=1", "objective=capacity", "objective.capacity=3"), 1),
        (("likelihood.sigma=1", "objective.beta=0.1"), 1),
        (("likelihood.sigma=learned",), 2),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_each_cure_that_the_warning_names_removes_it(
    cure: tuple[str, ...], units: int, vae_run: Run, tmp_path: Path
) -> None:
    warned, found = collapse(vae_run, *cure)
    assert not warned
    assert found["kl"] > 0.1
    assert found["active_units"] >= units
