"""Every preset with every likelihood and every network: trained for two steps, or refused by name.

Options are found in `conf/`, so that a new one is tested without being named. All combinations are
checked; those that are trained cover every pair of options, and the marker `scale` trains the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from parts import composed, fitting_maps, options, size_of, stepped

from vae_run.config.check import check
from vae_run.config.groups import GROUPS
from vae_run.config.schema import Settings
from vae_run.data.dataset import Dataset, Parts
from vae_run.data.splits import Split
from vae_run.errors import ConfigError
from vae_run.training.closed_form import ClosedForm

SHAPE = (1, 6, 5)
LIKELIHOODS, NETWORKS, PRESETS = (options(group) for group in ("likelihood", "network", "model"))
COMBINED = sorted(product(LIKELIHOODS, NETWORKS))


@dataclass(frozen=True, kw_only=True)
class Bytes(Dataset):
    """Random 8-bit images, for likelihoods that need levels."""

    def read(self) -> Parts:
        return Parts(*(images(seed) for seed in (1, 2, 3)))


def images(seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (12, *SHAPE), generator=generator, dtype=torch.uint8)
    return Split(pixels, torch.arange(12) % 3, 255.0)


def configuration(preset: str, likelihood: str, network: str) -> dict[str, Any]:
    """A preset with the mappings of two groups replaced, as typed options do.

    Hydra composes each file once here, not each of 500 combinations, which takes a minute.
    """
    config = composed(f"model={preset}")
    config["latent_dim"] = 18 if config["latent_shape"] else size_of([f"model={preset}"])
    for group, option in (("likelihood", likelihood), ("network", network)):
        config[group] = composed(f"{group}={option}")[group]
    config["dataset"] = {"_target_": f"{__name__}.Bytes"}
    if config["latent_shape"] is not None:
        config["latent_shape"] = fitting_maps([2], SHAPE)
    if "widths" in config["network"] and network != "linear":
        config["network"]["widths"] = [4]
    if "codes" in config["posterior"]:
        config["posterior"]["codes"] = 8
    if "hidden" in config["prior"]:
        config["prior"]["hidden"] = [4]
    return config


def checked(config: dict[str, Any]) -> tuple[Settings | None, str]:
    """The settings, or None with the message that refuses them."""
    try:
        return check(config), ""
    except ConfigError as error:
        return None, str(error)


def two_steps(settings: Settings) -> torch.nn.Module:
    """The model after two steps on six images each; every term is finite on the way."""
    experiment, taken = stepped(settings, 2, batch_size=6)
    for record in taken:
        for name, term in record.terms.items():
            assert term.shape == (6,), name
            assert bool(term.isfinite().all()), name
    return experiment.model.eval()


def paired(preset: str) -> set[tuple[str, str]]:
    """Each likelihood with one network, another for each preset, so that all pairs come up."""
    place = PRESETS.index(preset)
    return {(own, NETWORKS[(place + i) % len(NETWORKS)]) for i, own in enumerate(LIKELIHOODS)}


def test_every_pair_of_options_is_trained() -> None:
    triples = [(preset, *pair) for preset in PRESETS for pair in paired(preset)]
    for kept in ((0, 1), (0, 2), (1, 2)):
        found = {tuple(triple[i] for i in kept) for triple in triples}
        assert len(found) == math.prod(len((PRESETS, LIKELIHOODS, NETWORKS)[i]) for i in kept)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.scale)])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_trains_with_every_likelihood_and_network_or_says_why_not(
    preset: str, every: bool
) -> None:
    trained, refused = 0, 0
    chosen = set(COMBINED) - paired(preset) if every else paired(preset)
    for likelihood, network in COMBINED:
        config = configuration(preset, likelihood, network)
        settings, refusal = checked(config)
        if settings is None:
            assert refusal.split(":")[0].split("=")[0].split(".")[0] in GROUPS, refusal
            refused += 1
            continue
        trained += 1
        if issubclass(settings.classes["trainer"], ClosedForm):
            continue  # takes no steps; tests of its own fit it
        if (likelihood, network) not in chosen:
            continue
        model = two_steps(settings)
        assert all(bool(p.isfinite().all()) for p in model.parameters()), (likelihood, network)
        x = torch.rand(2, *SHAPE)
        assert model.reconstruct(x).shape == x.shape
    assert trained >= 1
    # A preset that names its own network or likelihood may need it; the others take them all.
    if "override /network" not in preset_file(preset) and "closed_form" not in preset_file(preset):
        assert refused == 0 or "layerwise" in preset_file(preset), f"{refused} of {len(COMBINED)}"


def test_a_combination_is_what_hydra_composes_of_the_words() -> None:
    words = ("model=ppca", "likelihood=mse", "network=mlp", "latent_dim=3", "network.widths=[4]")
    expected = {**composed(*words), "dataset": {"_target_": f"{__name__}.Bytes"}}
    assert configuration("ppca", "mse", "mlp") == expected


def preset_file(preset: str) -> str:
    from parts import CONF

    return (CONF / "model" / f"{preset}.yaml").read_text(encoding="utf-8")
