"""Search spaces in Hydra's syntax: which keys get whole numbers."""

from __future__ import annotations

from itertools import product

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vae_run.errors import ConfigError
from vae_run.sweeps.search.settings import SearchSettings
from vae_run.sweeps.search.space import Numbers
from vae_run.sweeps.search.space_syntax import read_space, with_whole_numbers
from vae_run.sweeps.settings import checked
from vae_run.sweeps.sweepers.grid import grid


def parsed(*words):
    return OverridesParser.create().parse_overrides(list(words))


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
        ("latent_dim=range(2,8,0)", r"latent_dim: found range\(2,8,0\), whose step is 0"),
        ("optimizer.lr=range(0.1,0.2,0.0)", r"optimizer.lr: found range\(.*\), whose step is 0"),
        ("seed=int(range(2,4,0.5))", r"seed: found range\(2,4,0\), whose step is 0"),
        ("seed=range(5,2)", r"seed: found range\(5,2,1\), which holds nothing"),
    ],
)
@pytest.mark.parametrize("read", [grid, read_space])
def test_a_range_without_values_is_refused_by_its_key(read, word, told):
    with pytest.raises(ConfigError, match=told):
        read(parsed(word))


@pytest.mark.parametrize("read", [grid, read_space])
def test_a_pattern_that_no_option_matches_is_refused(read, monkeypatch):
    (override,) = parsed("model=glob(nothing*)")
    monkeypatch.setattr(override, "sweep_string_iterator", lambda: iter(()))
    with pytest.raises(ConfigError, match=r"model: found model=glob\(nothing\*\), which holds no"):
        read([override])


def test_a_range_has_the_same_decimal_numbers_in_a_grid_and_in_a_search():
    starts, lengths, steps = range(0, 10), range(1, 10), (1, 2, 3, 5)
    for start, length, step in product(starts, lengths, steps):
        word = f"objective.beta=range({start / 10},{(start + length) / 10},{step / 10})"
        expected = [str(tenths / 10) for tenths in range(start, start + length, step)]
        listed = grid(parsed(word))["objective.beta"]
        assert listed == [f"objective.beta={number}" for number in expected], word
        axis = read_space(parsed(word)).axes["objective.beta"]
        assert (axis.low, axis.high) == (float(expected[0]), float(expected[-1])), word
        assert axis.step == step / 10


def test_a_range_may_fall_and_whole_numbers_stay_whole():
    assert grid(parsed("seed=range(3,0,-1)"))["seed"] == ["seed=3", "seed=2", "seed=1"]
    falling = grid(parsed("optimizer.lr=range(0.3,0,-0.1)"))["optimizer.lr"]
    assert falling == ["optimizer.lr=0.3", "optimizer.lr=0.2", "optimizer.lr=0.1"]


@pytest.mark.parametrize(("stop", "told"), [("0.4", True), ("0.3", False), ("0.6", False)])
def test_a_line_tells_where_hydra_itself_would_have_had_the_stop(capsys, stop, told):
    grid(parsed(f"objective.beta=range(0,{stop},0.1)"))
    assert ("objective.beta: the stop of" in capsys.readouterr().out) == told
