"""`vae_run.fit`, `train` and `Run`: what Python trains is what the command line trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import vae_run as api
from vae_run.errors import ConfigError, DataError

if TYPE_CHECKING:
    from conftest import Run

SMALL: dict[str, Any] = {"device": "cpu", "network.widths": [8], "trainer.epochs": 2}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def images(count: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 5), dtype=np.uint8)


def test_the_weights_are_those_of_the_command_line_bit_for_bit(
    vae_run: Run, tmp_path: Path
) -> None:
    labels = np.array(["a", "b", "c"])[np.arange(60) % 3]
    np.savez("own.npz", train=images(), train_labels=labels)
    keys = ("device=cpu", "network.widths=[8]", "trainer.epochs=2", "condition=label")
    finished = vae_run("dataset=arrays", "dataset.path=own.npz", *keys, "hydra.run.dir=shell")
    assert finished.code == 0, finished.said
    run = api.fit(images(), labels, condition="label", **SMALL)
    shell = api.Run("shell")
    assert (run.status, shell.status) == ("completed", "completed")
    theirs = shell.model.state_dict()
    assert theirs
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, theirs[name])
    assert run.metrics["test"] == shell.metrics["test"]
    assert run._directory.fingerprint() == shell._directory.fingerprint()


def test_a_run_in_memory_resumes_with_its_data_alone() -> None:
    run = api.fit(images(), quiet=True, **SMALL)
    assert run.resume(**{"trainer.epochs": 3}).history[-1]["epoch"] == 3
    other = api.Run(run.path)
    with pytest.raises(DataError, match=r"vae_run\.Run\(path\)\.resume\(images\)"):
        other.resume(**{"trainer.epochs": 4})
    assert other.resume(images(), quiet=True, **{"trainer.epochs": 4}).history[-1]["epoch"] == 4


def test_wrong_keys_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.epochs: found 'many'"):
        api.fit(images(), **{"trainer.epochs": "many"})
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        api.fit(images(), lr=0.1)
    assert not list(tmp_path.iterdir())


def test_train_takes_the_words_of_the_command_line() -> None:
    run = api.train("model=ae", "dataset=digits", quiet=True, directory="here", **SMALL)
    assert run.path.name == "here"
    assert run.config["posterior"]["_target_"].endswith(".DeltaPosterior")
