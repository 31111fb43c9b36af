"""The settings that are not parts, and a checked configuration."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vae_run.errors import ConfigError


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("it should be auto, cpu, mps, cuda or cuda:N")
    return name


class Sweep(BaseModel):
    """Settings of a multirun."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    dir: str | None = None  # the sweep's folder; None: a new one under outputs/
    mark: str | float | None = None  # a figure, or a place, that sweep.png marks on its axis


class Fixed(BaseModel):
    """The settings that are not parts. Unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    task: str
    latent_dim: Annotated[int, Field(ge=1)]  # D, dimensions of the code
    seed: Annotated[int, Field(ge=0, lt=2**63)]  # initialisation, order of batches, noise
    device: Annotated[str, AfterValidator(_device)]
    precision: Literal["float32", "bfloat16"]  # of training; evaluation is always float32
    condition: Literal["label"] | None = None  # what encoder and decoder are given beside x and z
    run: str | None = None  # the run directory that a task works on
    init_from: str | None = None  # a run whose best weights training starts from
    trust: list[str] = []  # packages whose classes a foreign run directory may name
    sweep: Sweep
    # Keys of single tasks, present only under them.
    checkpoint: Literal["best", "last"] = "best"
    input: str | None = None  # a file of images
    output: str | None = None  # a file to write
    n: Annotated[int, Field(ge=1)] | None = None  # images to sample
    runs: str | list[str] | None = None  # patterns of run directories
    metric: str | None = None  # what ranks runs
    label: int | None = None  # the class of all images, for a conditional model


@dataclass(frozen=True)
class Settings:
    """A checked configuration.

    Attributes:
        fixed: the settings that are not parts.
        parts: for each group the keyword arguments of its class.
        classes: for each group its class.
        raw: the whole mapping as composed, with interpolations resolved.
        trust: packages whose classes the configuration may name besides this one; None: any.
    """

    fixed: Fixed
    parts: Mapping[str, Mapping[str, Any]]
    classes: Mapping[str, Any]
    raw: Mapping[str, Any]
    trust: frozenset[str] | None = None

    def build(self, group: str, /, **context: Any) -> Any:
        """The part of `group`; of `context` its constructor gets what it asks for."""
        cls = self.classes[group]
        wanted = {
            name: context[name] for name in inspect.signature(cls).parameters if name in context
        }
        try:
            return cls(**wanted, **self.parts[group])
        except ValueError as error:
            raise ConfigError(f"{group}: {error}") from error
