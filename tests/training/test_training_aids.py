"""The average of the weights, and gradients that are computed in parts of a batch."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from fitting import batches_of, fitting
from parts import composed, experiment
from torch import nn

from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import calibrate
from vae_run.evaluation.metrics.nonzero_weights import weights
from vae_run.runs import checkpoint_file
from vae_run.runs.identity import identity
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.vectorized.grouping import grouped, refusal
from vae_run.sweeps.vectorized.stacked_model import Stack
from vae_run.system.signals import StopRequests
from vae_run.tracking.tracker import NoTracker
from vae_run.training.accumulation import micro_batches
from vae_run.training.loop import Loop
from vae_run.training.weight_average import WeightAverage

TRAINER = ("trainer.batch_size=32", "trainer.epochs=4", "trainer.checkpoint_seconds=1000.0")


def loop_of(place: Path, *words: str, saved: Path | None = None) -> Loop:
    """A loop before its first step, or continued from the checkpoint `saved`, as by a resume."""
    made = experiment(*TRAINER, *words)
    run = RunDirectory(place)
    place.mkdir(exist_ok=True)
    state = None if saved is None else checkpoint_file.read(saved)
    if state is not None:
        made.model.load_state_dict(state["model"])
    loop: Loop = made.settings.build("trainer").begin(made, run, NoTracker(), state)
    return loop


def take(loop: Loop, count: int) -> list[list[torch.Tensor]]:
    """Take steps; the parameters after each."""
    found = []
    for record in islice(loop.steps(), count):
        loop.take(record)
        found.append([p.detach().clone() for p in loop.experiment.model.parameters()])
    return found


def averaged(first: list[torch.Tensor], then: list[list[torch.Tensor]], decay: float):
    """The moving average in double precision, by the formula of `WeightAverage`."""
    average = [p.double() for p in first]
    for n, now in enumerate(then):
        d = min(decay, (1 + n) / (10 + n))
        average = [d * a + (1 - d) * w.double() for a, w in zip(average, now, strict=True)]
    return average


def test_the_average_has_the_values_of_its_formula_and_a_skipped_step_does_not_move_it() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = WeightAverage(model, 0.15)
    for weight, skipped, expected in (
        (2.0, 0.0, 1.9),  # 0.1 * 1 + 0.9 * 2
        (7.0, 1.0, 1.9),
        (3.0, 0.0, 0.15 * 1.9 + 0.85 * 3.0),  # 2 / 11 is more than 0.15
    ):
        nn.init.constant_(model.weight, weight)
        average.update(torch.tensor(skipped))
        with average.in_use():
            assert model.weight.item() == pytest.approx(expected, rel=1e-6)
        assert model.weight.item() == weight


def test_the_average_is_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, "trainer.ema=0.8")
    first = [p.detach().clone() for p in loop.experiment.model.parameters()]
    then = take(loop, 12)
    loop.finish("finished", StopRequests())
    names = [name for name, _ in loop.experiment.model.named_parameters()]
    last, best = (
        checkpoint_file.read(tmp_path / "checkpoints" / f"{n}.pt") for n in ("last", "best")
    )
    for state, steps in ((last, 12), (best, best["step"])):
        for name, expected in zip(names, averaged(first, then[:steps], 0.8), strict=True):
            torch.testing.assert_close(
                state["model"][name].double(), expected, rtol=1e-4, atol=1e-6
            )
    for name, raw in zip(names, then[-1], strict=True):
        assert torch.equal(last["average"]["weights"][name], raw)
        assert torch.equal(loop.experiment.model.get_parameter(name), raw)
    plain = loop_of(tmp_path / "plain")
    assert all(map(torch.equal, take(plain, 12)[-1], then[-1])), "it does not change the training"
    assert plain.progress.best_value != loop.progress.best_value


@pytest.mark.parametrize(
    "words",
    [
        ("trainer.ema=0.9", "trainer.accumulate=3"),
        ("trainer=pruning", "trainer.prune_until=3", "trainer.prune_every=2", "trainer.ema=0.9"),
        ("trainer=layerwise", "model=stacked_dae", "trainer.pretrain_epochs=1", "trainer.ema=0.9",
         "network.widths=[8]"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_resumed_training_has_the_same_average_bit_for_bit(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    whole = loop_of(tmp_path / "whole", *words)
    take(whole, 12)
    whole.save()
    first = loop_of(tmp_path / "first", *words)
    take(first, 7)
    first.save()
    second = loop_of(tmp_path / "first", *words, saved=tmp_path / "first/checkpoints/last.pt")
    take(second, 5)
    second.save()
    once, twice = (
        checkpoint_file.read(tmp_path / f"{n}/checkpoints/last.pt") for n in ("whole", "first")
    )
    for part in (lambda s: s["model"], lambda s: s["average"]["weights"]):
        assert part(once).keys() == part(twice).keys()
        assert all(torch.equal(tensor, part(twice)[name]) for name, tensor in part(once).items())
    assert once["average"]["updates"] == twice["average"]["updates"] == 12


def test_pruned_weights_are_zero_in_the_average_too(tmp_path: Path) -> None:
    loop = loop_of(tmp_path, "model=ae", "trainer=pruning", "trainer.prune_until=3",
                   "trainer.prune_every=2", "trainer.ema=0.99")  # fmt: skip
    take(loop, 12)
    with loop.average.in_use():
        tensors = weights(loop.experiment.model).values()
        zero, size = (sum(map(f, tensors)) for f in (lambda t: int((t == 0).sum()), torch.numel))
    assert zero == round(0.8 * size)


def test_runs_trained_together_have_the_averages_that_they_have_alone(tmp_path: Path) -> None:
    words = [("trainer.ema=0.9", "seed=1"), ("trainer.ema=0.5", "seed=2"), ("seed=3",)]
    loops = [loop_of(tmp_path / str(i), *each) for i, each in enumerate(words)]
    assert grouped([loop.experiment.settings for loop in loops]).together == [[0, 1, 2]]
    for loop in loops:
        loop.ready()
    stack = Stack(loops)
    for _ in range(4):
        for loop, record in zip(loops, stack.step(), strict=True):
            loop.take(record)
    for i, each in enumerate(words):
        alone = loop_of(tmp_path / f"alone{i}", *each)
        take(alone, 4)
        with alone.average.in_use(), loops[i].average.in_use():
            pairs = zip(alone.experiment.model.parameters(), loops[i].experiment.model.parameters(),
                        strict=True)  # fmt: skip
            for expected, own in pairs:
                torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


TRAINED_CODEBOOK = ("posterior.codebook=gradient", "posterior.revive=0")
SHARED_BATCHES = [
    *[(), ("model=iwae",), ("condition=label",), ("model=dae",)],
    *[("model=aae",), ("model=hierarchical_vae",), ("model=fsq",)],
    *[("model=vq_vae", *TRAINED_CODEBOOK), ("model=residual_vq", *TRAINED_CODEBOOK)],
    *[("model=contractive_ae",), ("model=vae_gan", "objective.adaptive=false")],
    (
        *("model=kl_autoencoder", "latent_shape=[2,2,3]", "network.widths=[8]"),
        *("objective.adversarial=0.5", "objective.adaptive=false"),
    ),
]


@pytest.mark.parametrize("words", SHARED_BATCHES, ids=" ".join)
def test_a_gradient_in_parts_is_that_of_the_batch(words: tuple[str, ...]) -> None:
    """Steps of 32, 32 and 26 images, in parts of 10: 10 + 10 + 10 + 2, and 10 + 10 + 6."""
    made, parted = experiment(*words), experiment(*words)
    whole = fitting(made, batches=made.training_batches(32))
    parts = fitting(parted, batches=parted.training_batches(32), at_once=10)
    for one, other in zip(islice(whole, 6), islice(parts, 6), strict=True):
        assert one.size == other.size
        torch.testing.assert_close(other.grad_norm, one.grad_norm, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other.row(), one.row(), rtol=1e-5, atol=1e-4)
    parameters = zip(made.model.parameters(), parted.model.parameters(), strict=True)
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-4) for a, b in parameters)


def test_a_share_of_a_batch_is_cut_with_its_images_that_count() -> None:
    batch = batches_of(experiment()).next()
    assert [part.share for part in micro_batches(batch, 10)] == [(10, 32)] * 3 + [(2, 32)]
    shared = type(batch)(batch.input, batch.target, batch.noise, share=(15, 90))
    parts = list(micro_batches(shared, 10))
    assert [part.share for part in parts] == [(10, 90), (5, 90), (0, 90), (0, 90)]
    assert torch.equal(torch.cat([part.noise for part in parts], 1), batch.noise)
    assert all(part.input is part.target for part in parts)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("trainer.accumulate=200",), "a batch has trainer.batch_size=128 images"),
        (("trainer.accumulate=2", "objective=beta_tc"), "objective=BetaTC needs each batch as a"),
        (
            ("trainer.accumulate=2", "likelihood=gaussian", "likelihood.sigma=optimal"),
            "likelihood.sigma=optimal needs each batch as a whole",
        ),
        (("trainer.accumulate=2", "model=vq_vae"), "posterior.codebook=ema needs each batch as a"),
        (("trainer.accumulate=2", "model=sparse_ae"), "objective=Sparse needs each batch as a"),
        (("trainer.accumulate=2", "model=factor_vae"), "objective=FactorVAE needs each batch as a"),
        (("trainer.accumulate=2", "model=vae_gan"), "Use objective.adaptive=false, or use"),
        (("trainer.accumulate=2", "network.spectral_norm=true"), "network.spectral_norm refines"),
        (("trainer.ema=1",), "trainer.ema: found 1"),
        (("trainer.accumulate=0",), "trainer.accumulate: found 0"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check(composed(*words))


def test_jobs_of_earlier_sweeps_are_known_and_gradients_in_parts_train_alone() -> None:
    config = composed()
    earlier = {k: v for k, v in config["trainer"].items() if k not in ("ema", "accumulate")}
    assert identity({**config, "trainer": earlier}) == identity(config)
    assert identity(composed("trainer.ema=0.9")) != identity(config)
    assert "trainer.accumulate" in str(refusal(check(composed("trainer.accumulate=2"))))


@pytest.mark.parametrize("ema", ["null", "0.9"])
def test_what_is_taken_from_the_train_split_belongs_to_the_last_weights(
    ema: str, tmp_path: Path
) -> None:
    """Training may end between two evaluations; a signal's checkpoint is left as it is."""
    words = ("likelihood=gaussian", "likelihood.sigma=optimal", f"trainer.ema={ema}")
    loop = loop_of(tmp_path, *words, "trainer.max_time=1000.0", "optimizer.lr=0.1")
    take(loop, 4)  # the third step ends an epoch
    stale = float(loop.experiment.model.likelihood.sigma)
    loop.finish("1000 s of training are over", StopRequests())
    saved = checkpoint_file.read(tmp_path / "checkpoints" / "last.pt")["model"]
    made = experiment(*TRAINER, *words)
    made.model.load_state_dict(saved)
    calibrate(made.view(made.splits.train, loop.progress.epoch))
    found = float(saved["likelihood.stored"])
    assert found == pytest.approx(float(made.model.likelihood.sigma), rel=1e-6)
    assert found != pytest.approx(stale, rel=1e-3)
    longer = (*words, "trainer.max_time=2000.0", "optimizer.lr=0.1")
    again = loop_of(tmp_path, *longer, saved=tmp_path / "checkpoints" / "last.pt")
    take(again, 8)
    whole = loop_of(tmp_path / "whole", *longer)
    take(whole, 12)
    expected = whole.experiment.model.state_dict()
    for name, tensor in again.experiment.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), f"{name}: it goes on as if it had not ended"
