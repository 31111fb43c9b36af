"""The schema: what is refused, by which name, and what a foreign configuration may build."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import sys

import pytest
import torch
from parts import composed, options

from vae_run.config.check import check
from vae_run.config.groups import GROUPS, filled_in
from vae_run.config.keys import flat, nearest
from vae_run.config.schema import TASKS, Common, OnCheckpoint, Sample, Settings
from vae_run.corruptions import Corruption
from vae_run.errors import ConfigError
from vae_run.evaluation.evaluation import Evaluation
from vae_run.models.likelihoods import BernoulliLikelihood
from vae_run.training.data_support import load_splits


def changed(key, value, *words):
    """A whole configuration with the value at `key` (which may be new) replaced."""
    config = composed(*words)
    *path, last = key.split(".")
    place = config
    for name in path:
        place = place[name]
    place[last] = value
    return config


def refusal(config, **how):
    with pytest.raises(ConfigError) as caught:
        check(config, **how)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_the_defaults_are_right():
    settings = check(composed())
    assert isinstance(settings, Settings)
    assert settings.fixed.latent_dim == 16
    assert settings.classes["likelihood"] is BernoulliLikelihood
    assert settings.parts["trainer"]["batch_size"] == 128


@pytest.mark.parametrize("preset", options("model"))
def test_every_preset_is_right_and_trusted(preset):
    assert check(composed(f"model={preset}"), trust=()).classes.keys() == GROUPS.keys()


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("laten_dim", "latent_dim"),
        ("optimiser", "optimizer"),
        ("trainer.epoch", "trainer.epochs"),
        ("likelihood.sigmas", None),
        ("network.width", "network.widths"),
        ("corruption.level", None),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(key, near):
    said = refusal(changed(key, 1))
    assert said.startswith(f"{key}: there is no such key.")
    assert said.endswith(f"Did you mean {near}?" if near else "no such key.")


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_what_the_program_fills_in_is_no_key(group):
    for name in filled_in(group):
        config = changed(f"{group}.{name}", 1)
        assert refusal(config).startswith(f"{group}.{name}: there is no such key")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("latent_dim", 0, "greater than or equal to 1"),
        ("latent_dim", "2", "valid integer"),
        ("latent_dim", 2.0, "valid integer"),
        ("latent_dim", True, "valid integer"),
        ("latent_dim", None, "valid integer"),
        ("seed", -1, "greater than or equal to 0"),
        ("device", "gpu", "auto, cpu, mps, cuda or cuda:N"),
        ("device", "cpu ", "auto, cpu, mps, cuda or cuda:N"),
        ("precision", "float16", "'float32' or 'bfloat16'"),
        ("trust", "torch", "valid list"),
        ("sweep", {"dir": 3}, "valid string"),
        ("optimizer.lr", 0.0, "greater than 0"),
        ("optimizer.lr", "1e-3", "valid number"),
        ("optimizer.lr", float("nan"), "finite number"),
        ("optimizer.lr", float("inf"), "finite number"),
        ("optimizer.betas", [0.9], "at least 2 items"),
        ("optimizer.betas", [0.9, 0.99, 0.999], "at most 2 items"),
        ("optimizer.betas", [0.9, 1.0], "less than 1"),
        ("network.widths", 400, "valid list"),
        ("network.widths", [400, 0], "greater than 0"),
        ("network.activation", 1, "valid string"),
        ("objective.beta", -0.5, "greater than or equal to 0"),
        ("trainer.epochs", 0, "greater than or equal to 1"),
        ("trainer.epochs", 1.5, "valid integer"),
        ("trainer.batch_size", None, "valid integer"),
        ("trainer.clip_norm", 0, "greater than 0"),
        ("dataset.val_size", 1.0, "less than 1"),
        ("dataset.binarize", "yes", "'none', 'static' or 'dynamic'"),
        ("evaluation.batch_size", 0, "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_is_expected(key, value, expected):
    said = refusal(changed(key, value))
    shown = value["dir"] if isinstance(value, dict) else value
    assert said.startswith(f"{key}")
    assert "found" in said
    assert expected in said
    assert repr(shown) in said or isinstance(value, list)


@pytest.mark.parametrize("sigma", [0.0, 1e-4, -1.0, "learn", None, True, float("inf")])
def test_sigma_is_a_number_above_the_floor_or_a_word(sigma):
    said = refusal(changed("likelihood.sigma", sigma, "likelihood=gaussian"))
    assert said.startswith("likelihood.sigma: found")
    assert "'learned' or 'optimal'" in said


@pytest.mark.parametrize("level", [-0.1, 1.1])
@pytest.mark.parametrize("option", ["masking", "salt_and_pepper"])
def test_a_share_of_pixels_lies_between_0_and_1(option, level):
    assert "corruption.level: found" in refusal(
        changed("corruption.level", level, f"corruption={option}")
    )


def test_whole_numbers_do_for_real_ones():
    settings = check(composed("optimizer.lr=1", "objective.beta=2", "objective.warmup_epochs=3"))
    assert settings.parts["optimizer"]["lr"] == 1.0


def test_a_value_that_is_needed_is_asked_for():
    config = composed("dataset=arrays")
    del config["dataset"]["path"]
    assert refusal(config) == "dataset.path: a value is needed; say dataset.path=..."


@pytest.mark.parametrize("found", [None, "digits", ["digits"]])
def test_a_group_that_is_no_part_is_refused(found):
    assert refusal(changed("dataset", found)).startswith(f"dataset: found {found!r}")


def test_a_group_that_is_missing_is_refused():
    for group in GROUPS:
        config = composed()
        del config[group]
        assert refusal(config).startswith(f"{group}: found None")


@pytest.mark.parametrize(
    ("words", "begins", "remedy", "remedied"),
    [
        (["posterior=delta"], "objective: an ELBO needs a posterior with a density",
         "Use posterior=normal, or objective=reconstruction.", ["objective=reconstruction"]),
        (["prior=fitted_gaussian"], "objective: an ELBO needs a prior",
         "Use prior=standard_normal, or", ["prior=standard_normal"]),
        (["objective.warmup_epochs=11", "trainer.epochs=10"],
         "objective.warmup_epochs: found 11.0, longer than the training of 10 epochs",
         "Lower it, or raise trainer.epochs.", ["trainer.epochs=11"]),
        (["trainer.epochs=null"], "trainer.epochs: found null, and trainer.steps too",
         "one of them must be a number", ["trainer.steps=1"]),
        (["trainer.patience=3", "dataset.val_size=0"],
         "trainer.patience: early stopping needs validation images",
         "Raise dataset.val_size, or leave trainer.patience null.", ["trainer.patience=null"]),
        (["network.activation=rellu"], "network.activation: torch has no activation 'rellu'",
         "did you mean 'relu'?", ["network.activation=relu"]),
        (["network=conv", "network.widths=[]"], "network.widths: ", "at least one level",
         ["network.widths=[8]"]),
        (["evaluation.metrics=[mze]"], "evaluation.metrics: there is no 'mze'", "'mse'",
         ["evaluation.metrics=[mse]"]),
        (["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"],
         "optimizer.nesterov: found true, but optimizer.momentum is 0",
         "Raise the momentum, or leave nesterov false.", ["optimizer.momentum=0.5"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)  # fmt: skip
def test_parts_that_exclude_each_other_are_refused_with_a_remedy(words, begins, remedy, remedied):
    said = refusal(composed(*words))
    assert said.startswith(begins)
    assert remedy in said
    replaced = {word.split("=")[0] for word in remedied}
    assert check(composed(*(w for w in words if w.split("=")[0] not in replaced), *remedied))


def test_a_configuration_is_left_as_it_was():
    config, before = composed(), composed()
    assert config is not before
    assert config["network"]["widths"] is not before["network"]["widths"]
    settings = check(config)
    assert config == before
    assert settings.raw is config


# Keys of tasks


@pytest.mark.parametrize(
    ("words", "of_the_task"),
    [
        ([], {}),
        (["task=check"], {"output": None, "overwrite": False}),
        (["task=resume", "run=r"], {"run": "r"}),
        (["task=evaluate", "run=r"], {"run": "r", "checkpoint": "best"}),
        (
            ["task=sample", "run=r", "output=o.png"],
            {
                **{"run": "r", "checkpoint": "best", "n": 64, "label": None, "given": None},
                **{"output": "o.png", "overwrite": False},
            },
        ),
        *(
            (
                [f"task={task}", "run=r", "input=i.npz", "output=o.npz"],
                {
                    **{
                        "run": "r",
                        "checkpoint": "best",
                        "label": None,
                        "given": None,
                        "overwrite": False,
                    },
                    **{"input": "i.npz", "output": "o.npz"},
                    **more,
                },
            )
            for task, more in (
                ("encode", {}),
                ("reconstruct", {}),
                ("score", {"metric": None, "sheet": "auto"}),
            )
        ),
        (["task=compare", "runs=[a,b]"], {"runs": ["a", "b"], "metric": None, "output": None}),
        (
            ["task=ensemble", "runs=a"],
            {"runs": "a", "checkpoint": "best", "output": None, "overwrite": False},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and value else "",
)
def test_each_task_has_keys_of_its_own(words, of_the_task):
    fixed = check(composed(*words)).fixed
    assert {k: v for k, v in fixed if k not in Common.model_fields} == of_the_task
    elsewhere = {k: type(v) for schema in TASKS.values() for k, v in schema.model_fields.items()}
    for key in elsewhere.keys() - Common.model_fields.keys() - of_the_task.keys():
        having = [name for name, schema in TASKS.items() if key in schema.model_fields]
        assert refusal({**composed(*words), key: "x"}) == (
            f"{key}: has no meaning here; it belongs to other options or to another task. "
            f"task={', '.join(having)} ha{'s' if len(having) == 1 else 've'} it."
        )
    for key in of_the_task:
        config = {k: v for k, v in composed(*words).items() if k != key}
        if key in ("run", "runs", "n", "input") or (key == "output" and of_the_task[key]):
            assert refusal(config) == f"{key}: a value is needed; say {key}=..."
            assert refusal({**config, key: None}).startswith(f"{key}: found None")
        else:
            assert check(config)


def test_a_task_asks_for_its_own_schema_alone():
    settings = check(composed("task=evaluate", "run=r"))
    assert settings.of(OnCheckpoint).run == "r"
    with pytest.raises(TypeError, match="task=evaluate has no Sample settings"):
        settings.of(Sample)


@pytest.mark.parametrize("task", ["sampel", None, ["train"]])
def test_an_unknown_task_is_refused(task):
    assert refusal(changed("task", task)).startswith(f"task: found {task!r}, expected one of train")


# Defaults of parts


def without(config, *keys):
    """`config` with keys of its parts left out, as in a YAML file that does not spell them out."""
    for key in keys:
        group, name = key.split(".")
        del config[group][name]
    return config


def test_defaults_that_are_not_spelt_out_are_filled_in():
    config = composed()
    for group in GROUPS:
        config[group] = {"_target_": config[group]["_target_"]}
    before = copy.deepcopy(config)
    settings = check(config)
    assert settings.raw == before == config, "what is saved and hashed stays as it was composed"
    whole = check(composed())
    assert {group: dict(part) for group, part in settings.parts.items()} == {
        **{group: dict(part) for group, part in whole.parts.items()},
        "evaluation": dataclasses.asdict(Evaluation()),
    }
    assert settings.parts["trainer"]["epochs"] == 100
    assert settings.parts["trainer"]["steps"] is None
    assert settings.parts["optimizer"]["betas"] == [0.9, 0.999]
    again = check(config).parts["evaluation"]["metrics"]
    assert again == settings.parts["evaluation"]["metrics"]
    assert again is not settings.parts["evaluation"]["metrics"], "a factory makes a list each time"


def test_an_evaluation_of_ones_own_without_metrics_is_right():
    """`load_splits` reads evaluation.metrics, which used to end in a KeyError."""
    config = composed("network.widths=[8]")
    config["evaluation"] = {"_target_": "vae_run.evaluation.evaluation.Evaluation", "figures": []}
    settings = check(config)
    assert settings.parts["evaluation"]["metrics"] == Evaluation().metrics
    assert len(load_splits(settings).train) == 1294


@pytest.mark.parametrize(
    ("words", "left_out", "begins"),
    [
        (["objective.warmup_epochs=200"], ["trainer.epochs", "trainer.steps"],
         "objective.warmup_epochs: found 200.0, longer than the training of 100 epochs"),
        (["optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=true"], ["optimizer.lr"],
         "optimizer.nesterov: found true"),
        (["trainer=pruning", "trainer.epochs=3"], ["trainer.prune_until", "trainer.steps"],
         "trainer.prune_until: found 50,"),
        (["model=stacked_dae", "trainer.epochs=15"], ["trainer.pretrain_epochs"],
         "trainer.pretrain_epochs: found 5 for each of 3 layers"),
        (["model=rae", "network.spectral_norm=true"], ["objective.regularizer"],
         "objective.regularizer: found l2"),
    ],
)  # fmt: skip
def test_refusals_count_with_defaults_that_are_not_spelt_out(words, left_out, begins):
    assert refusal(without(composed(*words), *left_out)).startswith(begins)
    assert refusal(composed(*words)).startswith(begins), "as when they are spelt out"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain(Corruption):
    """A part with every kind of default."""

    needed: int
    absent: float | None = None
    pair: tuple[int, int] = (1, 2)
    made: list[int] = dataclasses.field(default_factory=lambda: [3])
    hidden: int = dataclasses.field(default=4, init=False)
    apply = noise = None


class Inherited(Plain):
    """A subclass that is no dataclass itself, and inherits a constructor with a factory."""


class Own(Plain):
    """A subclass with a constructor of its own."""

    def __init__(self, *, made: str = "own", **others: int) -> None:
        super().__init__(needed=1)
        object.__setattr__(self, "others", others)


def test_every_kind_of_default_is_filled_in():
    filled = {"needed": 7, "absent": None, "pair": (1, 2), "made": [3]}
    for name in ("Plain", "Inherited"):
        settings = check(naming(f"{__name__}.{name}", needed=7))
        assert settings.parts["corruption"] == filled
        built = settings.build("corruption")
        assert (built.made, built.pair, built.hidden) == ([3], (1, 2), 4)
        assert refusal(naming(f"{__name__}.{name}")).startswith("corruption.needed: a value is")
    settings = check(naming(f"{__name__}.Plain", needed=7, pair=[5, 6], made=[]))
    assert settings.parts["corruption"] == {**filled, "pair": (5, 6), "made": []}
    settings = check(naming(f"{__name__}.Own", extra=2))
    assert settings.parts["corruption"] == {"made": "own", "extra": 2}
    assert settings.build("corruption").others == {"extra": 2}


# The method `conflicts` of a part from outside


def defining(**members):
    """A corruption of a package from outside with further members."""
    cls = type("Foreign", (Inherited,), {"__module__": __name__, **members})
    globals()["Foreign"] = cls
    return naming(f"{__name__}.Foreign", needed=1)


def messages(cls, settings, options):
    yield f"corruption.needed: found {options['needed']} beside {settings.fixed.latent_dim}"


def test_conflicts_of_a_part_from_outside_count():
    wanted = "corruption.needed: found 1 beside 16"
    assert refusal(defining(conflicts=classmethod(messages))) == wanted
    assert refusal(defining(conflicts=staticmethod(functools.partial(messages, None)))) == wanted
    nothing = defining(conflicts=classmethod(lambda *_: []), _conflict=classmethod(messages))
    assert check(nothing), "beside `conflicts` itself any name is a helper's"


@pytest.mark.parametrize(
    "name", ["conflict", "_conflicts", "conflits", "Conflicts", "__conflicts", "get_conflicts"]
)
def test_a_misspelt_conflicts_is_an_error(name):
    said = refusal(defining(**{name: classmethod(messages)}))
    assert said.startswith(f"corruption._target_: {__name__}.Foreign defines {name}, which nothing")
    assert "expected a classmethod conflicts(cls, settings, options)" in said


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (messages, "cannot be called"),  # no classmethod
        (classmethod(lambda cls, settings: []), "cannot be called"),
        (classmethod(lambda cls, settings, options: None), "returned None"),
        (classmethod(lambda cls, settings, options: "no"), "returned 'no'"),
        (None, None),
    ],
)
def test_a_conflicts_of_another_form_is_an_error(method, why):
    if why is None:
        assert check(defining())
        return
    said = refusal(defining(conflicts=method))
    assert said.startswith(f"corruption._target_: {__name__}.Foreign")
    assert why in said
    assert "expected a classmethod conflicts(cls, settings, options)" in said


def test_keys_are_flattened_with_dots():
    assert dict(flat({"a": 1, "b": {"c": 2, "d": {"e": [3]}}, "f": {}})) == {
        "a": 1,
        "b.c": 2,
        "b.d.e": [3],
        "f": {},
    }


def test_the_nearest_name_is_near():
    assert nearest("epoch", ["epochs", "steps"]) == "epochs"
    assert nearest("xyzzy", ["epochs", "steps"]) is None
    keys = ["filter", "hydra.sweeper.filter", "optimizer.lr", "objective.beta", "task"]
    assert nearest("lr", keys) == "optimizer.lr"
    assert nearest("beta", keys) == "objective.beta"
    assert nearest("filter", keys) == "filter or hydra.sweeper.filter"


# Which classes a configuration may name

HOSTILE = """
from pathlib import Path
Path({marker!r}).write_text("imported")
from vae_run.corruptions import Corruption, Masking
class Own(Corruption):
    def __init__(self, *, level: float = 0.5) -> None:
        Path({marker!r}).write_text("built")
    noise = apply = None
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module `foreign` that leaves a mark when it is imported, and `other` that re-exports it."""
    marker = tmp_path / "marker"
    (tmp_path / "foreign.py").write_text(HOSTILE.format(marker=str(marker)))
    (tmp_path / "other.py").write_text("from foreign import Own")
    monkeypatch.syspath_prepend(tmp_path)
    yield marker
    for name in ("foreign", "other"):
        sys.modules.pop(name, None)


def naming(target, group="corruption", **arguments):
    return {**composed(), group: {"_target_": target, **arguments}}


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_foreign_run_imports_nothing_of_an_untrusted_package(package, group):
    said = refusal(naming("foreign.Own", group), trust=())
    assert said.startswith(f"{group}._target_: the run names foreign.Own")
    assert "trust=[foreign]" in said
    assert not package.exists()
    assert "foreign" not in sys.modules


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.exec",
        "torch.load",
        "torch.optim.Adam",
        "vae_run_extra.Own",
        "omegaconf.OmegaConf",
        "vae_run.runs.run_directory.OmegaConf",
        "vae_run.config.check.import_module",
        "vae_run.runs.run_directory.subprocess",
        "vae_run.runs.run_directory.os.system",
        "vae_run.runs.checkpoint_file.torch",
        "vae_run.runs.checkpoint_file.torch.load",
        "vae_run.training.optimizers.torch.optim.Adam",
        "vae_run.models.likelihoods.nn.Module",
        "vae_run.config.check.check",
        "vae_run.cli.main.main",
        "vae_run.__main__.main",
        "vae_run.runs.checkpoint_file.write_atomically",
        "vae_run",
        ".vae_run.corruptions.Masking",
        "vae_run..Masking",
        "",
        None,
        3,
    ],
    ids=str,
)
@pytest.mark.parametrize("group", ["corruption", "optimizer", "network"])
def test_a_foreign_run_can_name_nothing_but_parts(target, group, monkeypatch):
    def called(*arguments, **keywords):
        pytest.fail(f"{target} was called")

    for module, name in ((os, "system"), (torch, "load")):
        monkeypatch.setattr(module, name, called)
    assert refusal(naming(target, group), trust=()).startswith(f"{group}._target_: ")


def test_a_part_of_one_group_is_none_of_another():
    for target in ("vae_run.models.likelihoods.BernoulliLikelihood", "vae_run.models.networks.MLP"):
        for trust in ((), None):
            said = refusal(naming(target), trust=trust)
            assert said.startswith(f"corruption._target_: {target} is no vae_run.corruptions")


def test_an_abstract_class_is_no_part():
    for group in ("corruption", "likelihood", "network", "dataset"):
        assert "is abstract" in refusal(naming(GROUPS[group], group))


def test_a_trusted_package_is_built_and_one_that_it_re_exports_is_not(package):
    settings = check(naming("foreign.Own", level=0.25), trust=["foreign"])
    assert settings.classes["corruption"].__module__ == "foreign"
    assert settings.parts["corruption"] == {"level": 0.25}
    assert package.read_text() == "built"
    assert "is no vae_run.corruptions.Corruption" in refusal(naming("other.Own"), trust=["other"])
    assert check(naming("foreign.Masking"), trust=["foreign"]).parts["corruption"] == {"level": 0.3}


def test_the_trust_of_a_foreign_run_itself_counts_for_nothing(package):
    config = {**naming("foreign.Own"), "trust": ["foreign"]}
    assert "trust=[foreign]" in refusal(config, trust=())
    assert not package.exists()


def test_the_user_may_name_any_class_that_is_a_part(package):
    assert check(naming("foreign.Own")).classes["corruption"].__name__ == "Own"
    assert check(naming("torch.optim.RMSprop", "optimizer", lr=0.1)).parts["optimizer"]["lr"] == 0.1
    said = refusal(naming("foreign.Absent"))
    assert said.startswith("corruption._target_: cannot import foreign.Absent")
    assert "cannot import absent.Own" in refusal(naming("absent.Own"))


def test_the_arguments_of_a_users_class_are_checked_like_ours(package):
    assert "Did you mean corruption.level?" in refusal(naming("foreign.Own", levels=0.1))
    assert "valid number" in refusal(naming("foreign.Own", level="high"))
