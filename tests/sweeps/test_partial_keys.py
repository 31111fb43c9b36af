"""Sweeps over families: keys that only some options have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from test_sweep_figure import rows

from vae_run import plots
from vae_run.cli.composition import explain, options_having
from vae_run.cli.hydra_api import composing
from vae_run.cli.resolvers import register_resolvers
from vae_run.config.options import CONF
from vae_run.errors import ConfigError
from vae_run.runs.identity import identity
from vae_run.sweeps.composer import Composer
from vae_run.sweeps.ledger import Ledger
from vae_run.sweeps.partial_keys import PartialKeys
from vae_run.sweeps.pictures import numeric_key, over_key
from vae_run.sweeps.search.space import Numbers, check_ends
from vae_run.sweeps.search.space_syntax import read_space, with_whole_numbers
from vae_run.sweeps.sweepers.grid import filtered, grid

if TYPE_CHECKING:
    from conftest import Run


@pytest.fixture
def composer() -> Iterator[Composer]:
    register_resolvers()
    with composing(CONF):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", ["sweep.dir=x"], RunMode.MULTIRUN)
        yield Composer(loader, master)


def keys_of(composer: Composer, *words: str) -> PartialKeys:
    return PartialKeys(composer, grid(composer.parse(words)))


def jobs_of(composer: Composer, *words: str) -> list[list[str]]:
    found = keys_of(composer, *words)
    found.refuse_foreign()
    return found.jobs(product(*found.axes.values()))


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (
            ["model=ae,vae", "objective.beta=1,2"],
            [["model=ae"], ["model=vae", "objective.beta=1"], ["model=vae", "objective.beta=2"]],
        ),
        (
            ["trainer.epochs=20", "model=pca,ae"],
            [["model=pca"], ["trainer.epochs=20", "model=ae"]],
        ),
        (  # a job that is asked for twice stays asked for twice
            ["model=ae,vae", "seed=1,1"],
            [["model=ae", "seed=1"]] * 2 + [["model=vae", "seed=1"]] * 2,
        ),
        (  # what is added or removed, Hydra judges
            ["model=ae", "+objective.beta=1"],
            [["model=ae", "+objective.beta=1"]],
        ),
        (  # two groups decide
            ["trainer=gradient,pruning", "model=ae,pca", "trainer.sparsity=0.5"],
            [
                ["trainer=gradient", "model=ae"],
                ["trainer=gradient", "model=pca"],
                ["trainer=pruning", "model=ae", "trainer.sparsity=0.5"],
                ["trainer=pruning", "model=pca", "trainer.sparsity=0.5"],
            ],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) else "",
)
def test_a_job_is_given_the_keys_that_its_options_have(
    words: list[str], jobs: list[list[str]], composer: Composer
) -> None:
    assert jobs_of(composer, *words) == jobs


def test_a_line_for_each_key_and_option_without_it(composer: Composer) -> None:
    words = ["model=pca,ae,vae", "trainer.epochs=2", "objective.beta=1,2"]
    assert list(keys_of(composer, *words).lines()) == [
        "trainer.epochs: left out for trainer=closed_form (model=pca), which has no such key",
        "objective.beta: left out for objective=reconstruction (model=pca, model=ae), which has no "
        "such key",
    ]
    words = ["objective=elbo,iwae", "model=vae,beta_vae", "objective.beta=2"]
    assert list(keys_of(composer, *words).lines()) == [
        "objective.beta: left out for objective=iwae, which has no such key"
    ]


def test_a_key_that_no_option_has_is_refused_with_those_that_have_it(composer: Composer) -> None:
    with pytest.raises(ConfigError) as refused:
        jobs_of(composer, "model=ae,dae", "trainer.sparsity=0.5")
    assert str(refused.value) == (
        "trainer.sparsity: no option of this sweep has it; trainer=pruning has."
    )
    with pytest.raises(
        ConfigError, match=r"^n: no option of this sweep has it; task=sample has\.$"
    ):
        jobs_of(composer, "model=ae,vae", "n=3")


def test_a_key_that_exists_nowhere_is_left_to_hydra(composer: Composer) -> None:
    first, *_ = jobs_of(composer, "model=ae,vae", "objective.bet=2")
    with pytest.raises(Exception, match="bet") as refused:
        composer.compose(first)
    assert "Did you mean objective.beta?" in explain(refused.value, CONF)


def test_a_single_run_is_told_which_options_have_the_key(
    composer: Composer, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="sparsity") as refused:
        composer.compose(["trainer.sparsity=0.5"])
    assert explain(refused.value, CONF) == (
        "trainer.sparsity: has no meaning here; it belongs to other options or to another task. "
        "trainer=pruning has it."
    )
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text("sparsity: 1\nown: {deep: 2}\n")
    assert options_having("trainer.sparsity", [CONF, tmp_path]) == "trainer=mine, pruning have it"
    assert options_having("trainer.own.deep", [tmp_path]) == "trainer=mine has it"
    assert options_having("sampler", [CONF]) == "task=sample has it"
    assert options_having("trainer.none", [CONF]) == ""


def test_a_filter_reads_an_absent_key_as_null(composer: Composer) -> None:
    jobs = jobs_of(composer, "model=ae,vae", "objective.beta=1,2")
    ae, one, two = jobs
    for expression, left in (
        ("objective.beta < 2", [one]),
        ("not objective.beta >= 2", [ae, one]),
        ("objective.beta == null or 3 - objective.beta * 1 < 2", [ae, two]),
        ("objective.beta in [2, 3] or model == 'ae'", [ae, two]),
        ("objective.beta != 1", [ae, two]),
    ):
        assert filtered(jobs, expression, composer) == left, expression
    with pytest.raises(ConfigError, match=r"no such key\. Did you mean objective\.beta"):
        filtered(jobs, "objective.bet < 2", composer)


def test_equal_jobs_have_one_identity_in_the_ledger(composer: Composer, tmp_path: Path) -> None:
    swept, ledger = ["model", "objective.beta"], Ledger(tmp_path)
    for words in (
        ["model=ae,vae", "objective.beta=1,2"],
        ["objective.beta=2,4", "model=vae,ae", "trainer.epochs=100"],  # in another order
    ):
        for job in jobs_of(composer, *words):
            ledger.add(composer.compose(job), job, swept)
    assert [entry.directory for entry in ledger.jobs.values()] == [
        "000-model=ae",
        "001-model=vae,beta=1",
        "002-model=vae,beta=2",
        "003-beta=4,model=vae",
    ]
    assert identity(composer.compose(["model=ae"])) in ledger.jobs


def test_a_metric_is_drawn_against_a_key_for_the_jobs_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(plots, "sweep_curves", lambda panels, axis, **rest: drawn.update(
        panels=panels, axis=axis, notes=rest["notes"]))  # fmt: skip
    jobs = rows(model=["vae"] * 3, objective__beta=["1", "2", "4"], val___mse=[0.3, 0.4, 0.5])
    jobs += rows(model=["ae"], val___mse=[0.2])
    assert numeric_key(jobs) == "objective.beta"
    over_key(jobs, None, 0)
    assert drawn["axis"] == "objective.beta"
    assert [(line.x, line.y) for line in drawn["panels"]["mse"]] == [([1, 2, 4], [0.3, 0.4, 0.5])]
    assert drawn["notes"] == ["1 of 4 jobs are given no objective.beta"]


def test_families_are_swept_and_known_again(vae_run: Run) -> None:
    kept = "(model=='pca') == (trainer=='closed_form')"
    words = ("-m", "device=cpu", "evaluation.figures=[]", "sweep.dir=s", "latent_dim=2",
             "trainer.steps=2", "trainer=closed_form,gradient", "model=pca,vae",
             "objective.beta=1,2", "hydra/launcher=vectorized",
             f'hydra.sweeper.filter="{kept}"')  # fmt: skip
    first = vae_run(*words)
    assert first.code == 0, first.said
    assert "trainer.steps: left out for trainer=closed_form, which has no such key" in first.out
    assert "3 jobs, in s" in first.out
    assert "2 jobs train together" in first.out
    assert "3 jobs, 3 done before" in vae_run(*words).out
    jobs = json.loads(Path("s/ledger.json").read_text(encoding="utf-8"))["jobs"].values()
    assert [job["directory"][4:] for job in jobs] == [
        "trainer=closed_form,model=pca",
        "trainer=gradient,model=vae,beta=1",
        "trainer=gradient,model=vae,beta=2",
    ]
    assert "not given, 1, 2" in Path("s/sweep.html").read_text(encoding="utf-8")


def test_the_keys_of_a_search_belong_to_options_too(composer: Composer) -> None:
    words = ["model=ae,vae", "objective.beta=interval(1,2)", "trainer.epochs=interval(2,9)",
             "trainer=closed_form,gradient", "seed=3"]  # fmt: skip
    space = read_space(composer.parse(words))
    keys = PartialKeys(composer, space.words_of_ends)
    kinds = [{key: word.partition("=")[2] for key, word in kind.items()} for kind in keys.kinds()]
    assert [(kind["model"], kind["trainer"]) for kind in kinds] == [
        ("ae", "closed_form"),
        ("ae", "gradient"),
        ("vae", "closed_form"),
        ("vae", "gradient"),
    ]

    def check_job(overrides: Sequence[str]) -> None:
        words = keys.of(overrides)
        if "trainer.epochs=2.5" in words:
            raise ConfigError("trainer.epochs: found 2.5", key="trainer.epochs")
        if "objective.beta=2" in words and refuses:
            raise ConfigError("objective.beta: found 2")

    refuses = False
    whole = with_whole_numbers(space, check_job, kinds)
    assert (whole.axes["trainer.epochs"], whole.axes["objective.beta"]) == (
        Numbers(2, 9),
        Numbers(1.0, 2.0),
    )
    point = {"model": "ae", "trainer": "gradient", "trainer.epochs": 3, "objective.beta": 1.5}
    assert keys.of(whole.overrides(point)) == [
        *("model=ae", "trainer.epochs=3", "trainer=gradient", "seed=3")
    ]
    for refuses in (False, True):  # ae proves nothing of beta
        with nullcontext() if not refuses else pytest.raises(ConfigError, match="beta: found 2"):
            check_ends(
                whole.axes,
                lambda point: check_job(whole.overrides(point)),
                lambda point: keys.keys(whole.overrides(point)),
            )
