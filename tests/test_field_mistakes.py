"""Mistakes that other programs have made, each with the tests that would catch it here.

Those about parts that do not exist here (the adversary of FactorVAE, vector quantisation) are left
out; they come with their part.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from parts import composed

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.evaluation.metrics.fid import as_bytes
from vae_run.runs import checkpoint_file

if TYPE_CHECKING:
    from conftest import Run, Train

CAUGHT_BY = {
    "IWAE with losses in place of log-weights, or weights that are not detached": [
        "test_bounds::test_the_gradient_of_iwae_is_that_of_the_self_normalised_log_weights",
    ],
    "importance weights normalised over the wrong axis": [
        "test_bounds::test_the_gradient_of_iwae_is_that_of_the_self_normalised_log_weights",
        "test_bounds::test_wake_sleep_weighs_the_gradients_of_log_p_and_log_q",
    ],
    "total correlation with log-weights added before the sum over dimensions": [
        "test_aggregate::test_with_all_images_in_the_batch_the_terms_are_exact",
    ],
    "stratified weights with 1/N in column 0 instead of on the diagonal": [
        "test_aggregate::test_stratified_weights_sum_to_1_with_1_over_n_on_the_diagonal",
        "test_aggregate::test_the_stratified_estimate_of_log_q_of_z_is_less_biased_than_naive_ones",
    ],
    "capacity schedules advanced by validation": [
        "test_objectives::test_evaluation_does_not_advance_a_schedule",
    ],
    "a log-likelihood of the wrong sign": [
        "test_bounds::test_every_bound_with_the_exact_posterior_is_log_p_of_x",
        "test_log_likelihood::test_with_the_exact_posterior_every_k_gives_the_exact_log_likelihood",
    ],
    "a log-likelihood that draws a fixed number of samples, or drops the remainder": [
        "test_log_likelihood::"
        "test_with_a_wrong_posterior_the_bound_rises_to_the_exact_value_from_below",
        "test_log_likelihood::test_neither_the_batch_nor_other_images_change_a_figure",
        "test_evaluation::test_no_image_is_dropped",
    ],
    "mixed precision without support for the loss": [
        "test_training::test_bfloat16_trains_on_float32_losses_of_about_the_same_size",
        "test_posteriors::test_densities_and_samples_stay_in_float32_under_autocast",
        "test_tasks::test_bfloat16_trains_and_evaluates_in_float32",
    ],
    "best weights paired with the current optimizer state": [
        "test_field_mistakes::test_the_optimizers_state_is_saved_beside_its_own_weights_alone",
        "test_resume::test_a_run_stopped_at_every_kind_of_step_ends_the_same",
    ],
    "FID fed floats where bytes are expected": [
        "test_field_mistakes::test_fid_is_given_bytes",
    ],
    "a warm-up longer than the training": [
        "test_field_mistakes::test_a_warm_up_longer_than_the_epochs_is_refused",
        "test_field_mistakes::test_a_warm_up_longer_than_the_steps_is_refused",
    ],
}
HERE = Path(__file__).parent


@pytest.mark.parametrize("mistake", CAUGHT_BY)
def test_the_tests_that_catch_a_mistake_are_there(mistake: str) -> None:
    for named in CAUGHT_BY[mistake]:
        file, _, test = named.partition("::")
        (source,) = HERE.rglob(f"{file}.py")
        text = source.read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", text, re.M), f"{named} is gone; mend CAUGHT_BY"


def test_the_optimizers_state_is_saved_beside_its_own_weights_alone(
    train: Train, tmp_path: Path
) -> None:
    """`best.pt` has none; `last.pt`, from which a run goes on, holds the weights of its step."""
    few = ("dataset.val_size=0.95", "trainer.epochs=60", "optimizer.lr=0.05")  # overfits
    run = train(tmp_path / "run", *few, "network.activation=tanh", "network.widths=[64]")
    best, last = (
        checkpoint_file.read(run / "checkpoints" / f"{name}.pt") for name in ("best", "last")
    )
    assert "optimizer" not in best
    assert last["optimizer"]["state"]
    steps = {int(each["step"]) for each in last["optimizer"]["state"].values()}
    assert steps == {last["step"]}
    assert best["step"] < last["step"], "the last weights are the best: nothing is shown"
    differ = [not torch.equal(last["model"][name], best["model"][name]) for name in best["model"]]
    assert any(differ)


@pytest.mark.parametrize(
    ("objective", "what"), [("elbo", "beta"), ("beta_elbo", "beta"), ("capacity", "the capacity")]
)
def test_a_warm_up_longer_than_the_epochs_is_refused(objective: str, what: str) -> None:
    words = (f"objective={objective}", "objective.warmup_epochs=11", "trainer.epochs=10")
    told = rf"^objective.warmup_epochs: found 11.*10 epochs, so {what} would never be reached"
    with pytest.raises(ConfigError, match=told):
        check(composed(*words))
    check(composed(*words[:2], "trainer.epochs=11"))


def test_a_warm_up_longer_than_the_steps_is_refused(vae_run: Run) -> None:
    """How many steps an epoch has is known once the data are read, and before the first step."""
    words = ("device=cpu", "trainer.steps=20", "objective.warmup_epochs=10", "network.widths=[8]")
    finished = vae_run(*words, "hydra.run.dir=run")
    assert finished.code == 1
    assert (
        "objective.warmup_epochs: found 10, longer than the training of 20 steps" in finished.said
    )


def test_fid_is_given_bytes() -> None:
    grey = torch.tensor([0.0, 0.5, 1.0, -0.2, 1.3, 254.4 / 255]).reshape(1, 1, 2, 3)
    found = as_bytes(grey)
    assert found.dtype == torch.uint8
    assert found.shape == (1, 3, 2, 3)
    assert found[0, 2].flatten().tolist() == [0, 128, 255, 0, 255, 254]
