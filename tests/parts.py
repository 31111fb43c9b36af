"""Configurations composed from `conf/` by Hydra, and small experiments made of them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import hydra
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from vae_run.cli.hydra_api import apply_overrides, composing
from vae_run.cli.resolvers import register_resolvers
from vae_run.config.check import check
from vae_run.config.groups import GROUPS, OPTIONAL
from vae_run.config.options import CONF
from vae_run.config.schema import Settings
from vae_run.data.batches import TrainingBatches
from vae_run.data.dataset import Dataset, Parts
from vae_run.data.splits import Split
from vae_run.training.experiment import Experiment, assemble
from vae_run.training.step import StepRecord, fit

SHAPE = (1, 4, 5)


def options(group: str) -> list[str]:
    """Every option of `group`, so that a new one is tested without being named."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


CHOOSING = {*GROUPS, *OPTIONAL, "model", "task", "experiment"}


@cache
def _base(chosen: tuple[str, ...]) -> bytes:
    """What Hydra composes of the files that the overrides `chosen` choose.

    It is pickled, because to unpickle it is several times as fast as to copy it.
    """
    register_resolvers()
    with composing(CONF):
        return pickle.dumps(hydra.compose("config", ["device=cpu", *chosen]))


@cache
def _composed(words: tuple[str, ...], environment: str | None) -> bytes:
    chosen = tuple(word for word in words if word.split("=", 1)[0] in CHOOSING)
    config: DictConfig = pickle.loads(_base(chosen))
    values = [word for word in words if word not in chosen]
    apply_overrides(config, OverridesParser.create().parse_overrides(values))
    return pickle.dumps(OmegaConf.to_container(config, resolve=True))


def composed(*words: str) -> dict[str, Any]:
    """What `vae-run device=cpu WORD ...` composes, as plain values: Hydra's own result.

    Results are cached by `words`, and by the one environment variable that the files refer to:
    Hydra takes about 80 ms to read the files of each choice of options, and 4 ms for other values.
    A value that is missing stays `???`.
    """
    found: dict[str, Any] = pickle.loads(_composed(words, os.environ.get("VAE_RUN_DATA")))
    return found


def grey(n: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Split:
    """n random grey images; the label of an image is its number."""
    generator = torch.Generator().manual_seed(seed)
    return Split(torch.rand((n, *shape), generator=generator), torch.arange(n))


@dataclass(frozen=True, kw_only=True)
class Noise(Dataset):
    """n random grey training images, 37 for validation and 41 to test on."""

    n: int
    shape: list[int]

    def read(self) -> Parts:
        shape = tuple(self.shape)
        return Parts(grey(self.n, shape, 1), grey(37, shape, 2), grey(41, shape, 3))


OF_FOUR = {"model=fsq", "posterior=fsq"}
"""Presets and options whose codes are vectors of four numbers."""


def size_of(words: Iterable[str]) -> int:
    """A small latent_dim for a model of `words`: 3, or 4 where its codes need them."""
    return 4 if OF_FOUR & set(words) else 3


def fitting_maps(chosen: list[int], shape: tuple[int, ...]) -> list[int]:
    """[C, h, w] of one level below images of `shape`, with the channels `chosen`[0]."""
    return [chosen[0], *(-(-side // 2) for side in shape[1:])]


def experiment(*words: str, n: int = 90, shape: tuple[int, ...] = SHAPE) -> Experiment:
    """A small experiment on `Noise`: few latent dimensions (`size_of`), a small network."""
    config = composed("network.widths=[8]", "network.activation=tanh", *words)
    if config["latent_shape"] is not None:
        config["latent_shape"] = fitting_maps(config["latent_shape"], shape)
    elif not any(word.startswith("latent_dim=") for word in words):
        config["latent_dim"] = size_of(words)
    config["dataset"] = {"_target_": "parts.Noise", "n": n, "shape": list(shape)}
    return assemble(check(config), torch.device("cpu"))


def stepped(
    settings: Settings, count: int, *, batch_size: int
) -> tuple[Experiment, list[StepRecord]]:
    """An experiment of `settings` after `count` steps of gradient descent, and their records."""
    made = assemble(settings, torch.device("cpu"))
    batches = TrainingBatches(
        made.splits.train,
        made.corruption,
        batch_size=batch_size,
        noise=(made.objective.samples, settings.fixed.latent_dim),
        seed=0,
    )
    schedule = settings.build("schedule")
    schedule.horizon = schedule.horizon or 1.0
    records = fit(
        made.model.train(),
        made.objective,
        batches,
        settings.build("optimizer", params=list(made.model.parameters())),
        schedule,
        step=0,
        clip_norm=None,
        precision=torch.enable_grad(),
    )
    return made, [next(records) for _ in range(count)]
