"""Which pictures the jobs of a sweep draw."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from parts import composed, experiment

from vae_run.config.check import check
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks import final_evaluation
from vae_run.tasks.swept_pictures import FEW, swept_pictures


@pytest.mark.parametrize(
    ("words", "typed", "few"),
    [
        ((), ["seed=1"], True),
        (("figures.in_sweep=all",), ["figures.in_sweep=all"], False),
        (("evaluation.batch_size=100",), ["evaluation.batch_size=100"], True),
        (("evaluation=latent",), ["evaluation=latent", "seed=1"], False),
        (("evaluation.figures=[codes]",), ["evaluation.figures=[codes]"], False),
    ],
)
def test_a_job_draws_few_unless_its_command_chooses_pictures(
    words: tuple[str, ...], typed: list[str], few: bool
) -> None:
    settings = check(composed(*words))
    drawn, left_out = swept_pictures(settings, typed)
    every = settings.build("evaluation").figures
    assert list(drawn) == (list(FEW) if few else every)
    assert [*drawn, *left_out] == (sorted(every, key=lambda n: n not in FEW) if few else every)


def test_pictures_of_the_user_are_drawn_in_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_mine.py").write_text("def striped(view):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    config, own = composed("latent_dim=2"), "of_mine.striped"
    config["evaluation"]["figures"] = ["manifold", own]
    assert swept_pictures(check(config), ["seed=1"]) == ([own], ["manifold"])


def test_the_run_says_what_it_does_not_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, run = experiment("latent_dim=2"), RunDirectory(tmp_path)
    assert "manifold" in made.evaluation.figures
    assert final_evaluation.own_entries(made, run) is None
    monkeypatch.setattr(RunDirectory, "is_swept", True)
    with caplog.at_level(logging.INFO):
        entries = final_evaluation.own_entries(made, run)
    assert set(final_evaluation.drawn(made, run, 1.0, entries)) == set(FEW)
    assert "figures.in_sweep=all" in caplog.text
    assert "manifold" in caplog.text
    assert {path.stem for path in run.figures.iterdir()} == set(FEW)
