"""kill -9 at any moment: the newest whole checkpoint goes on, bit for bit, and nothing is left."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
from killable import PLACES, Fault, finish
from kills import CASES, soak
from same_run import assert_same_run

from vae_run.runs.run_directory import RunDirectory

PRESETS = sorted(
    file.stem for file in (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml")
)
LINEAR = ("pca", "ppca", "linear_ae")
PLAN = (
    *("device=cpu", "latent_dim=3", "evaluation.figures=[]"),
    *("trainer.log_every=4", "trainer.checkpoint_seconds=0", "dataset.classes=[0,1,2]"),
)


def plan(preset: str, epochs: int) -> tuple[str, ...]:
    """A short training of the preset, which saves every fourth step."""
    given = (*PLAN, f"trainer.epochs={epochs}")
    words = tuple(w for w in given if preset not in ("pca", "ppca") or not w.startswith("trainer"))
    words = (*words, "latent_dim=4") if preset == "fsq" else words
    widths = () if preset in LINEAR else ("network.widths=[16]",)
    if preset == "kl_autoencoder":
        words = (*(w for w in words if w != "latent_dim=3"), "latent_shape=[2,4,4]")
    short = ("trainer.pretrain_epochs=1",) if preset == "stacked_dae" else ()
    return (f"model={preset}", *words, *widths, *short)


def survive(preset: str, kills: int, folder: Path, *added: str) -> int:
    """Train once in peace and once through up to `kills` kills, and compare; the kills it took."""
    dice = random.Random(f"{preset} {kills}")
    said, words = folder / "said", (*plan(preset, epochs=4 * kills), *added)
    assert finish((*words, "hydra.run.dir=whole"), said) == 0, said.read_text()
    run, command, took = folder / "killed", (*words, "hydra.run.dir=killed"), 0
    for i in range(kills):
        place = PLACES[i % len(PLACES)]
        limit = {"step": 7, "half written": 5, "before": 9, "after": 9}
        count = dice.randint(1, limit.get(place, limit.get(place.split()[0], 3)))
        code = finish(command, said, Fault(place, count))
        if code == 0:  # it had less left to do than that
            break
        assert code == -signal.SIGKILL, said.read_text()
        took += 1
        if (run / "status.json").exists():
            assert json.loads((run / "status.json").read_text())["state"] == "running"
        if (found := RunDirectory(run).newest()) is not None:
            assert found[0]["step"] >= 0
        command = ("task=resume", "run=killed")
    else:
        assert finish(command, said) == 0, said.read_text()
    assert not list(run.rglob("*.tmp"))
    assert_same_run(run, folder / "whole")
    return took


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.scale)])
def test_a_run_killed_again_and_again(kills: int, tmp_path: Path) -> None:
    """Each moment is of another kind, the middle of a checkpoint's write among them."""
    assert survive("vae", kills, tmp_path) == kills


@pytest.mark.faults
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_survives_twenty_kills(preset: str, tmp_path: Path) -> None:
    took = survive(preset, 20, tmp_path)
    assert took == 20 or preset in ("pca", "ppca"), "they are one step, and over sooner"


EMA, PARTS = "trainer.ema=0.9", "trainer.accumulate=3"
WITH_AIDS = {
    "vae": (EMA, PARTS),
    "aae": (EMA, PARTS),
    "hierarchical_vae": (EMA, PARTS),
    "vq_vae": (EMA, PARTS, "posterior.codebook=gradient", "posterior.revive=0"),
    "residual_vq": (EMA,),
    "factor_vae": (EMA,),
    "sparse_ae": (EMA, "objective.sparsity=batch_topk"),
    "vae_gan": (EMA, PARTS, "objective.adaptive=false"),
    "kl_autoencoder": (EMA, "objective.adversarial=0.5"),
}


@pytest.mark.faults
@pytest.mark.parametrize("preset", sorted(WITH_AIDS))
def test_averages_and_parts_of_batches_survive_fifteen_kills(preset: str, tmp_path: Path) -> None:
    assert survive(preset, 15, tmp_path, *WITH_AIDS[preset]) == 15


@pytest.mark.faults
@pytest.mark.timeout(1500)  # each process of a compiled run takes six seconds of the processor
@pytest.mark.parametrize("case", [case for case in CASES if case != "mlflow"])
def test_kills_at_random_moments(case: str, tmp_path: Path) -> None:
    """Start, steps, writing and closing; `python tests/faults/kills.py` counts them."""
    assert soak(case, 15, tmp_path).kills.total() == 15
