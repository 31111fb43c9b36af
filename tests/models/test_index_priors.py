"""Priors over the indices of codes, and the bits that indices take."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from parts import experiment
from same_run import metrics, same

from vae_run import load
from vae_run.data.splits import Split
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating, fit_prior, indices
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.metrics.bits_per_dim import bits_per_dim
from vae_run.evaluation.metrics.code_usage import code_usage
from vae_run.evaluation.metrics.objective import objective
from vae_run.models.distributions.indices import IndexSpace
from vae_run.models.priors import FittedAutoregressive, FittedCodes
from vae_run.models.priors.fitted_indices import left_out, smoothed
from vae_run.runs import checkpoint_file

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Run, Train


def space(length: int, codes: int) -> IndexSpace:
    """Indices whose code is themselves, as floats."""
    return IndexSpace(length, 1, codes, length, lambda found: found.float())


def every(length: int, codes: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(codes), repeat=length)))


def chain(n: int) -> torch.Tensor:
    """The second index is the first, the third one more than it (mod 3), [n, 3]."""
    first = torch.randint(0, 3, (n,))
    return torch.stack([first, first, (first + 1) % 3], 1)


def test_frequencies_are_drawn_to_those_of_all_positions_and_these_to_equal_ones():
    counts = torch.tensor([[[2.0, 1, 0, 0]], [[0, 0, 0, 3]]]).double()  # 3 codes of 2 positions
    found = smoothed(counts, a=1.0, b=2.0)
    shared = [(n + 2 / 4) / (6 + 2) for n in (2, 1, 0, 3)]
    for place, own in enumerate(([2, 1, 0, 0], [0, 0, 0, 3])):
        expected = [(n + q) / (3 + 1) for n, q in zip(own, shared, strict=True)]
        assert found[place, 0].tolist() == pytest.approx(expected)
    # Each index left out by hand, with the counts of the others.
    total = 0.0
    for place, index in zip(*counts[:, 0].nonzero(as_tuple=True), strict=True):
        others = counts.clone()
        others[place, 0, index] -= 1
        q = (others.sum(0)[0, index] + 2 / 4) / (5 + 2)
        p = (others[place, 0, index] + q) / (2 + 1)
        total += float(counts[place, 0, index] * p.log())
    assert left_out(counts, a=1.0, b=2.0) == pytest.approx(total)


def test_frequencies_of_much_are_those_of_the_codes_and_of_little_those_of_all_positions():
    torch.manual_seed(0)
    prior = FittedCodes(index_space=space(2, 4))
    much = torch.stack([torch.randint(0, 2, (4000,)), torch.randint(2, 4, (4000,))], 1)
    prior.fit(much)
    found = prior().indices.base_dist.probs
    expected = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    assert (found > 0).all()
    assert prior().sample((2000,)).mean(0).tolist() == pytest.approx([0.5, 2.5], abs=0.06)
    prior = FittedCodes(index_space=space(20, 50))  # alike at all positions
    prior.fit(torch.randint(0, 25, (10, 20)))
    found = prior().indices.base_dist.probs
    assert float(found[:, 25:].sum(1).max()) < 0.1
    assert float((found[:, :25] - 1 / 25).abs().mean()) < 0.02


def test_the_network_finds_the_dependence_of_indices_and_frequencies_do_not():
    torch.manual_seed(0)
    train, test = chain(400), chain(200)
    prior = FittedAutoregressive(index_space=space(3, 3), units=16, steps=150)
    prior.fit(train)
    alone = FittedCodes(index_space=space(3, 3))
    alone.fit(train)
    own, independent = (float(p().indices.log_prob(test).mean()) for p in (prior, alone))
    assert own == pytest.approx(-math.log(3), abs=0.08)
    assert independent == pytest.approx(-3 * math.log(3), abs=0.02)
    total = prior().indices.log_prob(every(3, 3)).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)
    drawn = prior().sample((300,))
    assert float((drawn[:, 1] == drawn[:, 0]).float().mean()) > 0.97
    assert drawn[:, 0].mean() == pytest.approx(1, abs=0.2)
    assert prior().sample((2, 5)).shape == (2, 5, 3)


def test_the_network_is_never_worse_than_frequencies_and_its_fit_is_repeatable():
    torch.manual_seed(0)
    train = torch.randint(0, 5, (60, 4))
    made = [FittedAutoregressive(index_space=space(4, 5), units=8, steps=20) for _ in range(2)]
    with torch.inference_mode():
        made[0].fit(train)
    made[1].fit(train)
    states = [each.state_dict() for each in made]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not [name for name, p in made[0].named_parameters() if p.requires_grad]
    aside = torch.arange(60) % 10 == 9
    alone = FittedCodes(index_space=space(4, 5))
    alone.fit(train[~aside])
    own, plain = (float(p().indices.log_prob(train[aside]).mean()) for p in (made[0], alone))
    assert own >= plain - 1e-6


def test_a_code_without_indices_has_no_such_prior():
    with pytest.raises(ConfigError, match="FittedCodes is over indices"):
        FittedCodes(index_space=None)


def four_images():
    """An experiment with a codebook that holds the codes of 4 images, and a split of them.

    They occur 8, 4, 2 and 2 times among 16.
    """
    made = experiment("model=vq_vae", "latent_dim=4", "posterior.codes=8", "prior=fitted_codes")
    images = made.splits.train.images[:4]
    split = Split(images[torch.tensor([0] * 8 + [1] * 4 + [2] * 2 + [3] * 2)])
    with evaluating(made.model):
        codes = made.model.encode(images).residuals[:, 0, 0]
        book = made.model.posterior.books[0].codes
        book.fill_(100.0)
        book[[1, 3, 5, 7]] = codes
    return made, replace(made.view(made.splits.val), split=split, batch_size=3)


def test_perplexity_is_that_of_the_split_and_not_a_mean_over_batches():
    made, view = four_images()
    with evaluating(made.model):
        found = code_usage(view)
    bits = 0.5 * 1 + 0.25 * 2 + 2 * 0.125 * 3
    assert found["codes_used"] == 4
    assert found["perplexity"] == pytest.approx(2**bits)
    assert found["code_bits"] == 3
    assert found["entropy_bits"] == pytest.approx(bits)
    assert found["quantization_error"] == pytest.approx(0, abs=1e-9)
    assert "index_bits" not in found
    fit_prior(made.model.prior, view)
    assert indices(view).flatten().bincount(minlength=8).tolist() == [0, 8, 0, 4, 0, 2, 0, 2]
    with evaluating(made.model):
        fitted = code_usage(view)["index_bits"]
    p = made.model.latent_prior().indices.base_dist.probs[0, [1, 3, 5, 7]].double()
    assert fitted == pytest.approx(-float(p.log2() @ torch.tensor([8.0, 4, 2, 2]).double()) / 16)
    assert bits < fitted < 1.2 * bits
    with evaluating(made.model):
        assert made.model.sample(5).shape == (5, 1, 4, 5)


def test_bits_per_dim_are_those_of_the_pixels_and_of_the_indices():
    made = experiment("model=fsq", "latent_dim=4", "prior=fitted_codes")
    binary = Split((made.splits.val.images > 0.5).float())
    view = replace(made.view(made.splits.val), split=binary)
    with evaluating(made.model):
        assert bits_per_dim(view) == {}  # the prior is not fitted yet
    fit_prior(made.model.prior, view)
    with evaluating(made.model):
        nats = objective(view)["reconstruction"] + code_usage(view)["index_bits"] * math.log(2)
        assert bits_per_dim(view)["bits_per_dim"] == pytest.approx(nats / (20 * math.log(2)))


# a whole run

QUICK = (
    *("model=residual_vq", "latent_dim=4", "posterior.code_dim=2", "posterior.codes=8"),
    *("posterior.stages=2", "prior.steps=20", "device=cpu", "network.widths=[16]"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, train: Train) -> Path:
    """A finished model of residual codes, of 2 positions and 2 stages. Read only."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    return train(directory, *QUICK, "trainer.epochs=4", "evaluation.figures=[samples]")


