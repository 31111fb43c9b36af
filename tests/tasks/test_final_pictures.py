"""What is drawn of the training of a run: its curves, or what took the place of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parts import experiment

from vae_run.evaluation.quantity import Declared
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks import final_evaluation
from vae_run.tasks.final_evaluation import draw_training, drawn, remove_pictures
from vae_run.tracking.history import History


def run_with(place: Path, **row: float) -> RunDirectory:
    place.mkdir()
    history = History(place / "history.csv")
    history.add({"epoch": 1, "step": 1, **{k.replace("_", "/", 1): v for k, v in row.items()}})
    history.finish()
    return RunDirectory(place)


def test_a_model_without_epochs_has_components_instead_of_curves(tmp_path: Path) -> None:
    linear = ("model=pca", "network.widths=[]", "posterior=delta", "likelihood=gaussian")
    made = experiment(*linear)
    solved, trained = run_with(tmp_path / "a", val_loss=1.0), run_with(tmp_path / "b", train_loss=1)
    assert set(draw_training(made, solved)) == {"scree", "components"}
    assert set(draw_training(made, trained)) == {"learning_curves"}
    made.evaluation.figures = ["scree"]
    assert set(draw_training(made, solved)) == {"components"}, "the other one is drawn already"
    made.evaluation.figures = []
    assert draw_training(made, solved) == {}
    deep = experiment("model=ae")
    with torch.no_grad():
        for parameter in deep.model.parameters():
            parameter.mul_(3)
    assert set(draw_training(deep, solved)) == {"scree"}, "a deep decoder has no components"


def test_only_pictures_of_vae_run_are_removed(tmp_path: Path) -> None:
    made, run = experiment("model=ae"), RunDirectory(tmp_path)
    remove_pictures(made, run, keep=())
    assert not run.figures.exists()
    run.figures.mkdir()
    Declared(captions={"sharpness": "A picture of another package."}).write(tmp_path)
    of_vae_run = ["learning_curves.png", "scree.svg", "samples.pdf", "sharpness.png", "codes.png"]
    of_the_user = ["paper.png", "poster.svg", "talk.pdf", "samples.txt", "codes"]
    for name in (*of_vae_run, *of_the_user):
        (run.figures / name).write_bytes(b"")
    remove_pictures(made, run, keep={"codes": None})
    assert {file.name for file in run.figures.iterdir()} == {"codes.png", *of_the_user}


@pytest.mark.parametrize("fails", [False, True])
def test_pictures_of_a_second_core_are_the_same(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same order, with the same bytes, even where the copy of the process fails."""
    made, threads = experiment("model=ae"), torch.get_num_threads()
    made.evaluation.figures = ["samples", "reconstructions", "kl_per_dimension", "interpolations"]
    alone, shared = run_with(tmp_path / "a", train_loss=1), run_with(tmp_path / "b", train_loss=1)
    torch.set_num_threads(1)  # as where it is done
    try:
        expected = drawn(made, alone, 1.0)
        monkeypatch.setattr(final_evaluation, "leaves_core_free", lambda *given: True)
        here: list[object] = []
        own = final_evaluation.draw_all

        def watched(*given: Any, entries: list[Any]) -> Any:
            here.extend(entries)
            return own(*given, entries=entries)

        monkeypatch.setattr(final_evaluation, "draw_all", watched)
        if fails:
            monkeypatch.setattr(final_evaluation, "_encoded", lambda *given: 1 / 0)
        found = drawn(made, shared, 1.0)
    finally:
        torch.set_num_threads(threads)
    assert sorted(map(str, here)) == sorted(made.evaluation.figures[:: 1 if fails else 2])
    assert list(found) == list(expected)
    for file in alone.figures.iterdir():
        assert (shared.figures / file.name).read_bytes() == file.read_bytes()
