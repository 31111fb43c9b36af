"""Layer-wise pretraining: the right layer learns, from the right codes, for the right steps."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from parts import composed, experiment
from torch.nn.functional import binary_cross_entropy_with_logits

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.objectives import Reconstruction
from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import NoTracker
from vae_run.training.experiment import Experiment
from vae_run.training.layerwise import LayerBatches, StackLoop, stacked

if TYPE_CHECKING:
    from conftest import Run, Train

DEEP = ("model=stacked_dae", "network.widths=[8,6]", "trainer.batch_size=30")
"""3 layers, 20 -> 8 -> 6 -> 3, and 3 steps an epoch."""
SMALL = ("model=stacked_dae", "network.activation=tanh", "trainer.pretrain_epochs=2")


def deep(*words: str) -> Experiment:
    return experiment(*DEEP, "trainer.epochs=8", "trainer.pretrain_epochs=2", *words)


def loop(made: Experiment, place: Path) -> StackLoop:
    trainer = made.settings.build("trainer")
    built = trainer.loop(made, RunDirectory(place), NoTracker())
    assert isinstance(built, StackLoop)
    return built


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def codes(made: Experiment, x: torch.Tensor, layer: int) -> torch.Tensor:
    """The input of `layer` (from 0) for images x, from the whole net's encoder alone."""
    for step in list(made.model.encoder)[: 2 * layer + 1] if layer else []:
        x = step(x)
    return x


@pytest.mark.parametrize("words", [(), ("network.tied=true", "likelihood=mse")])
def test_the_layers_put_together_are_the_whole_net(words: tuple[str, ...]) -> None:
    made = deep(*words)
    layers, model, x = stacked(made.model), made.model, torch.rand(5, 1, 4, 5)
    h = x
    for layer in layers:
        h = layer.encode(h).mean
    assert torch.equal(h, model.encode(x).mean)
    for layer in reversed(layers):
        h = layer.decode(h).mean
    assert torch.equal(h, model.reconstruct(x))
    sizes = [layer.encode(codes(made, x, i)).mean.shape[1] for i, layer in enumerate(layers)]
    assert sizes == [8, 6, 3]
    own = [{id(p) for p in layer.parameters()} for layer in layers]
    assert set.union(*own) == {id(p) for p in model.parameters()}, "and no weights of their own"
    assert sum(map(len, own)) == len(list(model.parameters())), "each in one layer"


def test_a_layers_loss_by_hand() -> None:
    """-log p(x | h) of the image; the squared error of codes and the constant of its Gaussian."""
    made = deep()
    first, second, _ = stacked(made.model)
    batches = LayerBatches(made.splits.train, made.corruption, batch_size=7, noise=(1, 3), seed=0)
    image = batches.next()
    found = Reconstruction()(first, image, 0.0)["loss"]
    h = codes(made, image.input, 1)
    logits = made.model.likelihood.projection(h)[:, 0]
    expected = binary_cross_entropy_with_logits(logits, image.target, reduction="none")
    torch.testing.assert_close(found, expected.flatten(1).sum(1))
    batches.below = first.encoder
    batch = batches.next()
    inward, outward = list(made.model.encoder)[3:], list(made.model.decoder)[2:]
    back = torch.nn.Sequential(*inward, *outward)(batch.input)
    error = (back - batch.target).square().sum(1) + 4 * math.log(math.pi)
    torch.testing.assert_close(Reconstruction()(second, batch, 0.0)["loss"], error)
    assert not batch.target.requires_grad, "the layers below are not trained"


