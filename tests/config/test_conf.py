"""Every option of every group composes, builds and trains; YAML and constructors agree."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from parts import CONF, composed, size_of, stepped
from PIL import Image

from vae_run.config.check import check
from vae_run.config.groups import GROUPS, filled_in
from vae_run.config.keys import flat
from vae_run.config.options import PACKAGE
from vae_run.config.schema import Settings
from vae_run.data.splits import Split, Splits
from vae_run.training.experiment import Experiment, assemble
from vae_run.training.gradient import Gradient

FILES = sorted(CONF.glob("*/*.yaml"))
OPTIONS = [(file.parent.name, file.stem) for file in FILES]
PARTS = [(group, option) for group, option in OPTIONS if group in GROUPS]
NEEDED = {
    ("task", "encode"): ["run=x", "input=x.npz", "output=y.npz"],
    ("task", "reconstruct"): ["run=x", "input=x.npz", "output=y.npz"],
    ("task", "score"): ["run=x", "input=x.npz", "output=y.npz"],
    ("task", "sample"): ["run=x", "output=y.npz"],
    ("task", "export"): ["run=x", "output=y.pt2"],
    ("task", "ensemble"): ["runs=x"],
    ("task", "compare"): ["runs=x"],
    ("task", "evaluate"): ["run=x"],
    ("task", "resume"): ["run=x"],
    ("posterior", "delta"): ["model=ae"],
    ("posterior", "sparse"): ["model=sparse_ae"],
    ("posterior", "sigmoid"): ["model=contractive_ae"],
    ("objective", "sparse"): ["model=sparse_ae"],
    ("objective", "contractive"): ["model=contractive_ae"],
    ("prior", "fitted_gaussian"): ["model=ae"],
    ("prior", "fitted_mixture"): ["model=ae"],
    ("prior", "fitted_flow"): ["model=ae"],
    ("posterior", "fsq"): ["model=fsq"],
    ("posterior", "vector_quantized"): ["model=vq_vae"],
    ("posterior", "residual_vq"): ["model=residual_vq"],
    ("prior", "fitted_codes"): ["model=residual_vq"],
    ("prior", "fitted_autoregressive"): ["model=residual_vq"],
    **{
        ("sampler", option): ["task=sample", "run=x", "output=y.npz"]
        for option in ("prior", "gaussian", "mixture", "flow", "codes", "autoregressive")
    },
    ("posterior", "von_mises_fisher"): ["model=hyperspherical_vae"],
    ("prior", "spherical"): ["model=hyperspherical_vae"],
    ("posterior", "hierarchical"): ["model=hierarchical_vae"],
    ("posterior", "ladder"): ["model=ladder_vae"],
    ("prior", "hierarchical"): ["model=hierarchical_vae"],
    ("objective", "reconstruction"): ["model=ae"],
    ("evaluation", "disentanglement"): ["dataset=sprites"],
    ("trainer", "closed_form"): ["model=pca"],
    ("trainer", "layerwise"): ["model=ae"],
    ("evaluation", "anomaly"): ["dataset.classes=[0]"],
}
"""What an option cannot be composed without."""
EXTRAS = [("tracker", option) for option in ("mlflow", "trackio", "wandb")]
FAMILIES, LIKELIHOODS, NETWORKS = (
    ("ae", "dae", "vae"),
    ("bernoulli", "gaussian", "mse"),
    ("mlp", "conv"),
)
OTHERS = [
    (group, option)
    for group, option in OPTIONS
    if group in ("model", "likelihood", "network", "posterior", "prior", "objective")
]

Compose = Callable[..., Settings]


@pytest.fixture(scope="module")
def settings() -> Compose:
    """`settings("model=ae")`: the checked configuration of a command line."""

    def checked(*overrides: str) -> Settings:
        config = composed(*overrides)
        assert "???" not in [value for _, value in flat(config)], "a value is missing"
        return check(config)

    return checked


@pytest.fixture(scope="module")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the datasets of one's own files need."""
    folder = tmp_path_factory.mktemp("own")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 5), dtype=np.uint8)
    np.savez(folder / "arrays.npz", train=pixels)
    (folder / "images").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / "images" / f"{i:02d}.png")
    return {
        "arrays": [f"dataset.path={folder / 'arrays.npz'}"],
        "windows": [f"dataset.path={folder / 'arrays.npz'}"],
        "image_folder": [f"dataset.path={folder / 'images'}", "dataset.image_size=6"],
        "table": ["dataset.path=rows.csv", "likelihood=mixed"],
        "torch": ["dataset.factory=parts.grey"],
        "huggingface": ["dataset.path=images"],
        "shards": [
            *(f"dataset.path={folder}", "dataset.image_size=6"),
            *('dataset.train="train-{0..1}.tar"', "dataset.test=test.tar"),
        ],
    }


