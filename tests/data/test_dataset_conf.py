"""Every file of conf/dataset names a class and all of its fields, with the class's own defaults."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from vae_run.config.signatures import defaults
from vae_run.data.datasets.digits import Digits
from vae_run.data.datasets.image_folder import ImageFolder

CONF = Path(__file__).resolve().parents[2] / "conf" / "dataset"
OURS = [
    "digits", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "svhn", "celeba",
    "image_folder", "arrays", "sprites", "shards", "table", "static_mnist", "medmnist", "torch",
    "windows",
    "huggingface",
]  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_yaml_agrees_with_the_constructor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAE_RUN_DATA", raising=False)
    path = CONF / f"{name}.yaml"
    assert path.read_text().startswith("# ")
    found = OmegaConf.load(path)
    module, _, kind = found.pop("_target_").rpartition(".")
    made = getattr(importlib.import_module(module), kind)
    parameters, own = inspect.signature(made).parameters, defaults(made)
    assert set(found) == set(parameters)
    for key, parameter in parameters.items():
        assert not isinstance(parameter.annotation, str), f"{kind}.{key} is annotated by a string"
        if parameter.default is inspect.Parameter.empty:
            assert OmegaConf.is_missing(found, key) or key == "root"
        else:
            # Configurations of earlier versions lack `white`, and mean 255.
            assert (
                (found[key], own[key]) == ("auto", 255)
                if key == "white"
                else found[key] == own[key]
            )
            TypeAdapter(parameter.annotation).validate_python(found[key])
    if "root" in found:
        assert found.root == "~/.cache/vae-run/data"
        monkeypatch.setenv("VAE_RUN_DATA", "/some/folder")
        assert found.root == "/some/folder"


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("val_size", [0, 0.0, 0.5, 1, 6000], [1.0, 1.5, -1, -0.1, "many", None]),
        ("test_size", [0.5, 1, 6000], [0, 0.0, 1.0, -1]),
        ("split_seed", [0, 7], [-1, 0.5]),
        ("classes", [None, [0], [3, "cat"], ["2"]], [[], 3, "cat", [1.5]]),
        ("white", ["auto", 1, 255], [0, 256, 1.0, "none", None]),
        ("binarize", ["none", "static", "dynamic"], ["both", True]),
        ("image_size", [1, 64, [32, 48]], [0, -3, [32], [1, 2, 3], 6.5]),
        ("channels", [1, 3], [2, "3"]),
    ],
)
def test_ranges_are_stated_by_the_annotations(key: str, good: list[Any], bad: list[Any]) -> None:
    kind = ImageFolder if key in ("image_size", "channels", "white") else Digits
    checker = TypeAdapter(inspect.signature(kind).parameters[key].annotation)
    for value in good:
        assert checker.validate_python(value) == value
    for value in bad:
        with pytest.raises(ValidationError):
            checker.validate_python(value)
