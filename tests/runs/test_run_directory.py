"""What a finished run leaves: its files, and figures that agree with each other."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from omegaconf import OmegaConf
from parts import composed
from PIL import Image

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.runs import checkpoint_file
from vae_run.runs.identity import identity
from vae_run.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from conftest import Run, Train

EPOCHS, BATCHES = 20, 11  # of the `vae` run: 1,294 images in batches of 128


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_the_files_of_a_finished_run(vae: Path) -> None:
    files = {str(path.relative_to(vae)) for path in vae.rglob("*") if path.is_file()}
    figures = ("reconstructions", "samples", "manifold", "traversals", "interpolations")
    expected = {
        *(".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml"),
        *("status.json", "metrics.json", "environment.json", "history.csv", "train.log"),
        *("report.html", "warnings.jsonl"),  # of grey pixels under a Bernoulli likelihood
        *("checkpoints/best.pt", "checkpoints/last.pt", "checkpoints/previous.pt"),
        "projector_config.pbtxt",
        *(f"figures/{name}.png" for name in (*figures, "learning_curves")),
        *(
            f"projector_step_00220/latent/{name}"
            for name in ("tensors.tsv", "metadata.tsv", "sprite.png")
        ),
    }
    events = {name for name in files if re.fullmatch(r"events\.out\.tfevents\.[^/]+", name)}
    assert len(events) == 1
    assert files - events == expected


def test_status(vae: Path) -> None:
    status = read(vae / "status.json")
    assert status["state"] == "completed"
    assert (status["epoch"], status["step"]) == (EPOCHS, EPOCHS * BATCHES)
    assert status["pid"] > 0
    assert status["host"]
    assert status["message"] == ""


def test_metrics_of_a_vae(vae: Path) -> None:
    metrics = read(vae / "metrics.json")
    assert list(metrics) == ["val", "test", "train"]
    for split in ("val", "test"):
        values = metrics[split]
        terms = {"loss", "reconstruction", "kl", "elbo"}
        assert set(values) == {*terms, "mse", "pca_mse", "active_units"}
        assert values["elbo"] == -(values["reconstruction"] + values["kl"])
        assert values["loss"] == pytest.approx(-values["elbo"], rel=1e-6)
        assert 0 < values["mse"] < 0.2
        assert values["kl"] > 0.1
        assert values["active_units"] in (1, 2)
    assert metrics["train"]["steps"] == EPOCHS * BATCHES
    rate = metrics["train"]["examples_per_second"]
    assert rate * metrics["train"]["train_seconds"] == pytest.approx(EPOCHS * 1294)


def test_metrics_of_a_deterministic_code_have_no_kl(dae: Path) -> None:
    metrics = read(dae / "metrics.json")
    for split in ("val", "test"):
        assert set(metrics[split]) == {"loss", "reconstruction", "mse", "pca_mse"}
        assert metrics[split]["loss"] == metrics[split]["reconstruction"]
    assert "kl" not in (dae / "history.csv").read_text(encoding="utf-8")


def test_the_objective_is_weighted_by_beta_but_the_elbo_is_not(
    train: Train, tmp_path: Path
) -> None:
    run = train(tmp_path / "run", "objective.beta=4", "trainer.epochs=1")
    for values in (read(run / "metrics.json")[split] for split in ("val", "test")):
        loss = values["reconstruction"] + 4 * values["kl"]
        assert values["loss"] == pytest.approx(loss, rel=1e-6)
        assert values["elbo"] == -(values["reconstruction"] + values["kl"])


def test_history_has_a_row_an_epoch(vae: Path) -> None:
    rows = history(vae)
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert [row["step"] for row in rows] == [BATCHES * e for e in range(1, EPOCHS + 1)]
    names = {"loss", "reconstruction", "kl"}
    for row in rows:
        assert {f"train/{name}" for name in names} < set(row)
        assert {f"val/{name}" for name in (*names, "elbo", "mse")} < set(row)
        assert row["train/loss"] == pytest.approx(row["train/reconstruction"] + row["train/kl"])
        assert row["learning_rate"] == 0.01
    seconds = [row["train_seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]


def test_the_best_epoch_is_the_one_that_is_reported(vae: Path) -> None:
    best = max(history(vae), key=lambda row: row["val/elbo"])
    saved = checkpoint_file.read(vae / "checkpoints" / "best.pt")
    assert saved["step"] == best["step"]
    reported = read(vae / "metrics.json")["val"]
    for name in ("loss", "reconstruction", "kl", "elbo", "mse"):
        assert reported[name] == best[f"val/{name}"], name


def test_environment(vae: Path) -> None:
    about = read(vae / "environment.json")
    assert about["versions"]["torch"] == torch.__version__.split("+")[0]
    assert about["versions"]["vae-run"]
    assert about["device"] == "cpu"
    assert about["threads"] == torch.get_num_threads()
    assert re.fullmatch(r"[0-9a-f]{64}", about["dataset_fingerprint"])
    assert {"git_revision", "python", "platform"} < set(about)


def test_the_fingerprint_tells_other_data(vae: Path, train: Train, tmp_path: Path) -> None:
    fingerprint = read(vae / "environment.json")["dataset_fingerprint"]
    other = train(tmp_path / "run", "dataset.split_seed=1", "trainer.steps=1")
    assert read(other / "environment.json")["dataset_fingerprint"] != fingerprint


def test_hydras_files_hold_what_was_asked(vae: Path) -> None:
    config = OmegaConf.load(vae / ".hydra" / "config.yaml")
    assert config.latent_dim == 2
    assert config.optimizer.lr == 0.01
    assert "latent_dim=2" in OmegaConf.load(vae / ".hydra" / "overrides.yaml")


def test_the_pictures_are_readable(vae: Path) -> None:
    files = sorted((vae / "figures").iterdir())
    assert [file.name for file in files] == [
        *("interpolations.png", "learning_curves.png", "manifold.png"),
        *("reconstructions.png", "samples.png", "traversals.png"),
    ]
    for file in files:
        with Image.open(file) as picture:
            picture.load()
            assert picture.mode == "RGB"
            assert min(picture.size) > 100, file
            assert len(picture.getcolors(maxcolors=1 << 24) or []) > 10, file


def test_the_manifold_needs_two_dimensions(dae: Path, train: Train, tmp_path: Path) -> None:
    assert sorted(path.stem for path in (dae / "figures").iterdir()) == [
        *("learning_curves", "reconstructions", "samples")
    ]
    flat = train(
        tmp_path / "run", "model=ae", "latent_dim=2", "evaluation.figures=[manifold]",
        "trainer.steps=1",
    )  # fmt: skip
    assert (flat / "figures" / "manifold.png").is_file()


def test_the_log_holds_what_the_terminal_said(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("network.widths=[16]", "trainer.steps=1", "evaluation.figures=[]")
    assert finished.code == 0
    said = [line.split(": ", 1)[-1] for line in finished.out.splitlines()]
    run = tmp_path / said[-1]
    log = (run / "train.log").read_text(encoding="utf-8")
    assert [line for line in said if line not in log] == []
    assert "cross-entropies" in finished.out


def test_two_starts_in_the_same_second_get_two_directories(
    vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ("network.widths=[4]", "trainer.steps=1", "evaluation.figures=[]")
    frozen = "outputs/same-second-${vae_run.unique:}"  # the default, with the time taken out
    for _ in range(2):
        assert vae_run(*typed, f"hydra.run.dir={frozen}").code == 0
    runs = list((tmp_path / "outputs").iterdir())
    assert len(runs) == 2
    assert all((run / "metrics.json").is_file() for run in runs)


def test_the_same_command_gives_the_same_figures(train: Train, tmp_path: Path) -> None:
    """However often it logs, evaluates or saves: bit for bit."""
    plans: dict[str, list[str]] = {
        "first": [],
        "again": [],
        "log_often": ["trainer.log_every=1"],
        "log_rarely": ["trainer.log_every=1000"],
        "evaluate_by_steps": ["trainer.evaluate_every_steps=5"],
        "save_often": ["trainer.checkpoint_seconds=0", "trainer.log_every=3"],
    }
    common = ("trainer.epochs=3", "corruption=masking", "evaluation.figures=[]")
    runs = {name: train(tmp_path / name, *common, *plan) for name, plan in plans.items()}
    figures = {name: read(run / "metrics.json") for name, run in runs.items()}
    for metrics in figures.values():
        assert metrics.pop("train")["steps"] == 3 * BATCHES
    last = {
        name: checkpoint_file.read(run / "checkpoints" / "last.pt")["model"]
        for name, run in runs.items()
    }
    for name in plans:
        assert same(last[name], last["first"]), name
        if name != "evaluate_by_steps":  # it may find a better step in between
            assert figures[name] == figures["first"], name
    val = [row["val/elbo"] for row in history(runs["first"])]
    assert figures["evaluate_by_steps"]["val"]["elbo"] >= max(val)


def test_evaluating_rarely_changes_no_weight(train: Train, tmp_path: Path) -> None:
    often = train(tmp_path / "often", "trainer.epochs=4")
    rarely = train(tmp_path / "rarely", "trainer.epochs=4", "trainer.evaluate_every=3")
    assert [("val/loss" in row) for row in history(rarely)] == [False, False, True, True]
    states = [checkpoint_file.read(run / "checkpoints" / "last.pt") for run in (often, rarely)]
    assert same(states[0]["model"], states[1]["model"])
    at_3, at_4 = (history(often)[i]["val/loss"] for i in (2, 3))
    assert [row["val/loss"] for row in history(rarely)[2:]] == [at_3, at_4]


def test_the_seed_changes_the_weights_but_not_the_splits(train: Train, tmp_path: Path) -> None:
    first, second = (
        train(tmp_path / str(seed), f"seed={seed}", "trainer.steps=2") for seed in (0, 1)
    )
    prints = [read(run / "environment.json")["dataset_fingerprint"] for run in (first, second)]
    assert prints[0] == prints[1]
    states = [checkpoint_file.read(run / "checkpoints" / "last.pt") for run in (first, second)]
    assert not same(states[0]["model"], states[1]["model"])


def test_divergence_exits_with_4_and_keeps_the_last_good_checkpoint(
    vae_run: Run, tmp_path: Path
) -> None:
    finished = vae_run(
        "network.widths=[16]", "optimizer=sgd", "optimizer.lr=1e10", "hydra.run.dir=run",
        "likelihood=mse", "trainer.log_every=1",
    )  # fmt: skip
    assert finished.code == 4
    assert "optimizer.lr" in finished.said
    assert "Traceback" not in finished.said
    status = read(tmp_path / "run" / "status.json")
    assert status["state"] == "diverged"
    assert "optimizer.lr" in status["message"]
    kept = checkpoint_file.read(tmp_path / "run" / "checkpoints" / "last.pt")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in kept["model"].values())
    assert not (tmp_path / "run" / "metrics.json").exists()


def same(a: Any, b: Any) -> bool:
    """Whether nested values are equal, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("content", [b"", bytes(60)])
