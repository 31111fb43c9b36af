"""Run directories as earlier versions wrote them: every task reads them, and nothing changes.

`version_1` is of the first checkpoints, `release_0_1_0` of the last release before the classes
moved into packages; `aa6bf6e807fa` and `00e59137e430` are what that release's ledger of a sweep
called their configurations.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from parts import composed

from vae_run import load
from vae_run.config.check import check
from vae_run.config.keys import flat
from vae_run.config.renamed import first, updated
from vae_run.models.build import build_model
from vae_run.runs import checkpoint_file
from vae_run.runs.identity import Effect, has_effect, identity
from vae_run.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from conftest import Run, Train

FIXTURES = Path(__file__).parents[1] / "fixtures"
RELEASE = FIXTURES / "release_0_1_0"
IDENTITIES = {"version_1": "00e59137e430", "release_0_1_0": "aa6bf6e807fa"}
WORDS = (  # what the release's run was started with
    *("device=cpu", "latent_dim=2", "model=dae", "corruption.level=0.2", "network.widths=[4]"),
    *("dataset.classes=[0,1]", "optimizer=adamw", "schedule=cosine", "trainer.epochs=2"),
    "evaluation.figures=[]",
)


def copied(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / name, tmp_path / name))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", IDENTITIES)
def test_they_load(name: str) -> None:
    assert "_target_: vae_run.trainers.Gradient" in (
        FIXTURES / name / ".hydra" / "config.yaml"
    ).read_text(encoding="utf-8")
    assert checkpoint_file.read(FIXTURES / name / "checkpoints" / "best.pt")["format"] == 1
    model = load(FIXTURES / name)
    expected = torch.load(FIXTURES / name / "expected.pt", weights_only=True)
    torch.testing.assert_close(model.encode(expected["x"]).mean, expected["mean"])
    torch.testing.assert_close(model.reconstruct(expected["x"]), expected["images"])


def test_one_is_measured_as_it_was(vae_run: Run, tmp_path: Path) -> None:
    run = copied("release_0_1_0", tmp_path)
    (run / "metrics.json").write_text("{}")
    finished = vae_run("task=evaluate", f"run={run}", "device=cpu")
    assert finished.code == 0, finished.said
    found, expected = read(run / "metrics.json"), read(RELEASE / "metrics.json")
    for split in ("val", "test"):
        assert found[split] == pytest.approx(expected[split], rel=1e-5)


@pytest.mark.parametrize("name", IDENTITIES)
def test_they_go_on(name: str, vae_run: Run, tmp_path: Path) -> None:
    run = copied(name, tmp_path)
    step = checkpoint_file.read(run / "checkpoints" / "last.pt")["step"]
    finished = vae_run("task=resume", f"run={run}", "trainer.epochs=3")
    assert finished.code == 0, finished.said
    assert checkpoint_file.read(run / "checkpoints" / "last.pt")["step"] == step * 3 / 2
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert (
        (run / "history.csv").read_text().startswith((FIXTURES / name / "history.csv").read_text())
    )
    assert "Pixels between 0 and 1 under a Bernoulli" in (run / "report.html").read_text(
        encoding="utf-8"
    )


def test_one_compares_with_a_run_of_today(vae_run: Run, tmp_path: Path) -> None:
    """They were configured alike: no class that has moved shows as a difference."""
    old = copied("release_0_1_0", tmp_path)
    words = (*WORDS, "seed=1", f"hydra.run.dir={tmp_path / 'new'}")
    assert vae_run(*words).code == 0
    runs = f"runs=[{old},{tmp_path / 'new'}]"
    finished = vae_run("task=compare", runs, f"output={tmp_path / 'table'}")
    assert finished.code == 0, finished.said
    with (tmp_path / "table" / "runs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["seed"]) for row in rows] == [("1", "0"), ("1", "1")]
    settings = [key for key in rows[0] if "/" not in key]
    assert settings == ["run", "group", "seed", "state"], "no setting tells them apart"


@pytest.mark.parametrize(("name", "expected"), IDENTITIES.items())
def test_a_sweep_knows_its_jobs_again(name: str, expected: str) -> None:
    """The ledger's name of a configuration is what it was before its classes moved."""
    assert identity(RunDirectory(FIXTURES / name).config()) == expected


def test_the_same_command_is_the_same_job() -> None:
    """Whatever an old configuration holds is what is composed today, by the classes' old paths."""
    old = dict(flat(RunDirectory(RELEASE).config()))
    now = dict(flat(composed(*WORDS)))
    for key, value in old.items():
        if not has_effect(key, Effect.NONE):
            assert now[key] == value, key
            if key.endswith("_target_"):
                assert first(now[key]) in (RELEASE / ".hydra" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("target", "key", "value"),
    [
        ("vae_run.likelihoods.GaussianLikelihood", "speed", 1),
        ("vae_run.likelihoods.LaplaceLikelihood", "speed", 1),
        ("vae_run.networks.Conv", "init", "torch"),
        ("vae_run.networks.ResNet", "init", "torch"),
    ],
)
def test_keys_that_a_run_lacks_have_the_value_that_it_was_trained_with(
    target: str, key: str, value: Any
) -> None:
    filled = updated({"part": {"_target_": target, "other": 3}})["part"]
    assert filled == {"_target_": filled["_target_"], "other": 3, key: value}
    given = {**filled, key: "given"}
    assert updated({"part": given})["part"] == given


def test_a_learned_sigma_of_an_earlier_run_is_read_as_it_was_stored() -> None:
    """Its rho was the argument of the softplus itself, without today's factor of 10."""
    words = ("likelihood=gaussian", "network.widths=[4]", "latent_dim=2")
    config = composed(*words)
    del config["likelihood"]["speed"]
    model = build_model(check(updated(config)), (1, 4, 4))
    with torch.no_grad():
        model.likelihood.rho.fill_(-2.0)
    assert float(model.likelihood.sigma) == pytest.approx(1e-3 + math.log1p(math.exp(-2)))


def test_what_is_refused_of_trainings_today_is_measured_all_the_same(
    train: Train, vae_run: Run, tmp_path: Path
) -> None:
    """Long warm-ups of the rate were trained before they were refused."""
    words = ("schedule=cosine", "trainer.epochs=2", "network.widths=[8]", "evaluation.figures=[]")
    train(tmp_path / "run", *words)
    config = tmp_path / "run" / ".hydra" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    assert "warmup_epochs: 0" in text.split("schedule:")[1]
    before, after = text.split("schedule:")
    config.write_text(
        f"{before}schedule:{after.replace('warmup_epochs: 0', 'warmup_epochs: 9', 1)}",
        encoding="utf-8",
    )
    assert load(tmp_path / "run").sample(2).shape == (2, 1, 8, 8)
    finished = vae_run("task=evaluate", f"run={tmp_path / 'run'}", "device=cpu")
    assert finished.code == 0, finished.said
    resumed = vae_run("task=resume", f"run={tmp_path / 'run'}", "trainer.epochs=4")
    assert resumed.code == 1
    assert "schedule.warmup_epochs" in resumed.said
