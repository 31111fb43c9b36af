"""The schema: what is refused, by which name, and what a foreign configuration may build."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from parts import composed, options

from vae_run.config.check import check
from vae_run.config.groups import CONTEXT, GROUPS
from vae_run.config.keys import flat, nearest
from vae_run.config.schema import Settings
from vae_run.errors import ConfigError
from vae_run.models.likelihoods import BernoulliLikelihood


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
    for name in CONTEXT:
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
    ("words", "key", "remedy"),
    [
        (["posterior=delta"], "objective", "posterior=normal"),
        (["prior=fitted_gaussian"], "objective", "prior=standard_normal"),
        (["objective.warmup_epochs=11", "trainer.epochs=10"], "objective.warmup_epochs", "epochs"),
        (["trainer.epochs=null"], "trainer.epochs", "trainer.steps"),
        (["trainer.patience=3", "dataset.val_size=0"], "trainer.patience", "dataset.val_size"),
        (["network.activation=rellu"], "network.activation", "'relu'"),
        (["network=conv", "network.widths=[]"], "network.widths", "at least one level"),
        (["evaluation.metrics=[mze]"], "evaluation.metrics", "'mse'"),
        (
            ["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"],
            "optimizer.nesterov",
            "momentum",
        ),
    ],
)
def test_parts_that_exclude_each_other_are_refused_with_a_remedy(words, key, remedy):
    said = refusal(composed(*words))
    assert said.startswith(f"{key}: ")
    assert remedy in said


def test_a_configuration_is_left_as_it_was():
    config, before = composed(), composed()
    check(config)
    assert config == before


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
    assert check(naming("foreign.Masking"), trust=["foreign"]).parts["corruption"] == {}


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
