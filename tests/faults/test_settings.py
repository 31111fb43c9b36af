"""Settings that are wrong: refused before data are read, the key named, no folder left."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from same_run import curves

from vae_run.runs import checkpoint_file
from vae_run.training.loop import Loop

if TYPE_CHECKING:
    from conftest import Run, Train

WRONG = {
    "latent_dims=2": "latent_dims: there is no such key. Did you mean latent_dim?",
    "+latent_dims=2": "latent_dims: there is no such key. Did you mean latent_dim?",
    "+trainer.epoch=2": "trainer.epoch: there is no such key. Did you mean trainer.epochs?",
    "++trainer.epoch=2": "trainer.epoch: there is no such key. Did you mean trainer.epochs?",
    "modl=ae": "modl: there is no such key. Did you mean model?",
    "model=vea": "model=vea: there is no such option. Did you mean model=vae?",
    "+experiment=mnist_quik": "Did you mean experiment=mnist_quick?",
    "++hydra.foo=1": "hydra.foo: there is no such key",
    "+hydra.run.dirr=x": "hydra.run.dirr: there is no such key. Did you mean hydra.run.dir?",
    "hydra.run.dirr=x": "hydra.run.dirr: there is no such key",
    "trainer.epochs=two": "trainer.epochs: found 'two'",
    "latent_dim=0": "latent_dim: found 0; it should be greater than or equal to 1",
    "latent_dim=2.5": "latent_dim: found 2.5",
    "optimizer.lr=nan": "optimizer.lr: found nan; it should be a finite number",
    "trainer.batch_size=-1": "trainer.batch_size: found -1",
    "network.widths=[16,-2]": "network.widths.1: found -2",
    "objective.warmup_epochs=9": "objective.warmup_epochs: found 9",
    "~latent_dim": "latent_dim: a value is needed; say latent_dim=...",
    "~network": "network: found None, expected one of its options",
    "seed=${nope}": "nope: a value refers to this key, but there is no such key",
    "latent_dim=${latent_dim}": "Recursive interpolation detected full_key: latent_dim",
    "seed=${oc.env:VAE_RUN_NOT_THERE}": "VAE_RUN_NOT_THERE",
    "device=cuda:77": "device: found cuda:77, but torch ",
    "dataset.classes=[": "this cannot be read as KEY=VALUE",
}


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_setting_is_refused(word: str, vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("device=cpu", "trainer.epochs=3", word)
    assert finished.code == 1
    assert WRONG[word] in finished.said
    assert "Traceback" not in finished.said
    assert "images of" not in finished.said
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_of_ones_own_is_refused(vae_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    for text, told in {
        "# @package _global_\ntrainer:\n  epoch: 3\n": "trainer.epoch",
        "# @package _global_\nlatent_dims: 3\n": "latent_dims",
        "# @package _global_\nlatent_dim: many\n": "latent_dim",
        "# @package _global_\nlatent_dim: [\n": "mine",
        "# @package _global_\ndefaults:\n  - override /model: vea\n": "model=vea",
    }.items():
        (folder / "mine.yaml").write_text(text)
        finished = vae_run("--config-dir", folder.parent, "experiment=mine")
        assert finished.code == 1, text
        assert told in finished.said
        assert "Traceback" not in finished.said
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# --- what a device has not ---------------------------------------------------------------------


def test_a_device_that_is_not_there(vae_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    finished = vae_run("device=cuda")
    assert finished.code == 1
    assert "device: found cuda, but torch" in finished.said
    assert "Use device=cpu or device=auto" in finished.said
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    finished = vae_run("network.widths=[8]", "trainer.steps=1", "evaluation.figures=[]")
    assert finished.code == 0
    assert "parameters, on cpu" in finished.said, "auto says what it fell back to"


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError("Unable to allocate 3 TiB"),
    ],
)
def test_too_little_memory_names_what_to_lower(
    error: Exception, vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = Loop.take

    def taken(loop: Loop, record: Any) -> None:
        original(loop, record)
        if record.step == 5:
            raise error

    monkeypatch.setattr(Loop, "take", taken)
    run = tmp_path / "run"
    finished = vae_run("device=cpu", "network.widths=[8]", f"hydra.run.dir={run}")
    assert finished.code == 1
    for told in ("trainer.batch_size (found 128)", "evaluation.batch_size (found 1000)"):
        assert told in finished.said.replace("\n", " ")
    assert str(error).splitlines()[0] in finished.said.replace("\n", " ")
    assert "Traceback" not in finished.said
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "failed"
    assert "trainer.batch_size" in status["message"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_without_memory_for_it(vae_run: Run, tmp_path: Path) -> None:
    """A net that no device holds."""
    finished = vae_run("device=cuda", "network.widths=[3000000,3000000]", "optimizer=sgd")
    assert finished.code == 1
    assert "trainer.batch_size (found 128)" in finished.said.replace("\n", " ")


# --- clocks ------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back(
    train: Train, vae_run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By an hour, as daylight saving does, before a resume, and once more amid it."""
    plan = ("trainer.checkpoint_seconds=0", "trainer.log_every=4", "dataset.classes=[0,1]")
    whole = train(tmp_path / "whole", *plan, "trainer.epochs=6")
    run = train(tmp_path / "run", *plan, "trainer.epochs=2")
    real, back = time.time, [3600.0]

    def earlier() -> float:
        back[0] += 10  # and it runs backwards
        return real() - back[0]

    monkeypatch.setattr(time, "time", earlier)
    for zone, epochs in (("Asia/Tokyo", 4), ("America/Lima", 6)):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        finished = vae_run("task=resume", f"run={run}", f"trainer.epochs={epochs}")
        assert finished.code == 0, finished.said
    monkeypatch.undo()
    time.tzset()
    expected, found = curves(whole), curves(run)
    for tag, points in expected.items():
        if not tag.startswith("test/"):
            assert points == found[tag], tag
    rows = (run / "history.csv").read_text().splitlines()
    seconds = [float(row.split(",")[-1]) for row in rows[1:]]
    assert seconds == sorted(seconds)
    assert len(seconds) == 6
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["train"]["train_seconds"] > 0
    state = checkpoint_file.read(run / "checkpoints" / "last.pt")
    assert state["step"] == checkpoint_file.read(whole / "checkpoints" / "last.pt")["step"]


