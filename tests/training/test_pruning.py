"""Pruning: the smallest weights go, exactly as many as was asked for, and never come back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import zuko
from parts import composed, experiment
from torch import nn

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.evaluation.metrics.nonzero_weights import nonzero_weights, weights
from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import NoTracker
from vae_run.training.pruning import PruningLoop, share, smallest

if TYPE_CHECKING:
    from conftest import Run, Train

PRUNED = ("model=ae", "trainer=pruning", "trainer.prune_until=2", "trainer.prune_every=4")
SIZE = 64 * 16 + 16 * 16 + 16 * 16 + 16 * 64
"""Weights of the digits' 64-16-16-16-64 autoencoder, biases left out."""


def saved_weights(run: Path, name: str) -> list[torch.Tensor]:
    state = checkpoint_file.read(run / "checkpoints" / f"{name}.pt")["model"]
    return [tensor for key, tensor in state.items() if key.endswith("weight")]


def zeros(tensors: Any) -> int:
    return sum(int((tensor == 0).sum()) for tensor in tensors)


def test_the_smallest_of_all_layers_together() -> None:
    layers = [torch.tensor([[3.0, -0.1], [0.5, 0.0]]), torch.tensor([-0.2, 9.0, 0.2])]
    before = [layer.clone() for layer in layers]
    found = smallest(layers, 3)
    assert found[0].tolist() == [[False, True], [False, True]]
    assert sum(found[1].tolist()) == 1, "of two equal ones, one"
    assert not found[1][1]
    assert zeros(smallest(layers, 0)) == 7
    assert all(map(torch.equal, layers, before))


def test_the_share_rises_fast_and_then_slowly() -> None:
    """Zhu & Gupta 2017, eq. 1: half way it is 7/8 of the final share."""
    assert [share(done, 0.8) for done in (0, 0.5, 1)] == pytest.approx([0, 0.7, 0.8])
    rises = [share((i + 1) / 10, 1.0) - share(i / 10, 1.0) for i in range(10)]
    assert rises == sorted(rises, reverse=True)


def test_weights_are_those_of_layers() -> None:
    conv = experiment("model=ae", "network=conv", "network.widths=[4,5]", shape=(1, 8, 8)).model
    names = list(weights(conv))
    expected = [name for name, p in conv.named_parameters() if p.dim() > 1]
    assert names == expected
    assert all(isinstance(weight, nn.Parameter) for weight in weights(conv).values())
    tied = experiment("model=ae", "network.tied=true", "likelihood=mse").model
    assert list(weights(tied)) == ["encoder.1.weight", "posterior.projection.weight"]


def test_zeros_rise_by_the_schedule_and_stay(tmp_path: Path) -> None:
    """3 steps an epoch: from step 3 to step 12, new masks at 3, 5, 7, 9, 11 and 12."""
    made = experiment(
        *("model=ae", "trainer=pruning", "trainer.epochs=6", "trainer.batch_size=30"),
        *("trainer.prune_from=1", "trainer.prune_until=4", "trainer.prune_every=2"),
    )
    loop = made.settings.build("trainer").loop(made, RunDirectory(tmp_path), NoTracker())
    assert isinstance(loop, PruningLoop)
    size = 20 * 8 + 8 * 3 + 3 * 8 + 8 * 20
    counts, gone = [], torch.zeros(size, dtype=torch.bool)
    for record in loop.steps():
        loop.take(record)
        flat = torch.cat([w.detach().flatten() for w in weights(made.model).values()])
        assert bool((flat[gone] == 0).all()), "what was pruned stays so"
        gone = flat == 0
        counts.append(int(gone.sum()))
        assert (loop.progress.best_value is None) == (record.step < 12)
    at = {step: round(0.8 * size * (1 - (1 - (step - 3) / 9) ** 3)) for step in (5, 7, 9, 11, 12)}
    held = [at.get(max([s for s in at if s <= step], default=0), 0) for step in range(1, 19)]
    assert counts == held
    assert at[12] == round(0.8 * size)


