"""`vae-run --schema`: valid itself, true of every file of `conf/`, and strict elsewhere."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf
from parts import composed

from vae_run.cli.catalogue import Catalogue
from vae_run.cli.json_schema import schema, schema_text
from vae_run.config.groups import GROUPS
from vae_run.config.options import CONF

if TYPE_CHECKING:
    from pathlib import Path

FILES = [*CONF.glob("experiment/*.yaml"), *CONF.glob("model/*.yaml"), *CONF.glob("task/*.yaml")]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return schema(Catalogue([CONF]))


@pytest.fixture(scope="module")
def validator(made: dict[str, Any]) -> Draft202012Validator:
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


def errors(validator: Draft202012Validator, config: Any) -> list[str]:
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(config)]


def plain(file: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(file), resolve=False)


def test_every_file_of_the_configuration_is_valid(validator: Draft202012Validator) -> None:
    for file in (CONF / "config.yaml", *FILES):
        assert errors(validator, plain(file)) == [], file


def test_a_whole_configuration_is_valid(validator: Draft202012Validator) -> None:
    for words in ((), ("model=vq_vae", "network=conv"), ("trainer=pruning", "dataset=mnist")):
        assert errors(validator, composed(*words)) == []


WRONG = [
    {"latentdim": 2},
    {"latent_dim": 0},
    {"latent_dim": "two"},
    {"trainer": {"epoch": 3}},
    {"trainer": {"epochs": -1}},
    {"trainer": {"batch_size": "many"}},
    {"precision": "float16"},
    {"task": "trian"},
    {"defaults": [{"override /model": "vaee"}]},
    {"defaults": [{"override /modle": "vae"}]},
    {"optimizer": {"lr": 0}},
    {"sweep": {"folder": "x"}},
]


@pytest.mark.parametrize("config", WRONG, ids=str)
def test_what_is_wrong_is_told(config: dict[str, Any], validator: Draft202012Validator) -> None:
    assert errors(validator, config)


def test_an_interpolation_may_stand_for_any_value(validator: Draft202012Validator) -> None:
    assert (
        errors(validator, {"latent_dim": "${seed}", "trainer": {"epochs": "${latent_dim}"}}) == []
    )


def test_every_key_has_a_description_and_the_default_of_its_file(made: dict[str, Any]) -> None:
    own = {
        **made["properties"],
        **{f"sweep.{k}": v for k, v in made["$defs"]["Sweep"]["properties"].items()},
    }
    for group in GROUPS:
        own |= {f"{group}.{k}": v for k, v in made["properties"][group]["properties"].items()}
    assert [key for key, value in own.items() if not value.get("description")] == []
    epochs = own["trainer.epochs"]
    assert epochs["default"] == 100
    assert epochs["description"] == "passes over the training images"
    assert {"type": "integer", "minimum": 1} in epochs["anyOf"] or {
        "type": "integer",
        "exclusiveMinimum": 0,
    } in epochs["anyOf"]
    assert own["optimizer.lr"]["default"] == 1e-3
    assert own["seed"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 0,
        "exclusiveMaximum": 2**63,
    }
    assert own["task"]["enum"][0] == "train"


def test_options_are_enums_those_of_a_config_dir_too(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "tiny_net.yaml").write_text("_target_: nowhere.Net\nwide: 3 # units\n")
    own = json.loads(schema_text(CONF, ["--config-dir", str(tmp_path)]))
    entry = own["properties"]["defaults"]["items"]["anyOf"][1]["properties"]
    assert "tiny_net" in entry["override /network"]["enum"]
    assert {"vae", "vq_vae"} <= set(entry["override /model"]["enum"])
    assert own["properties"]["network"]["properties"]["wide"]["description"] == "units"


def test_the_line_for_editors_stands_in_the_docs() -> None:
    page = (CONF.parent / "docs" / "shell.md").read_text(encoding="utf-8")
    assert re.search(r"^# yaml-language-server: \$schema=\S+$", page, re.MULTILINE)
