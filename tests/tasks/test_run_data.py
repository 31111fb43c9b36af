"""A run and its data: moved data are its own, changed data never take their place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from vae_run.config.keys import flat
from vae_run.data.batches import seeded
from vae_run.data.draws import go_on
from vae_run.errors import DataError
from vae_run.runs import checkpoint_file, data_location
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks.resume import nothing_to_do
from vae_run.tasks.run_data import read_data
from vae_run.training.gradient import Gradient
from vae_run.training.progress import Progress

if TYPE_CHECKING:
    from conftest import Run, Train

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
OTHERS = np.random.default_rng(1).integers(0, 256, (12, 4, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def trained(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `d.npz` and a finished run of it, begun in that folder. Copied by tests."""
    place = tmp_path_factory.mktemp("run-data")
    np.savez(place / "d.npz", train=IMAGES)
    train(place / "run", "trainer.epochs=1", "dataset=arrays", "dataset.path=d.npz")
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run; its data stay where they were."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def test_a_relative_path_is_relative_to_where_the_run_was_begun(
    trained: Path, run: Path, vae_run: Run
) -> None:
    before = (run / "metrics.json").read_bytes()
    finished = vae_run("task=evaluate", f"run={run}", "device=cpu")
    assert finished.code == 0, finished.said
    said = finished.said.replace("\n", " ")
    assert f"dataset.path=d.npz is relative to {trained}, where the run was begun" in said
    assert (run / "metrics.json").read_bytes() == before
    assert not (run / "evaluations").exists()


def test_where_a_relative_path_is_looked_for(
    trained: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def path() -> object:
        return dict(flat(RunDirectory(run).located()))["dataset.path"]

    assert path() == str(trained / "d.npz")
    monkeypatch.chdir(trained)
    assert path() == "d.npz", "as it was typed"
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained / "d.npz", tmp_path / "d.npz")
    assert path() == str(trained / "d.npz"), "where the run was begun comes first"
    hydra = run / ".hydra" / "hydra.yaml"
    text = hydra.read_text()
    hydra.write_text(text.replace(f"cwd: {trained}", f"cwd: {tmp_path / 'gone'}"))
    assert path() == "d.npz"
    hydra.unlink()  # a run that has not saved where it was begun
    assert path() == "d.npz"
    data_location.record(run, {"path": "sub/e.npz", "classes": [1]})
    assert path() == str(tmp_path / "sub" / "e.npz")
    assert json.loads((run / "data.json").read_text()) == {"path": str(tmp_path / "sub/e.npz")}


