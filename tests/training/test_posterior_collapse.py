"""A collapse of the posterior is judged when training ends, however it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from parts import composed
from stopping import SMALL_RUN

from vae_run.config.check import check
from vae_run.training.posterior_collapse import CollapseWatch, remedies


def warned(caplog: pytest.LogCaptureFixture, *seen: tuple[float, float], warmup: float = 0) -> str:
    """What is logged of a training with these pairs of an epoch and its KL."""
    watch = CollapseWatch(warmup)
    for epoch, kl in seen:
        watch.see({"kl": kl}, epoch)
    assert not caplog.text, "nothing is said before the end"
    watch.judge()
    return caplog.text


def test_a_kl_that_rises_late_is_no_collapse(caplog: pytest.LogCaptureFixture) -> None:
    assert warned(caplog, (1, 0.007), (19, 0.086), (90, 10.1)) == ""


def test_a_kl_that_is_zero_at_the_end_is(caplog: pytest.LogCaptureFixture) -> None:
    text = warned(caplog, (1, 5.0), (30, 2e-5))
    assert "posterior collapse: at the end (epoch 30) the KL is 2e-05 nats" in text


def test_a_warm_up_that_is_not_over_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert warned(caplog, (3, 0.0), warmup=5) == ""


def test_no_kl_no_collapse(caplog: pytest.LogCaptureFixture) -> None:
    watch = CollapseWatch(0)
    watch.see({"loss": 3.0}, 1)
    watch.judge()
    assert not caplog.text


@pytest.mark.parametrize(
    ("words", "named", "not_named"),
    [
        (["model=vae"], ["objective.beta"], ["likelihood."]),
        (["model=info_vae", "objective.kl_weight=1"], ["objective.kl_weight"], ["objective.beta"]),
        (["model=iwae"], ["objective=free_bits"], ["objective.beta"]),
        (["likelihood=gaussian", "likelihood.sigma=1"], ["likelihood.sigma=learned"], []),
        (["likelihood=gaussian", "likelihood.sigma=learned"], [], ["likelihood.sigma"]),
    ],
)
def test_remedies_are_keys_that_the_run_has(
    words: list[str], named: list[str], not_named: list[str]
) -> None:
    text = " ".join(remedies(check(composed(*words))))
    assert all(key in text for key in named)
    assert not any(key in text for key in not_named)


def test_a_training_that_stops_early_is_judged_too(vae_run: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    typed = ("objective.beta=1000", "optimizer.lr=0.03", "trainer.epochs=200", "trainer.patience=2")
    finished = vae_run(*SMALL_RUN, f"hydra.run.dir={run}", *typed)
    assert finished.code == 0, finished.said
    assert "(trainer.patience)" in finished.said
    lines = (run / "warnings.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum("posterior collapse: at the end" in str(json.loads(line)) for line in lines) == 1
