"""Configurations composed from `conf/` without Hydra, and small experiments made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from vae_run.config.check import check
from vae_run.config.groups import GROUPS
from vae_run.config.schema import Settings
from vae_run.data.batches import TrainingBatches
from vae_run.data.dataset import Dataset, Parts
from vae_run.data.splits import Split
from vae_run.training.experiment import Experiment, assemble
from vae_run.training.step import StepRecord, fit

CONF = Path(__file__).parents[1] / "conf"
SHAPE = (1, 4, 5)


def options(group: str) -> list[str]:
    """Every option of `group`, so that a new one is tested without being named."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _loaded(group: str, option: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(CONF / group / f"{option}.yaml"), resolve=True)


def _preset(name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The options that the preset `name` of conf/model chooses, and the keys that it sets."""
    chosen: dict[str, str] = {}
    loaded = _loaded("model", name)
    keys: dict[str, Any] = {}
    for entry in loaded.pop("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            inherited, inherited_keys = _preset(entry)
            chosen |= inherited
            keys |= inherited_keys
        elif isinstance(entry, dict):
            chosen |= {key.removeprefix("override /"): value for key, value in entry.items()}
    return chosen, {**keys, **loaded}


def composed(*words: str) -> dict[str, Any]:
    """What `vae-run WORD ...` composes, as plain values: `group=option` or `full.key=value`."""
    base = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"), resolve=False)
    listed = [item for item in base.pop("defaults") if isinstance(item, dict)]
    chosen = {key: value for item in listed for key, value in item.items() if key in GROUPS}
    del base["hydra"]
    typed = dict(word.split("=", 1) for word in words)
    of_preset, keys = _preset(typed.pop("model", "vae"))
    chosen |= of_preset | {key: typed.pop(key) for key in list(typed) if key in GROUPS}
    parts = {group: _loaded(group, option) for group, option in chosen.items()}
    dots = OmegaConf.from_dotlist([f"{key}={value}" for key, value in typed.items()])
    merged = OmegaConf.merge(base, {"task": "train", "device": "cpu"}, parts, keys, dots)
    return OmegaConf.to_container(merged, resolve=True)


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


def experiment(*words: str, n: int = 90, shape: tuple[int, ...] = SHAPE) -> Experiment:
    """A small experiment on `Noise`: 3 latent dimensions, a small network."""
    config = composed("latent_dim=3", "network.widths=[8]", "network.activation=tanh", *words)
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