def test_moved_data_are_the_runs_own(
    trained: Path, run: Path, vae_run: Run, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    shutil.copy(trained / "d.npz", tmp_path / "b" / "e.npz")
    saved = {file: file.read_bytes() for file in (run / ".hydra").iterdir()}
    own = json.loads((run / "metrics.json").read_text())
    moved = ("dataset=arrays", "dataset.path=b/e.npz")
    finished = vae_run("task=evaluate", f"run={run}", "device=cpu", *moved)
    assert finished.code == 0, finished.said
    assert not (run / "evaluations").exists()
    assert json.loads((run / "metrics.json").read_text()) == own
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=2", "dataset.path=b/e.npz")
    assert finished.code == 0, finished.said
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=3", "device=cpu")
    assert finished.code == 0, finished.said
    where = f"dataset.path={tmp_path / 'b' / 'e.npz'}, where the run was last resumed"
    assert where in finished.said.replace("\n", " ")
    assert checkpoint_file.read(run / "checkpoints" / "last.pt")["epoch"] == 3
    assert {file: file.read_bytes() for file in (run / ".hydra").iterdir()} == saved


def test_changed_data_never_replace_the_runs_metrics(
    run: Path, vae_run: Run, tmp_path: Path
) -> None:
    np.savez(tmp_path / "more.npz", train=np.concatenate([IMAGES, OTHERS]))
    data_location.record(run, {"path": "more.npz"})  # as if the file itself had grown
    before = {name: (run / name).read_bytes() for name in ("metrics.json", "status.json")}
    finished = vae_run("task=evaluate", f"run={run}", "device=cpu")
    assert finished.code == 0, finished.said
    (place,) = (run / "evaluations").iterdir()
    own = RunDirectory(run).fingerprint()
    assert place.name.startswith("data-")
    assert place.name != f"data-{own[:8]}"
    assert json.loads((place / "metrics.json").read_text())["test"]
    said = finished.said.replace("\n", " ")
    assert f"dataset_fingerprint {place.name[5:]}, the run's is {own[:8]}" in said
    assert "the test set may hold images that the run was trained on" in said
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=2")
    assert finished.code == 3
    said = finished.said.replace("\n", " ")
    assert "the run was begun with other data" in said
    assert "train: " in said
    assert " images then, " in said, "what has changed is told in numbers"
    for name, content in before.items():
        assert (run / name).read_bytes() == content, f"{name}: it was completed, and still is"
    typed = ("task=sample", f"run={run}", "sampler=gaussian", "n=2", "output=s.npz", "device=cpu")
    finished = vae_run(*typed)
    assert finished.code == 3
    assert "have changed since" in finished.said.replace("\n", " ")


def test_both_shapes_are_told(run: Path, vae_run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", train=np.zeros((60, 5, 5), np.uint8))
    finished = vae_run("task=evaluate", f"run={run}", "dataset.path=wide.npz", "device=cpu")
    assert finished.code == 3
    said = finished.said.replace("\n", " ")
    assert "dataset: Arrays (dataset.path=wide.npz) holds images of shape [1, 5, 5]" in said
    assert "trained on images of shape [1, 4, 4]" in said
    assert "checkpoint" not in said


def test_what_ended_a_run_is_told_with_the_key_that_extends_it(run: Path) -> None:
    settings = RunDirectory(run).settings()
    trainer = Gradient(epochs=80, patience=2, max_time=5)
    patient = Progress(step=3, stale=2, steps_per_epoch=1)
    said = nothing_to_do(trainer.why_over(patient) or "", patient, settings)
    assert "at epoch 3; nothing to do" in said
    assert "trainer.patience=null" in said
    late = Progress(step=3, seconds=6, steps_per_epoch=1)
    assert "trainer.max_time=null" in nothing_to_do(trainer.why_over(late) or "", late, settings)
    done = Progress(step=80, steps_per_epoch=1)
    assert "trainer.epochs=N" in nothing_to_do(trainer.why_over(done) or "", done, settings)


def test_more_patience_lets_a_run_go_on(train: Train, vae_run: Run, tmp_path: Path) -> None:
    still = ("optimizer=sgd", "optimizer.lr=1e-30", "trainer.epochs=4", "trainer.patience=1")
    run = train(tmp_path / "run", *still)
    assert checkpoint_file.read(run / "checkpoints" / "last.pt")["epoch"] == 2
    assert vae_run("task=resume", f"run={run}", "trainer.patience=2").code == 0
    assert checkpoint_file.read(run / "checkpoints" / "last.pt")["epoch"] == 3
    assert vae_run("task=resume", f"run={run}", "trainer.patience=null").code == 0
    assert checkpoint_file.read(run / "checkpoints" / "last.pt")["epoch"] == 4


def test_a_generator_goes_on_from_the_state_of_another_kind() -> None:
    first, second, same = (seeded("cpu", "noise", 0) for _ in range(3))
    first.manual_seed(7)
    go_on(second, first.get_state())
    assert torch.equal(torch.rand(5, generator=second), torch.rand(5, generator=first))
    of_cuda = torch.arange(16, dtype=torch.uint8)
    go_on(second, of_cuda)
    go_on(same, of_cuda)
    drawn = torch.rand(5, generator=second)
    assert torch.equal(drawn, torch.rand(5, generator=same)), "it depends on that state alone"
    go_on(same, of_cuda + 1)
    assert not torch.equal(drawn, torch.rand(5, generator=same))


def test_missing_data_are_told_with_the_key_that_names_their_place(run: Path) -> None:
    data_location.record(run, {"path": "gone.npz"})
    directory = RunDirectory(run)
    with pytest.raises(DataError, match=r"gone\.npz does not exist.* moved.*: dataset\.path=NEW"):
        read_data(directory, directory.settings())