def steps(settings: Settings, count: int) -> tuple[Experiment, list[dict[str, float]]]:
    """Train for `count` steps of batch 16; the experiment and each step's mean terms."""
    experiment, taken = stepped(settings, count, batch_size=16)
    return experiment, [{k: float(v.detach().mean()) for k, v in r.terms.items()} for r in taken]


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda value: value)
def test_every_option_composes_and_builds(
    group: str, option: str, settings: Compose, own_data: dict[str, list[str]]
) -> None:
    needed = NEEDED.get((group, option), [])
    if group == "dataset":
        needed = own_data.get(option, [])
    if (group, option) in EXTRAS:
        pytest.importorskip(option)
    checked = settings(f"{group}={option}", *needed)
    if group in GROUPS:
        file = OmegaConf.load(CONF / group / f"{option}.yaml")
        assert checked.classes[group].__name__ == file["_target_"].rpartition(".")[2]
    if group == "task":
        assert checked.fixed.task == option
        assert (PACKAGE / "tasks" / f"{option}.py").is_file()


@pytest.mark.parametrize("group", ["optimizer", "schedule", "corruption"])
def test_every_option_takes_a_step(group: str, settings: Compose) -> None:
    for option in (option for g, option in OPTIONS if g == group):
        experiment, before = steps(settings(f"{group}={option}", "network.widths=[8]"), 3)
        assert np.isfinite([terms["loss"] for terms in before]).all(), option
        assert all(p.isfinite().all() for p in experiment.model.parameters()), option


