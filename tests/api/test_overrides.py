"""Python values become overrides that Hydra reads as exactly these values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import vae_run as api
from vae_run.api.overrides import overrides
from vae_run.api.sweeping import _axis
from vae_run.errors import ConfigError


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -3, 0.1, 1e-5, 1e22, math.inf, "vae", "true", "null", "1e-3", ""),
        *("a,b", "[1, 2]", "{a: 1}", "${seed}", "a b", "it's", 'say "yes"', "back\\", "\\${x}"),
        *("/a b/c=1", "~/x", "café (1).png", "${now:%Y}", "a:b", "#", "  padded "),
        *([], [1, 2], ["a", "b,c"], [[8, 4], [2]], [None, True, 0.5], ["${x}", "null"]),
        *({}, {"age": 40, "sex": "f"}, {"a": [1, {"b": None}]}),
    ],
)
def test_a_value_is_read_back(value: Any) -> None:
    (word,) = overrides({"some.key": value})
    (read,) = OverridesParser.create().parse_overrides([word])
    assert not read.is_sweep_override()
    config = OmegaConf.create({"seed": 1, "value": read.value()})
    found: Any = OmegaConf.to_container(config, resolve=True)
    assert found["value"] == value
    assert type(found["value"]) is type(value)


def test_other_types_are_taken_for_the_plain_ones() -> None:
    keys = {"a": np.float64(0.5), "b": np.arange(3), "c": range(2), "d": (1, 2), "e": Path("x/y")}
    assert overrides(keys) == ["a=0.5", "b=[0,1,2]", "c=[0,1]", "d=[1,2]", "e=x/y"]


@pytest.mark.parametrize("value", [object(), b"bytes", [object()], 1j])
def test_what_no_configuration_holds_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^k: found"):
        overrides({"k": value})


def test_axes_of_a_sweep() -> None:
    assert _axis("seed", range(3)) == "seed=0,1,2"
    assert _axis("model", ["vae", "ae"]) == "model=vae,ae"
    assert _axis("objective.beta", (1, 0.5, None)) == "objective.beta=1,0.5,null"
    assert _axis("network.widths", [[8], [16, 8]]) == "network.widths=[8],[16,8]"
    assert _axis("optimizer.lr", "interval(1e-4,1e-2)") == "optimizer.lr=interval(1e-4,1e-2)"
    for wrong in ([], 3):
        with pytest.raises(ConfigError, match="seed: found"):
            _axis("seed", wrong)  # type: ignore[arg-type]


def test_data_are_no_words() -> None:
    for call in (lambda: api.train(np.zeros(3)), lambda: api.sweep({"seed": [0]}, np.zeros(3))):
        with pytest.raises(ConfigError, match=r"found ndarray.*vae_run\.fit"):
            call()
