"""What is printed: lines of JSON, nothing with quiet=true, and line breaks on a terminal."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.text import Text

from vae_run.cli.resolvers import register_resolvers
from vae_run.system.line_breaks import fitted
from vae_run.training.display import TrainingDisplay

if TYPE_CHECKING:
    from conftest import Run


SMALL = ("device=cpu", "network.widths=[16]", "trainer.epochs=2", "evaluation.figures=[]")


def events(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


def test_a_run_is_told_in_lines_of_json(vae_run: Run, tmp_path: Path) -> None:
    said = vae_run("--json", *SMALL, "hydra.run.dir=mine")
    start, *epochs, end = events(said.out)
    path = str(tmp_path / "mine")
    assert {each["path"] for each in (start, *epochs, end)} == {path}
    assert [each["event"] for each in epochs] == ["epoch", "epoch"]
    assert start["event"] == "start"
    assert (start["task"], start["device"], start["images"]["train"]) == ("train", "cpu", 1294)
    assert [each["epoch"] for each in epochs] == [1, 2]
    assert epochs[1]["train/loss"] < epochs[0]["train/loss"]
    assert (end["event"], end["status"], end["exit_code"]) == ("end", "completed", 0)
    assert end["metrics"] == json.loads((tmp_path / "mine" / "metrics.json").read_text())
    assert "1,797 images" in said.err
    evaluated = events(vae_run("--json", "task=evaluate", "run=mine").out)
    assert [each["event"] for each in evaluated] == ["end"]
    assert evaluated[0]["path"] == path


def test_the_last_line_tells_of_a_failure_too(vae_run: Run, tmp_path: Path) -> None:
    refused = vae_run("--json", "latentdim=2")
    (end,) = events(refused.out)
    assert end == {
        "event": "end",
        "path": None,
        "status": "failed",
        "exit_code": 1,
        "metrics": {},
        "message": "latentdim: there is no such key. Did you mean latent_dim?",
    }
    assert refused.err == "error: latentdim: there is no such key. Did you mean latent_dim?\n"
    failed = vae_run("dataset=arrays", "dataset.path=nothing.npz", "--json")
    end = events(failed.out)[-1]
    assert (end["status"], end["exit_code"]) == ("failed", 3)
    assert "nothing.npz" in end["message"]
    diverged = vae_run("--json", *SMALL, "model=ae", "likelihood=gaussian", "optimizer=sgd",
                       "optimizer.lr=1e30", "hydra.run.dir=far")  # fmt: skip
    end = events(diverged.out)[-1]
    assert (end["status"], end["exit_code"]) == ("diverged", 4), diverged.err


def test_wrong_options_end_in_json_as_well(vae_run: Run) -> None:
    (end,) = events(vae_run("--json", "--bogus").out)
    assert (end["status"], end["exit_code"]) == ("failed", 2)


def test_a_sweep_is_told_in_lines_of_json(vae_run: Run, tmp_path: Path) -> None:
    said = vae_run("-m", "--json", *SMALL, "seed=0,1", "trainer.steps=2", "trainer.epochs=null",
                   "sweep.dir=s", "hydra/launcher=basic")  # fmt: skip
    found = events(said.out)
    start, end = found[0], found[-1]
    assert start == {"event": "start", "path": str(tmp_path / "s"), "task": "sweep", "jobs": 2,
                     "done": 0}  # fmt: skip
    jobs = [each for each in found if each["event"] == "job"]
    assert [each["status"] for each in jobs] == ["completed"] * 2
    assert {each["path"] for each in jobs} == {
        str(tmp_path / "s" / name) for name in end["metrics"]
    }
    assert (end["event"], end["path"], end["exit_code"]) == ("end", str(tmp_path / "s"), 0)
    assert [each["metrics"]["test"] for each in jobs] == [
        m["test"] for m in end["metrics"].values()
    ]


def test_quiet_prints_warnings_and_errors_alone(vae_run: Run, tmp_path: Path) -> None:
    said = vae_run("quiet=true", *SMALL, "model=ae", "hydra.run.dir=mine")
    assert (said.code, said.out, said.err) == (0, "", "")
    assert "1,797 images" in (tmp_path / "mine" / "train.log").read_text()
    warned = vae_run("quiet=true", *SMALL, "network.widths=[512,256]", "hydra.run.dir=two")
    assert warned.out == ""
    assert "warning: posterior collapse" in warned.err
    assert "note:" not in warned.err
    assert vae_run("quiet=true", "task=resume", "run=two").code == 0
    assert "1,797" in vae_run(*SMALL, "hydra.run.dir=three").out, "a later command is heard"


def test_a_run_begins_with_a_note_and_ends_with_its_report(vae_run: Run) -> None:
    lines = vae_run(*SMALL, "hydra.run.dir=mine").out.splitlines()
    assert lines[0].startswith("note: Pixels between 0 and 1 under a Bernoulli likelihood")
    assert lines[-2:] == ["report  mine/report.html", "mine"]
    assert any(line.startswith("epoch 2/2  val loss ") for line in lines)


def test_a_run_is_named_by_its_model_and_dataset(vae_run: Run, tmp_path: Path) -> None:
    vae_run(*SMALL, "model=ae", "trainer.steps=1", "trainer.epochs=null")
    (run,) = (tmp_path / "outputs").glob("*/*")
    assert re.fullmatch(r"\d\d-\d\d-\d\d-ae-digits-[0-9a-f]{6}", run.name)


def test_odd_names_of_options_give_sound_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr(
        "vae_run.cli.resolvers.register_resolver",
        lambda name, resolver, *, cached: found.__setitem__(name, resolver),
    )
    register_resolvers()
    name = found["vae_run.name"]
    assert name("vae", "digits") == "vae-digits"
    assert name("own/my net", "a=b;c") == "own_my_net-a_b_c"
    assert name(None, "digits") == "digits"
    assert len(name("x" * 300, "digits")) == 60


FOLDED = [
    ("short", ["short"]),
    ("a message of several words", ["a message of", "  several words"]),
    ("val   loss 1.5  kl 0.2  mse 3", ["val   loss 1.5", "      kl 0.2", "      mse 3"]),
    (
        "go on: vae-run task=resume run=outputs/a/b",
        ["go on:", "  vae-run task=resume run=outputs/a/b"],
    ),
    ("a_word_that_is_longer_than_a_line yes", ["a_word_that_is_longer_than_a_line", "  yes"]),
    ("one\ntwo", ["one", "two"]),
]


@pytest.mark.parametrize(("text", "lines"), FOLDED, ids=[text for text, _ in FOLDED])
def test_lines_break_between_words_and_items(text: str, lines: list[str]) -> None:
    assert fitted(Text(text), 15).plain.splitlines() == lines


def test_styles_survive_a_line_break() -> None:
    folded = fitted(Text("yellow words here", style="yellow"), 10)
    assert folded.plain == "yellow\n  words\n  here"
    assert {str(span.style) for span in folded.spans} == {"yellow"}


def test_the_bar_of_a_training_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    shown = Console(width=80, force_terminal=True, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    monkeypatch.setattr("vae_run.training.display.console", shown)
    monkeypatch.setattr("vae_run.training.display.draws_bars", lambda: True)
    display = TrainingDisplay(1000, 10)
    values = {"loss": 123.456, "reconstruction": 100.2, "kl": 0.0712, "examples/s": 4750.0}
    display.update(125, values)
    assert display._bar is not None
    shown.print(display._bar)
    display.close()
    line = "epoch " + shown.export_text().rpartition("epoch ")[2]
    assert line.startswith("epoch 12.5/100 ")
    assert " loss 123.5  reconstruction 100.2 " in line
    assert "kl" not in line
    assert len(line.rstrip()) <= 80


@pytest.mark.parametrize(
    ("total", "step", "told"), [(1000, 500, "epoch 50/100  "), (1004, 500, "step 500/1,004  ")]
)
def test_a_training_that_does_not_last_whole_epochs_is_told_in_steps(
    total: int, step: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="vae_run"):
        TrainingDisplay(total, 10).evaluated(step, {"loss": 1.0}, final=True)
    assert told in caplog.text