@pytest.mark.parametrize("sparsity", [0.5, 0.93])
def test_exactly_the_stated_share_is_zero(sparsity: float, train: Train, tmp_path: Path) -> None:
    run = train(
        tmp_path / "run", *PRUNED, "trainer.epochs=4", f"trainer.sparsity={sparsity}",
        "evaluation.metrics=[objective,nonzero_weights]",
    )  # fmt: skip
    left = SIZE - round(sparsity * SIZE)
    for name in ("best", "last"):
        found = saved_weights(run, name)
        assert sum(tensor.numel() for tensor in found) == SIZE
        assert zeros(found) == SIZE - left, name
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["val"]["nonzero_weights"] == metrics["test"]["nonzero_weights"] == left
    log = (run / "train.log").read_text(encoding="utf-8")
    assert f"pruned: {left:,} of {SIZE:,} weights are left" in log


def test_the_best_checkpoint_is_a_pruned_one(train: Train, tmp_path: Path) -> None:
    """Even where the full net was better: it starts trained, and 99 of 100 weights go."""
    full = train(tmp_path / "full", "model=ae", "trainer.epochs=20", "optimizer.lr=0.01")
    run = train(
        tmp_path / "run", *PRUNED, "trainer.epochs=3", "trainer.sparsity=0.99",
        f"init_from={full}",
    )  # fmt: skip
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        loss = [float(row["val/loss"]) for row in csv.DictReader(file)]
    assert loss[0] < loss[2] - 1
    best = checkpoint_file.read(run / "checkpoints" / "best.pt")
    assert best["step"] >= 22
    assert zeros(saved_weights(run, "best")) == round(0.99 * SIZE)


def test_nothing_pruned_is_gradient_descent_bit_for_bit(train: Train, tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", "model=ae")
    none = train(tmp_path / "none", *PRUNED, "trainer.sparsity=0")
    for a, b in zip(saved_weights(plain, "last"), saved_weights(none, "last"), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("trainer.epochs=49",), "trainer.prune_until: found 50, longer"),
        (("trainer.prune_from=60",), "trainer.prune_until: found 50, before"),
        (("trainer.max_time=10.0",), "trainer.max_time"),
        (("network.spectral_norm=true",), "network.spectral_norm"),
        (("trainer.sparsity=1.0",), "trainer.sparsity"),
    ],
)
def test_what_would_not_be_pruned_in_time_is_refused(words: tuple[str, ...], key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        check(composed("model=ae", "trainer=pruning", *words))


def test_too_few_steps_are_refused(vae_run: Run) -> None:
    found = vae_run(*PRUNED, "trainer.steps=21", "device=cpu")
    assert found.code == 1
    assert "which are 22 steps, longer than the training of 21 steps" in found.said


MASKED = ("posterior=flow", "posterior.hidden=[6]", "posterior.transforms=2")


def test_weights_that_a_mask_excludes_do_not_count_and_are_not_pruned(tmp_path: Path) -> None:
    made = experiment(*MASKED, "trainer=pruning", "trainer.epochs=2", "trainer.prune_until=1",
                      "trainer.sparsity=0.5")  # fmt: skip
    masks = {
        f"{name}.weight": layer.mask
        for name, layer in made.model.named_modules()
        if isinstance(layer, zuko.nn.MaskedLinear)
    }
    assert masks
    excluded = sum(int((~mask).sum()) for mask in masks.values())
    assert excluded > 10
    total = sum(weight.numel() for weight in weights(made.model).values())
    view = made.view(made.splits.val)
    assert nonzero_weights(view) == {"nonzero_weights": total - excluded}
    loop = made.settings.build("trainer").loop(made, RunDirectory(tmp_path), NoTracker())
    assert loop.size == total - excluded
    for record in loop.steps():
        loop.take(record)
    left = round(0.5 * loop.size)
    assert loop.size - left == pytest.approx(nonzero_weights(view)["nonzero_weights"], abs=1)
    assert all(bool((weights(made.model)[name][~mask] != 0).all()) for name, mask in masks.items())


def test_weights_are_counted_as_a_parametrisation_gives_them() -> None:
    made = experiment("model=sparse_ae", "latent_dim=6", "network.widths=[]")
    assert nonzero_weights(made.view(made.splits.val)) == {"nonzero_weights": 2 * 6 * 20}
    raw = made.model.likelihood.projection[0].parametrizations.weight.original
    raw.data[:4] = 0.0
    assert nonzero_weights(made.view(made.splits.val)) == {"nonzero_weights": 6 * 20 + 6 * 16}
