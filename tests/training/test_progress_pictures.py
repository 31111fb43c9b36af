"""Pictures while a model trains: when they are due, and that they change nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from parts import SHAPE, composed, experiment

from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.progress_pictures import progress_pictures
from vae_run.runs.identity import identity
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import NoTracker
from vae_run.training.progress import Progress
from vae_run.training.progress_pictures import ProgressPictures, next_due


class Kept(NoTracker):
    def __init__(self) -> None:
        self.steps: list[int] = []

    def pictures(self, pictures, step) -> None:
        assert set(pictures) == {"training_reconstructions", "training_samples"}
        self.steps.append(step)


def test_they_are_due_at_ever_greater_distances_or_every_n_epochs() -> None:
    def epochs(every: object, until: int = 130, last: float = 0.0) -> list[int]:
        found = []
        for epoch in range(1, until):
            if epoch >= next_due(last, every):  # type: ignore[arg-type]
                found.append(epoch)
                last = epoch
        return found

    assert epochs("auto") == [1, 2, 5, 10, 20, 50, 100]
    assert epochs(40) == [40, 80, 120]
    assert epochs("auto", last=7.0)[0] == 10
    assert next_due(0.5, "auto") == 1
    assert next_due(3.0, 3) == 6


@pytest.mark.parametrize("every", ["figures.every=auto", "figures.every=2"])
def test_a_resumed_run_goes_on_and_the_jobs_of_a_sweep_draw_none(
    every: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, tracker = experiment(every), Kept()
    pictures = ProgressPictures(made, RunDirectory(tmp_path), tracker)
    progress = Progress(steps_per_epoch=10)
    for step in range(5, 65, 5):
        if step == 40:  # as a resumed run: everything anew but its progress
            pictures = ProgressPictures(made, RunDirectory(tmp_path), tracker)
            progress = replace(progress)
        progress.step = step
        pictures.send(progress)
    assert tracker.steps == ([10, 20, 50] if "auto" in every else [20, 40, 60])
    monkeypatch.setattr(RunDirectory, "is_swept", True)
    swept = ProgressPictures(made, RunDirectory(tmp_path), tracker)
    swept.send(Progress(step=1000, steps_per_epoch=10))
    assert (tracker.steps[-1] == 1000) == ("auto" not in every), "only where it was asked for"


@pytest.mark.parametrize(
    "words", [(), ("condition=label",), ("corruption=gaussian", "model=dae"), ("prior=vamp",)]
)
def test_nothing_of_the_training_changes(words: tuple[str, ...]) -> None:
    made = experiment(*words)
    view = made.view(made.splits.val)
    made.model.train()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, again = progress_pictures(view), progress_pictures(view)
    assert torch.equal(torch.get_rng_state(), state)
    assert made.model.training
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, picture in first.items():
        assert (picture == again[name]).all(), "the same images and codes every time"


def test_they_show_images_and_their_reconstructions() -> None:
    made = experiment("corruption=gaussian")
    view = made.view(made.splits.val)
    found = progress_pictures(view)["training_reconstructions"]
    scale = -(-32 // SHAPE[2])
    assert found.shape[0] == 3 * (SHAPE[1] * scale + 1) - 1, "clean, corrupted, reconstruction"
    with evaluating(made.model):
        output = made.model.reconstruct(next(iter(view.batches())).input)
    assert output.shape[1:] == SHAPE
    plain = experiment()
    rows = progress_pictures(plain.view(plain.splits.val))["training_reconstructions"]
    assert rows.shape[0] == 2 * (SHAPE[1] * scale + 1) - 1


def test_how_pictures_are_written_makes_no_other_job() -> None:
    config = composed("model=vae")
    earlier = {key: value for key, value in config.items() if key != "figures"}
    changed = {**config, "figures": {"format": "svg", "dpi": 300, "every": 5}}
    assert identity(earlier) == identity(config) == identity(changed)
