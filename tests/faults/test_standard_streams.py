"""Standard output that fails, really: a training goes on, with its log file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Literal

import pytest

from vae_run.sweeps.executors.forking import processes

Kind = Literal["closed", "full", "reader gone", "stderr closed"]
SHORT = (
    *("device=cpu", "network.widths=[16]", "latent_dim=2", "trainer.epochs=1"),
    *("evaluation.figures=[]", "hydra.run.dir=run"),
)


def _main(kind: Kind, folder: Path) -> None:
    """Run `vae-run` with that output, as an interpreter begins that was started with it."""
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 2)
    os.dup2(said, 1)
    lost = 2 if kind == "stderr closed" else 1
    if kind == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), lost)
    elif kind == "reader gone":
        reader, writer = os.pipe()
        os.dup2(writer, lost)
        os.close(reader)
    else:
        os.close(lost)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = None if kind.endswith("closed") and number == lost else open(number, "w")  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    from vae_run.cli.main import main

    main(SHORT)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("reader gone", ""),
        ("full", "standard output ends here, the program goes on: No space left on device"),
        ("closed", ""),
        ("stderr closed", "best checkpoint of epoch 1"),
    ],
)
def test_a_training_goes_on_without_its_output(kind: Kind, told: str, tmp_path: Path) -> None:
    process = processes().Process(  # type: ignore[attr-defined]
        target=_main, args=(kind, tmp_path), daemon=True
    )
    process.start()
    process.join(120)
    said = (tmp_path / "said").read_text()
    assert process.exitcode == 0, said
    assert told in said
    assert "Traceback" not in said
    run = tmp_path / "run"
    assert json.loads((run / "status.json").read_text())["state"] == "completed"
    assert "best checkpoint of epoch 1" in (run / "train.log").read_text()