def test_no_duration_is_taken_from_the_wall_clock() -> None:
    source = Path(__file__).parents[2] / "src" / "vae_run"
    texts = {file: file.read_text(encoding="utf-8") for file in source.rglob("*.py")}
    assert "time.monotonic()" in "".join(texts.values())
    # TensorBoard's events hold the time of day.
    shown = {file.parent for file, text in texts.items() if "time.time()" in text}
    assert shown <= {source / "tracking"}
    assert [file for file, text in texts.items() if "utcnow" in text] == []


# --- resume ------------------------------------------------------------------------------------


def test_resume_twice_and_with_other_settings(train: Train, vae_run: Run, tmp_path: Path) -> None:
    plan = ("dataset.classes=[0,1]", "trainer.log_every=2")
    whole = train(tmp_path / "whole", *plan, "trainer.epochs=4")
    run = train(tmp_path / "run", *plan)
    for _ in range(2):  # the second finds nothing to do
        finished = vae_run("task=resume", f"run={run}", "trainer.epochs=4")
        assert finished.code == 0
    assert "is complete at epoch 4; nothing to do" in finished.said
    finished = vae_run("task=resume", f"run={run}", "optimizer.lr=1", "seed=3", "latent_dim=16")
    assert finished.code == 1
    said = finished.said.replace("\n", " ")
    assert "optimizer.lr (found 1, the run has 0.001), seed (found 3, the run has 0): " in said
    assert "latent_dim (" not in said, "it is what the run has"
    finished = vae_run("task=resume", f"run={run}", "model=vae", "dataset=digits")
    assert finished.code == 0, "that is what the run has, too"
    found, expected = curves(run), curves(whole)
    for tag in expected:  # the first end has left its test figures at its own step
        steps = [step for step, _ in found[tag]]
        assert steps == sorted(set(steps)), tag
        assert found[tag][-len(expected[tag]) :] == expected[tag], tag
