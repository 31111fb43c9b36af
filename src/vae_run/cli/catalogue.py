"""Every group, option and key of the configuration files, with what the files say of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vae_run.cli.comments import Commented, read
from vae_run.config.options import options

GROUPS = {
    "task": "what the command does",
    "model": "the model family: a preset of the parts below",
    "network": "encoder and decoder networks",
    "posterior": "q(z|x), the distribution of an image's code",
    "prior": "p(z), the distribution of codes",
    "likelihood": "p(x|z), the distribution of pixels, or of numbers and categories",
    "objective": "the loss, in nats per image",
    "corruption": "noise on the encoder's input, for denoising",
    "dataset": "the images, or vectors, windows, rows of a table",
    "optimizer": "the update of the weights",
    "schedule": "the learning rate over time",
    "trainer": "the method and length of training",
    "evaluation": "the metrics and figures of a trained model",
    "tracker": "where metrics go besides TensorBoard",
    "sampler": "the distribution that task=sample draws codes from",
    "experiment": "published results to reproduce; those that are sweeps need -m",
}
"""The groups of `conf/`, in the order of the help."""

OF_HYDRA = {
    "hydra/launcher": "where and how many jobs of a sweep run at a time (-m)",
    "hydra/sweeper": "which jobs a sweep has (-m): a grid, or a search",
}

GLOBAL = ("task", "model", "experiment")
"""Groups whose files change keys of the whole configuration."""


@dataclass(frozen=True)
class Definition:
    """A key as one file defines it.

    Attributes:
        group, option: of the file; "" for `config.yaml`.
        default: the value there; "???" where one must be given.
        comment: on the key, or nothing.
    """

    group: str
    option: str
    default: Any
    comment: str


class Catalogue:
    """The configuration files of `conf/` and of the user's own folders."""

    def __init__(self, places: Sequence[Path]) -> None:
        """`places` are the folders; the first has `config.yaml`."""
        self.places = places
        self.main = read(places[0] / "config.yaml")

    @property
    def groups(self) -> Mapping[str, str]:
        """All groups, each with what it is; a folder of the user's own may lack a description."""
        own = (path.name for place in self.places[1:] if place.is_dir() for path in place.iterdir())
        found = {name: "a group of your own" for name in own if self.options(name)}
        return {**found, **GROUPS, **OF_HYDRA}

    def options(self, group: str) -> list[str]:
        """The options of `group`, its default first."""
        names = options(group, self.places)
        chosen = self.default(group)
        return sorted(names, key=lambda name: name != chosen)

    def default(self, group: str) -> str | None:
        """The option that `group` has unless one is chosen, by `config.yaml` or by a task."""
        if group in OF_HYDRA:
            return {"hydra/launcher": "local", "hydra/sweeper": "grid"}[group]
        files = [self.main]
        if group not in self.main.chosen():
            files = [self.file("task", name) for name in options("task", self.places)]
        return next((c[group] for file in files if group in (c := file.chosen())), None)

    def file(self, group: str, option: str) -> Commented:
        """The file of an option, which must exist."""
        paths = (place / group / f"{option}.yaml" for place in self.places)
        return read(next(path for path in paths if path.is_file()))

    def of_option(self, group: str, option: str) -> dict[str, Definition]:
        """The keys that an option has, in the order of its file."""
        file, prefix = self.file(group, option), prefix_of(group)
        return {
            prefix + key: Definition(group, option, value, file.comments.get(key, ""))
            for key, value in file.leaves()
            if key != group
        }

    @cached_property
    def keys(self) -> dict[str, list[Definition]]:
        """Every key with its definitions, that of the default option first.

        Presets and experiments only give values to keys that others define.
        """
        hydra = {"hydra.run.dir", "hydra.sweep.dir"}
        comments = {**self.main.comments, **FROM_HYDRA}
        leaves = {**dict(self.main.leaves()), **dict.fromkeys(hydra, "")}
        found = {
            key: [Definition("", "", value, comments.get(key, ""))] for key, value in leaves.items()
        }
        for group in self.groups:
            for option in self.options(group) if group not in ("model", "experiment") else ():
                for key, definition in self.of_option(group, option).items():
                    found.setdefault(key, []).append(definition)
        return found

    def words(self) -> Iterator[str]:
        """All groups, keys, and options as GROUP=OPTION."""
        yield from self.keys
        for group in self.groups:
            yield group
            yield from (f"{group}={option}" for option in self.options(group))


FROM_HYDRA = {
    "hydra.run.dir": "the run directory; the default is a new one under outputs/",
    "hydra.sweep.dir": "the folder of a sweep; sweep.dir sets it",
}


def prefix_of(group: str) -> str:
    """What the full keys of an option of `group` begin with."""
    return "" if group in GLOBAL else f"{group.replace('/', '.')}."


def written(value: Any) -> str:
    """A plain value of YAML as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(written(item) for item in value)}]"
    return "null" if value is None else str(value)