def test_a_status_that_a_power_failure_has_emptied_counts_as_none(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "status.json").write_bytes(content)
    run = RunDirectory(tmp_path)
    assert run.read_status() == {}
    with run.locked(), pytest.raises(ConfigError, match=r"process \(unknown\)"):
        run.refuse_while_running()
    (tmp_path / "status.json").write_text('{"state": "comp')
    with run.locked(), pytest.raises(ConfigError, match=r"process \(unknown\)"):
        run.refuse_while_running()


@pytest.mark.parametrize(("shape", "size", "kept"), [("[8,2,2]", 32, [8, 2, 2]), ("[5]", 5, None)])
def test_the_configuration_has_the_size_of_the_code_that_the_check_found(
    tmp_path: Path, shape: str, size: int, kept: list[int] | None
) -> None:
    config = composed("network=conv", f"latent_shape={shape}")
    run = RunDirectory(tmp_path)
    run.config_file.parent.mkdir()
    run.config_file.write_text(json.dumps(config))  # as it was composed
    found = run.config()
    assert (found["latent_dim"], found["latent_shape"]) == (size, kept)
    assert identity(found) == identity(check(config).raw), "by this the ledger of a sweep knows it"
    run.config_file.write_text(json.dumps({**config, "latent_dim": 7}))
    assert run.config()["latent_dim"] == 7, "a contradiction is for `check` to refuse"
