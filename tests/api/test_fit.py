"""`vae_run.fit`, `train` and `Run`: what Python trains is what the command line trains."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import vae_run as api
from vae_run.errors import CheckpointError, ConfigError, DataError
from vae_run.training.loop import Loop

if TYPE_CHECKING:
    from conftest import Run


def test_the_weights_are_those_of_the_command_line_bit_for_bit(
    vae_run: Run, images: Any, labels: Any, small: Any
) -> None:
    np.savez("own.npz", train=images, train_labels=labels)
    keys = ("device=cpu", "network.widths=[8]", "trainer.epochs=1", "condition=label")
    finished = vae_run("dataset=arrays", "dataset.path=own.npz", *keys, "hydra.run.dir=shell")
    assert finished.code == 0, finished.said
    run, shell = api.fit(images, labels, condition="label", **small), api.Run("shell")
    assert (run.status, shell.status) == ("completed", "completed")
    theirs = shell.model.state_dict()
    assert theirs
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, theirs[name])
    assert run.metrics["test"] == shell.metrics["test"]
    assert run.config == {
        **shell.config,
        "dataset": {**shell.config["dataset"], "path": "memory:"},
    }
    own = vae_run("task=evaluate", f"run={run.path}", "dataset.path=own.npz")
    assert own.code == 0, own.said
    assert not (run.path / "evaluations").exists(), "the file holds the run's own data"


def test_train_is_the_command_with_the_same_words(vae_run: Run, small: Any) -> None:
    words = ("model=ae", "dataset=digits", "dataset.classes=[0, 1]")
    run = api.train(*words, directory="here", **small)
    finished = vae_run(
        *words, "device=cpu", "network.widths=[8]", "trainer.epochs=1", "hydra.run.dir=shell"
    )
    assert finished.code == 0, finished.said
    shell = api.Run("shell")
    assert run.path.name == "here"
    assert run.config == shell.config
    for name, tensor in shell.model.state_dict().items():
        assert torch.equal(tensor, run.model.state_dict()[name])


def test_a_run_in_memory_resumes_with_its_data_alone(images: Any, small: Any) -> None:
    run = api.fit(images, **small)
    assert run.resume(quiet=True, **{"trainer.epochs": 2}).history[-1]["epoch"] == 2
    other = api.Run(run.path)
    with pytest.raises(DataError, match=r"give the same data again: vae_run\.Run\(path\)\.resume"):
        other.resume(quiet=True, **{"trainer.epochs": 3})
    with pytest.raises(CheckpointError, match="begun with other data"):
        other.resume(255 - images, quiet=True, **{"trainer.epochs": 3})
    with pytest.raises(CheckpointError, match="begun with other data"):
        other.draw(255 - images, quiet=True)
    assert other.data is None, "they were refused"
    other.resume(images, quiet=True, **{"trainer.epochs": 3})
    assert run.history[-1]["epoch"] == 3


def test_ctrl_c_leaves_a_run_that_resumes(
    images: Any, small: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take, steps = Loop.take, list[int]()

    def interrupted(loop: Loop, record: Any) -> None:
        take(loop, record)
        steps.append(record.step)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Loop, "take", interrupted)
    before = signal.getsignal(signal.SIGINT)
    keys = {**small, "quiet": False, "trainer.epochs": 3, "trainer.batch_size": 8}
    run = api.fit(images, **keys)
    assert run.status == "interrupted"
    assert steps == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is before
    assert "Run.resume() goes on" in capsys.readouterr().out
    assert run.model.sample(2).shape == (2, 1, 4, 5)
    assert run.resume(quiet=True).status == "completed"
    whole = api.fit(images, **{**keys, "quiet": True})
    assert whole.metrics["test"] == run.metrics["test"]


def test_a_second_ctrl_c_is_a_keyboard_interrupt(
    images: Any, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(loop: Loop, record: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Loop, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        api.fit(images, directory="here", **small)
    assert api.Run("here").status == "interrupted"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"trainer.epochs": "many"}, r"trainer\.epochs: found 'many'"),
        ({"lr": 0.1}, r"lr: there is no such key\. Did you mean optimizer\.lr"),
        ({"model": "vea"}, "model=vea: there is no such option. Did you mean model=vae"),
        ({"model": None}, "model: found null, expected one of its options"),
        ({"latent_dim": object()}, "latent_dim: found object, expected a number"),
        ({"latent dim": 2}, "'latent dim': is no key"),
        ({"task": "evaluate"}, r"task=evaluate: .* only train\. Use vae_run\.evaluate\(run\)"),
        ({"task": "encode"}, r"only train\. Use in a shell: vae-run task=encode"),
        ({"run": "outputs/x"}, r"run=outputs/x: is no key of a training\. .*\.resume\(\)"),
        ({"output": "x.csv"}, r"output=x\.csv: is no key .*vae_run\.compare\(runs\)"),
        ({"hydra.mode": "MULTIRUN"}, r"hydra\.mode=MULTIRUN: .*vae_run\.sweep"),
    ],
)
def test_wrong_keys_are_refused_and_leave_nothing(
    keys: Any, said: str, images: Any, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        api.fit(images, quiet=True, **keys)
    assert not list(tmp_path.iterdir())


def test_words_of_other_tasks_train_nothing(tmp_path: Path) -> None:
    for words in (["-m", "seed=0,1"], ["+task=sample"], ["++run=x"], ["runs=[x]"], ["n=3"]):
        with pytest.raises(
            ConfigError, match=r"vae_run\.sweep|model\.sample|vae_run\.evaluate|vae_run\.compare"
        ):
            api.train("dataset=digits", *words)
    assert not list(tmp_path.iterdir())


def test_the_shell_has_no_data_in_memory(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("dataset=arrays", "dataset.path=memory:")
    assert finished.code == 3
    assert "this command has none" in finished.err.replace("\n", " ")
    assert not (tmp_path / "outputs").exists()


def test_a_task_on_data_that_were_in_memory_asks_for_a_file(
    images: Any, small: Any, vae_run: Run
) -> None:
    run = api.fit(images, **small)
    finished = vae_run("task=encode", f"run={run.path}", "input=train", "output=codes.npz")
    assert finished.code == 3
    assert "input=train" in finished.err
    assert "Name a file with the images: input=FILE" in finished.err


def test_pictures_are_drawn_when_they_are_asked_for(images: Any, small: Any) -> None:
    keys = {**small, "evaluation.figures": ["reconstructions"]}
    run = api.fit(images, **keys)
    assert not (run.path / "figures").exists()
    assert "data:image" not in run._repr_html_()
    assert sorted(run.figures) == ["learning_curves", "reconstructions"]
    assert "data:image/png;base64," in run.figures["reconstructions"]._repr_html_()
    assert run._repr_html_().count("data:image/png;base64,") == 2
    assert "data:image" in Path(run.report).read_text(encoding="utf-8")
    assert "&lt;" in run.report._repr_html_()
    for other in ({"corruption": "masking"}, {"checkpoint": "last"}):
        with pytest.raises(ConfigError, match=r"a folder of their own: vae_run\.evaluate"):
            run.draw(quiet=True, **other)
    with pytest.raises(ConfigError, match="this call works on"):
        run.draw(quiet=True, run="elsewhere")
    mine = run.path / "figures" / "mine.png"
    mine.write_bytes((run.path / "figures" / "reconstructions.png").read_bytes())
    run.resume(quiet=True, **{"trainer.epochs": 2})
    assert sorted(run.figures) == ["mine"], "those of the earlier checkpoint are gone"
    drawn = api.fit(images, figures=True, **keys)
    assert (drawn.path / "figures" / "reconstructions.png").is_file()


@pytest.mark.parametrize(
    ("figures", "every", "sent"), [(False, "auto", 0), (True, "auto", 1), (False, 1, 1)]
)
def test_pictures_of_the_training_go_to_tensorboard_where_they_are_asked_for(
    figures: bool, every: object, sent: int, images: Any, small: Any
) -> None:
    run = api.fit(images, figures=figures, **{**small, "figures.every": every})
    events = EventAccumulator(str(run.path), size_guidance={"images": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["images"] if "training_" in tag]
    assert len(tags) == 2 * sent, tags


def test_a_report_is_shown_without_data(
    images: Any, small: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = api.Run(api.fit(images, **{**small, "evaluation.figures": []}).path)
    assert list(run.figures) == [], "none are asked for, and no data are read"
    page = Path(run.report)
    assert page.is_file()
    assert not caplog.text
    config = run.path / ".hydra" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("figures: []", "figures: [samples]"), encoding="utf-8")
    with pytest.raises(DataError, match="held in memory"):
        _ = run.figures
    assert Path(run.report) == page
    assert "has no pictures" in caplog.text