def test_a_run_has_samples_of_codewords_alone(run):
    assert (run / "figures" / "samples.png").is_file()
    model = load(run)
    codes = model.latent_prior().sample((50,))
    torch.testing.assert_close(model.posterior.lookup(every(4, 8)).unique(dim=0).shape[1], 4)
    known = {tuple(row) for row in model.posterior.lookup(every(4, 8)).tolist()}
    assert {tuple(row) for row in codes.tolist()} <= known


def test_indices_are_written_beside_the_codes(run: Path, vae_run: Run) -> None:
    for output in ("codes.npz", "codes.csv"):
        finished = vae_run("task=encode", f"run={run}", "input=test", f"output={output}")
        assert finished.code == 0, finished.said
    with np.load("codes.npz") as found:
        written, means = found["indices"], found["mean"]
    assert written.dtype == np.int64
    assert written.shape[1:] == (2, 2)
    codes = load(run).posterior.lookup(torch.from_numpy(written).flatten(1))
    np.testing.assert_array_equal(codes.detach().numpy(), means)
    with open("codes.csv") as file:
        header, first, *_ = file.read().splitlines()
    columns = header.split(",")
    row = dict(zip(columns, first.split(","), strict=True))
    assert [row[f"indices_{i}"] for i in range(4)] == [str(i) for i in written[0].flatten()]


def test_a_sampler_over_indices_fits_the_codes_of_a_finished_run(run: Path, vae_run: Run) -> None:
    finished = vae_run("task=sample", f"run={run}", "n=9", "output=x.npz", "sampler=codes")
    assert finished.code == 0, finished.said
    assert "the frequencies of codes at each position" in finished.out


def test_a_resumed_run_has_the_same_codebook_bit_for_bit(
    run: Path, vae_run: Run, tmp_path: Path
) -> None:
    begun, short = tmp_path / "begun", (*QUICK, "trainer.epochs=2", "evaluation.figures=[]")
    finished = vae_run(*short, "hydra.run.dir=begun")
    assert finished.code == 0, finished.said
    resumed = vae_run("task=resume", "run=begun", "trainer.epochs=4")
    assert resumed.code == 0, resumed.said
    for name in ("best", "last"):
        states = [checkpoint_file.read(r / "checkpoints" / f"{name}.pt") for r in (begun, run)]
        assert same(states[0]["model"], states[1]["model"])
    assert metrics(begun) == metrics(run)


def test_codes_that_cannot_be_moved_a_little_have_no_traversals():
    made = experiment("model=fsq", "prior=fitted_codes")
    view = made.view(made.splits.val)
    fit_prior(made.model.prior, view)
    with evaluating(made.model):
        drawn = Evaluation(figures=["traversals", "interpolations", "samples", "codes"]).draw(view)
    assert set(drawn) == {"interpolations", "samples", "codes"}