@pytest.mark.parametrize("corruption", ["masking", "gaussian", "none", "affine"])
def test_what_a_layer_sees(corruption: str) -> None:
    """Clean codes with noise of their own, or the codes of an image that has some."""
    made = deep(f"corruption={corruption}")
    arguments: dict[str, Any] = {"batch_size": 90, "noise": (1, 3), "seed": 4}
    images = LayerBatches(made.splits.train, made.corruption, **arguments).next()
    batches = LayerBatches(made.splits.train, made.corruption, **arguments)
    batches.below = stacked(made.model)[0].encoder
    batch = batches.next()
    assert torch.equal(batch.target, batches.below(images.target))
    if corruption == "masking":
        gone = batch.input == 0
        assert float(gone.float().mean()) == pytest.approx(0.3, abs=0.06)
        assert torch.equal(batch.input[~gone], batch.target[~gone])
    elif corruption == "gaussian":
        assert float((batch.input - batch.target).std()) == pytest.approx(0.3, rel=0.1)
    else:
        assert torch.equal(batch.input, batches.below(images.input))
        assert torch.equal(batch.input, batch.target) == (corruption == "none")


def test_one_layer_learns_at_a_time_and_then_all(tmp_path: Path) -> None:
    made = deep()
    run = loop(made, tmp_path)
    layers, seen = stacked(made.model), []
    before = {name: p.clone() for name, p in made.model.named_parameters()}
    for record in run.steps():
        moved = {id(p) for n, p in made.model.named_parameters() if not torch.equal(p, before[n])}
        of = [i for i, layer in enumerate(layers) if moved & {id(p) for p in layer.parameters()}]
        before = {name: p.clone() for name, p in made.model.named_parameters()}
        seen.append((of, list(record.terms)))
        run.take(record)
        assert run.progress.stale == 0 or run.layer is None, "patience is for the whole net"
    together = ([0, 1, 2], ["loss", "reconstruction"])
    expected = [([k], [f"layer_{k + 1}"]) for k in range(3) for _ in range(6)] + [together] * 6
    assert seen == expected


def test_pretraining_counts_as_training_and_helps(train: Train, tmp_path: Path) -> None:
    """On the digits, two epochs of each of 2 layers: 44 of the run's 66 steps."""
    run = train(tmp_path / "run", *SMALL, "trainer.epochs=6", "optimizer.lr=0.01")
    table = rows(run)
    assert [row["step"] for row in table] == ["11", "22", "33", "44", "55", "66"]
    filled = [[name for name in row if row[name] and name.startswith("train/")] for row in table]
    assert (
        filled
        == [["train/layer_1"]] * 2
        + [["train/layer_2"]] * 2
        + [["train/loss", "train/reconstruction"]] * 2
    )
    loss = [float(row["val/loss"]) for row in table]
    assert loss[0] - loss[3] > 1, "the whole net is better for its layers' training alone"
    assert loss[-1] < loss[3]
    assert checkpoint_file.read(run / "checkpoints" / "best.pt")["step"] == 66
    assert "layer 1 of 2: 64 -> 16" in (run / "train.log").read_text(encoding="utf-8")


def test_the_plan_tells_of_the_layers(vae_run: Run) -> None:
    found = vae_run(*SMALL, "trainer.epochs=9", "task=check", "device=cpu")
    assert "99, 11 an epoch of batch 128; 22 of them for each layer by itself" in found.out


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("network=conv",), "network: found Conv"),
        (("network=resnet",), "network: found ResNet"),
        (("network.widths=[]",), "network.widths"),
        (("network.decoder_widths=[7]",), "network.decoder_widths"),
        (("posterior=normal",), "posterior"),
        (("condition=label",), "condition"),
        (("trainer.epochs=15",), "trainer.pretrain_epochs: found 5 for each of 3 layers"),
        (("trainer.epochs=null",), "trainer.epochs"),
        (("trainer.max_time=60",), "trainer.max_time: found 60, but trainer=layerwise"),
    ],
)
def test_what_cannot_be_stacked_is_refused(words: tuple[str, ...], key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        check(composed("model=stacked_dae", *words))


def test_steps_that_are_too_few_are_refused_once_the_data_are_counted(vae_run: Run) -> None:
    assert vae_run(*SMALL, "trainer.steps=67", "task=check").code == 0
    found = vae_run(*SMALL, "trainer.steps=66", "device=cpu")
    assert found.code == 1
    assert "leaves nothing of the training of 66 steps" in found.said
