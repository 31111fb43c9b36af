"""Trainings with compiled steps end as those without, from the command to the last row."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from parts import options

from vae_run.training import program

if TYPE_CHECKING:
    from conftest import Run

SHORT = (
    *("device=cpu", "trainer.epochs=1", "evaluation.figures=[]", "dataset.classes=[0,1]"),
    *("trainer.log_every=3", "trainer.batch_size=48"),
)
SLOW = ("fsq", "residual_vq")  # to trace; their steps are those of vq_vae
OTHERS = ("pca", "ppca", "stacked_dae", "vae_gan", *SLOW)
BY_STEPS = [(f"model={model}",) for model in options("model") if model not in OTHERS]
BY_STEPS += [("model=vae_gan", "objective.critic_start=0.5")]
OTHER_STEPS = [
    ("model=stacked_dae", "network.widths=[16]", "trainer.pretrain_epochs=1", "trainer.epochs=4"),
    ("trainer=pruning", "trainer.epochs=4", "trainer.prune_from=1", "trainer.prune_until=3"),
    ("precision=bfloat16", "network.widths=[16]"),
]
QUICK = ("model=ae", "network.tied=true", "network.widths=[16]")


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs are traced, and their graphs interpreted, which takes no compiler's time."""
    monkeypatch.setattr(program, "inductor", lambda graph, _: graph)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    program.forget()


def trained(vae_run: Run, run: Path, *words: str) -> list[dict[str, float]]:
    """The rows of the history."""
    finished = vae_run(*SHORT, *words, f"hydra.run.dir={run}")
    assert finished.code == 0, finished.said
    assert ("the step is compiled" in finished.said) == ("trainer.compile=true" in words)
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{k: float(v) for k, v in row.items() if v and k != "train_seconds"} for row in rows]


@pytest.mark.parametrize(
    "words",
    [QUICK, *(pytest.param(one, marks=pytest.mark.scale) for one in [*OTHER_STEPS, *BY_STEPS])],
    ids=lambda words: words[0],
)
def test_the_history_is_that_of_eager_steps(
    words: tuple[str, ...], vae_run: Run, tmp_path: Path
) -> None:
    own, other = (
        trained(vae_run, tmp_path / compiled, *words, f"trainer.compile={compiled}")
        for compiled in ("true", "false")
    )
    assert len(own) == len(other) >= 1
    for compiled, eager in zip(own, other, strict=True):
        assert compiled == pytest.approx(eager, rel=1e-3, abs=1e-4)
