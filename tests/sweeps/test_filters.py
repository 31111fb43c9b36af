"""Filters of grids: what they keep, and what they refuse by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from vae_run.errors import ConfigError
from vae_run.sweeps.filters import ABSENT, Filter

JOB = {"latent_dim": 8, "network.widths": [8, 4], "model": "vae", "optimizer.lr": 1e-3, "run": None}


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("latent_dim < 32 and model != 'ae'", True),
        ("latent_dim < 8 or network.widths == [8, 4]", True),
        ("not model in ('ae', 'dae') and run == null", True),
        ("len(network.widths) > 2", False),
        ("sum(network.widths) <= latent_dim + 4", True),
        ("1e-4 <= optimizer.lr < 1e-3", False),
        ("model == 'ae' and network.depth > 2", False),  # the second is not looked at
        ("false", False),
    ],
)
def test_what_it_keeps(expression, kept):
    assert Filter(expression).keeps(JOB) is kept


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("latentdim < 3", "latentdim: there is no such key. Did you mean latent_dim?"),
        ("latent_dim", "'latent_dim' is 8, expected true or false"),
        ("latent_dim <", "is no expression of keys"),
        ("latent_dim < 'a'", "cannot be evaluated"),
        ("latent_dim.bit_length() > 2", r"found latent_dim\.bit_length\(\)"),
        ("().__class__ == 3", r"\(\)\.__class__ is no key"),
        ("network.widths[0] == 8", r"found network\.widths\[0\]"),
        ("[x for x in (1,)] == [1]", r"found \[x for x"),
        ("__import__('os').system('true') == 0", "found __import__"),
        ("(lambda: 1)() == 1", r"found \(lambda: 1\)\(\)"),
        ("9**9 > 1", "found Pow"),
    ],
)
def test_what_it_refuses(expression, message):
    with pytest.raises(ConfigError, match=f"hydra.sweeper.filter: .*{message}"):
        Filter(expression).keeps(JOB)


def test_a_key_that_no_job_has_is_refused_though_nothing_came_to_it():
    keeps = Filter("latent_dim == 8 or network.width == [8]")
    assert keeps.keeps(JOB)
    with pytest.raises(ConfigError, match=r"network\.width: .*Did you mean network\.widths"):
        keeps.refuse_unknown(list(JOB))


def test_a_grid_runs_what_passes(vae_run):
    words = ("-m", "trainer.steps=1", "device=cpu", "evaluation.figures=[]", "sweep.dir=s",
             "model=ae,vae", "latent_dim=2,4", "network.widths=[8],[9]")  # fmt: skip
    expression = "model == 'vae' and latent_dim < 4 or network.widths == [9] and latent_dim == 4"
    finished = vae_run(*words, f"hydra.sweeper.filter=\"{expression} and model == 'ae'\"")
    assert finished.code == 0, finished.said
    assert "3 of 8 combinations pass hydra.sweeper.filter" in finished.out
    assert sorted(path.name[4:] for path in Path("s").glob("0*")) == [
        "model=ae,latent_dim=4,widths=_9",
        "model=vae,latent_dim=2,widths=_8",
        "model=vae,latent_dim=2,widths=_9",
    ]


def test_impossible_combinations_can_be_left_out(vae_run):
    """The filter comes before the check of the jobs."""
    words = ("-m", "trainer.steps=1", "device=cpu", "evaluation.figures=[]", "sweep.dir=s",
             "posterior=normal,delta", "objective=elbo,reconstruction", "prior=flat")  # fmt: skip
    refused = vae_run(*words)
    assert refused.code == 1
    leaves = vae_run(*words, "hydra.sweeper.filter=\"posterior == 'wide'\"")
    assert leaves.code == 1
    assert "leaves none of the 4 jobs" in leaves.err
    finished = vae_run(*words, "hydra.sweeper.filter=\"posterior == 'delta' and "
                               "objective == 'reconstruction'\"")  # fmt: skip
    assert finished.code == 0, finished.said
    assert len(list(Path("s").glob("0*"))) == 1


@pytest.mark.parametrize("text", ["max(0, a) < 2", "max(a, 0) < 2", "min(3, a) < 3", "a + 1 > 0"])
def test_what_is_computed_of_an_absent_value_is_neither_less_nor_greater(text):
    assert not Filter(text).keeps({"a": ABSENT})
    assert Filter(text).keeps({"a": 1})