@pytest.mark.parametrize(("group", "option"), OTHERS, ids=lambda value: value)
def test_every_part_of_a_model_trains(group: str, option: str, settings: Compose) -> None:
    words = [f"{group}={option}", *NEEDED.get((group, option), [])]
    own_size = composed(*words)["latent_shape"] is not None
    checked = settings(*words, *([] if own_size else [f"latent_dim={size_of(words)}"]))
    if not issubclass(checked.classes["trainer"], Gradient):
        pytest.skip("its parameters are not found by steps")
    experiment, terms = steps(checked, 2)
    assert np.isfinite([value for term in terms for value in term.values()]).all()
    assert all(p.isfinite().all() for p in experiment.model.parameters())
    assert experiment.model.reconstruct(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("option", ["digits", "arrays", "image_folder"])
def test_every_offline_dataset_trains(
    option: str, settings: Compose, own_data: dict[str, list[str]]
) -> None:
    chosen = [f"dataset={option}", *own_data.get(option, [])]
    experiment, terms = steps(settings(*chosen, "network.widths=[8]"), 1)
    assert terms[0]["loss"] > 0
    assert min(len(s) for s in (experiment.splits.train, experiment.splits.val)) > 0


@pytest.mark.parametrize(
    ("preset", "likelihood", "network"),
    list(product(FAMILIES, LIKELIHOODS, NETWORKS)),
)
def test_every_preset_likelihood_and_network_train_together(
    preset: str, likelihood: str, network: str, settings: Compose
) -> None:
    checked = settings(
        f"model={preset}",
        f"likelihood={likelihood}",
        f"network={network}",
        "network.widths=[8,12]",
        "latent_dim=3",
    )
    torch.manual_seed(0)
    experiment, terms = steps(checked, 2)
    start = {
        name: p.clone() for name, p in assemble(checked, experiment.device).model.named_parameters()
    }
    moved = [
        name for name, p in experiment.model.named_parameters() if not torch.equal(p, start[name])
    ]
    assert sorted(moved) == sorted(start), "some parameter never gets a gradient"
    for term in terms:
        expected = term["reconstruction"] + term.get("kl", 0.0)
        assert term["loss"] == pytest.approx(expected, rel=1e-6)
        assert ("kl" in term) == (preset == "vae")
    assert experiment.model.reconstruct(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(("group", "option"), PARTS, ids=lambda value: value)
def test_parts_list_their_constructors_parameters(group: str, option: str) -> None:
    given = values_of(group, option)
    target = given.pop("_target_")
    module, _, name = target.rpartition(".")
    defaults = constructor_defaults(getattr(import_module(module), name), group)
    assert sorted(given) == sorted(defaults)
    differing = [
        key
        for key, default in defaults.items()
        if default is not inspect.Parameter.empty and "${" not in str(given[key])
        if given[key] != default or type(given[key]) is not type(default)
    ]
    if group == "dataset" and "white" in differing:
        # Configurations without the key, such as those of earlier versions, keep its constructor's.
        assert (given["white"], defaults["white"]) == ("auto", 255)
        differing.remove("white")
    # Of several options of one class, one has the constructor's defaults.
    others = [o for g, o in PARTS if g == group and values_of(g, o)["_target_"] == target]
    assert differing == [] or len(others) > 1
    assert others == [option] or any(
        all(values_of(group, other)[key] == defaults[key] for key in differing) for other in others
    )


def values_of(group: str, option: str) -> dict[str, Any]:
    """The YAML of an option, as it stands."""
    return dict(_values_of(group, option))


@cache
def _values_of(group: str, option: str) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{option}.yaml"))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def constructor_defaults(cls: Any, group: str) -> dict[str, Any]:
    """Configuration keys of a part with their defaults."""
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if name not in filled_in(group) and parameter.kind is not parameter.VAR_KEYWORD
    }
    if dataclasses.is_dataclass(cls):
        made = {f.name: f.default_factory for f in dataclasses.fields(cls)}
        for name, factory in made.items():
            if name in found and factory is not dataclasses.MISSING:
                found[name] = factory()
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_files_begin_with_a_comment_for_people(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    if lines[0] == "# @package _global_":
        del lines[0]
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 5
    keys = [line for line in lines if line and not line.startswith((" ", "#", "-"))]
    assert keys, "an option without keys"


def test_root_datasets_share_one_folder(settings: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_RUN_DATA", "somewhere")
    with_root = [o for g, o in PARTS if g == "dataset" and "root:" in text_of(g, o)]
    assert set(with_root) == {
        *("mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "svhn", "celeba"),
        *("static_mnist", "medmnist"),
    }
    for option in with_root:
        assert settings(f"dataset={option}").parts["dataset"]["root"] == "somewhere"


def text_of(group: str, option: str) -> str:
    return (CONF / group / f"{option}.yaml").read_text(encoding="utf-8")


def test_presets_yield_to_what_is_typed(settings: Compose) -> None:
    dae = settings("model=dae")
    assert dae.classes["corruption"].__name__ == "GaussianNoise"
    assert settings("model=dae", "corruption=masking").classes["corruption"].__name__ == "Masking"
    quick = settings("experiment=mnist_quick", "trainer.epochs=1", "dataset=digits")
    assert quick.parts["network"]["widths"] == [400]
    assert quick.parts["trainer"]["epochs"] == 1
    assert quick.fixed.latent_dim == 20
    assert quick.classes["dataset"].__name__ == "Digits"


def test_mnist_quick_is_the_recipe_of_the_figure(settings: Compose) -> None:
    quick = settings("experiment=mnist_quick")
    assert quick.classes["dataset"].__name__ == "MNIST"
    assert quick.classes["likelihood"].__name__ == "BernoulliLikelihood"
    assert (quick.parts["trainer"]["epochs"], quick.parts["trainer"]["batch_size"]) == (10, 128)
    assert quick.parts["optimizer"]["lr"] == 1e-3
    assert quick.classes["objective"].__name__ == "ELBO"
    objective = quick.parts["objective"]
    assert (objective["beta"], objective["warmup_epochs"]) == (1.0, 0.0)
    assert quick.parts["dataset"]["binarize"] == "none"


def test_multistep_and_cosine_factors(settings: Compose) -> None:
    multi = settings("schedule=multistep", "schedule.milestones=[1,2]").build("schedule")
    assert [multi.factor(t) for t in (0, 0.99, 1, 2)] == pytest.approx([1, 1, 0.1, 0.01])
    cosine = settings("schedule=cosine", "schedule.horizon=4").build("schedule")
    factors = [cosine.factor(t) for t in (0, 1, 2, 3, 4, 5)]
    assert factors == pytest.approx([1, 0.853553, 0.5, 0.146447, 0, 0], abs=1e-6)
    assert all(a >= b for a, b in pairwise(factors))


def test_vectors_suit_the_mlp_alone(settings: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = Split(torch.rand(20, 7))
    monkeypatch.setattr(
        "vae_run.training.experiment.load_splits",
        lambda *_: Splits(flat, flat.take(torch.arange(5)), flat),
    )
    experiment, terms = steps(settings("network=mlp", "network.widths=[8]"), 1)
    assert experiment.model.sample(3).shape == (3, 7)
    assert np.isfinite(terms[0]["loss"])
    with pytest.raises(Exception, match="network"):
        steps(settings("network=conv", "network.widths=[8]"), 1)
