"""Which weights are the best: those of the highest quantity that the objective trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from parts import composed, experiment

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.objectives import DIP, ELBO, IWAE, MMD, BetaTC, Objective, ReweightedWakeSleep
from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import NoTracker

if TYPE_CHECKING:
    from pathlib import Path

VALUES = {"loss": 5.0, "reconstruction": 4.0, "kl": 6.0, "elbo": -10.0}
FLAT = {"loss": 3.0, "reconstruction": 4.0, "negative_entropy": -2.0}


@pytest.mark.parametrize(
    ("objective", "values", "expected"),
    [
        (ELBO(), VALUES, -10.0),
        (ELBO(beta=4.0), VALUES, -10.0),
        (ELBO(beta=0.0), {**VALUES, "loss": 4.0}, -4.0),  # nothing trains the KL
        (ELBO(beta=0.5, warmup_epochs=10.0), FLAT, -3.0),  # whatever beta the epoch had
        (ELBO(beta=3.0, warmup_epochs=10.0), FLAT, 2.0),
        (BetaTC(train_size=9), VALUES, -10.0),
        (DIP(), VALUES, -10.0),
        (MMD(), VALUES, -5.0),  # kl_weight is 0
        (IWAE(), VALUES, -5.0),
        (IWAE(groups=2, partial=True), VALUES, -5.0),
        (ReweightedWakeSleep(), VALUES, -5.0),
    ],
)
def test_the_merit_is_what_the_objective_trains(
    objective: Objective, values: dict[str, float], expected: float
) -> None:
    assert objective.merit(values) == expected


def test_a_best_value_of_another_quantity_is_replaced_by_that_of_its_epoch(tmp_path: Path) -> None:
    """An earlier version judged this objective by its ELBO, which no loss can be compared with."""
    words = ("model=info_vae", "trainer.batch_size=32", "trainer.epochs=2")
    made = experiment(*words)
    run = RunDirectory(tmp_path)
    loop = made.settings.build("trainer").begin(made, run, NoTracker(), None)
    steps = loop.steps()
    for _ in range(3):
        loop.take(next(steps))
    loop.save()
    saved = checkpoint_file.read(run.last)
    (row,) = loop.history.rows
    right = saved["progress"]["best_value"]
    assert right == -row["val/loss"] != row["val/elbo"]
    saved["progress"]["best_value"] = row["val/elbo"]
    again = experiment(*words)
    loop = again.settings.build("trainer").begin(again, run, NoTracker(), saved)
    assert loop.progress.best_value == right


ALONE = "compares the images of a batch with each other. Use 2 at least"


@pytest.mark.parametrize("objective", ["beta_tc", "dip", "mmd", "factor"])
@pytest.mark.parametrize("group", ["evaluation", "trainer"])
def test_batches_of_one_image_are_refused_of_new_trainings(objective: str, group: str) -> None:
    config = composed(f"objective={objective}", f"{group}.batch_size=1")
    with pytest.raises(ConfigError, match=rf"^{group}\.batch_size: found 1, but.*{ALONE}"):
        check(config)
    assert check(config, trained=True), "a run that was trained so is still read"
    assert check(composed("objective=elbo", f"{group}.batch_size=1"))


def test_batches_of_one_image_are_not_measured() -> None:
    made = experiment("model=wae")
    made.evaluation.batch_size = 1
    with pytest.raises(ConfigError, match=rf"^evaluation\.batch_size: found 1, but.*{ALONE}"):
        made.evaluation.measure(made.view(made.splits.val), ["objective"])


def test_wake_sleep_refuses_a_prior_that_has_the_encoder_in_it() -> None:
    config = composed("objective=reweighted_wake_sleep", "prior=vamp")
    with pytest.raises(ConfigError, match="VampPrior has the encoder's parameters in it"):
        check(config)
    assert check(config, trained=True), "a run that was trained so is still read"
    assert check(composed("objective=reweighted_wake_sleep", "prior=mixture"))
