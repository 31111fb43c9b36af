"""Search spaces in Hydra's syntax: which keys get whole numbers."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vae_run.errors import ConfigError
from vae_run.sweeps.search.settings import SearchSettings
from vae_run.sweeps.search.space import Numbers
from vae_run.sweeps.search.space_syntax import read_space, with_whole_numbers
from vae_run.sweeps.settings import checked
from vae_run.sweeps.sweepers.grid import grid

WORDS = ["latent_dim=interval(2,64)", "objective.beta=interval(1,4)", "seed=3"]


def space():
    return read_space(OverridesParser.create().parse_overrides(WORDS))


def test_keys_that_take_only_ints_are_told_by_the_key_of_the_error():
    asked = []

    def check(overrides):
        asked.append(list(overrides))
        if "latent_dim=2.5" in overrides:
            raise ConfigError("objective.beta: is not what is wrong", key="latent_dim")

    found = with_whole_numbers(space(), check).axes
    assert found["latent_dim"] == Numbers(2, 64)
    assert isinstance(found["latent_dim"].low, int)
    assert isinstance(found["objective.beta"].low, float)
    assert asked == [
        ["latent_dim=2.5", "objective.beta=1.5", "seed=3"],
        ["latent_dim=2", "objective.beta=1.5", "seed=3"],
    ]


def test_an_error_without_a_key_leaves_the_space_to_its_check():
    def check(overrides):
        raise ConfigError("latent_dim: and other parts exclude each other")

    assert with_whole_numbers(space(), check).axes == space().axes


@pytest.mark.parametrize(
    ("keys", "key"), [({"trials": 0}, "trials"), ({"trial": 3}, "trial"), ({"seed": "a"}, "seed")]
)
def test_errors_of_a_schema_carry_the_full_key(keys, key):
    with pytest.raises(ConfigError) as refused:
        checked(keys, SearchSettings, "hydra.sweeper")
    assert refused.value.key == f"hydra.sweeper.{key}"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("latent_dim=range(2,8,0)", r"latent_dim: found latent_dim=range\(2,8,0\): .* not be zero"),
        ("optimizer.lr=range(0.1,0.2,0.0)", r"optimizer.lr: found .*: Invalid range values"),
        ("seed=range(5,2)", r"seed: found seed=range\(5,2\), which holds nothing"),
    ],
)
def test_a_range_without_values_is_refused_in_a_grid(word, told):
    with pytest.raises(ConfigError, match=told):
        grid(OverridesParser.create().parse_overrides([word]))
