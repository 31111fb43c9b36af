"""The settings that are not parts, one schema for each task, and a checked configuration."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vae_run.errors import ConfigError


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("it should be auto, cpu, mps, cuda or cuda:N")
    return name


def _condition(names: str | list[str] | None) -> str | list[str] | None:
    listed = [names] if isinstance(names, str) else names or []
    if names is not None and (not listed or "" in listed or len(set(listed)) < len(listed)):
        raise ValueError("it should be label, or different names of arrays or columns")
    return names


Positive = Annotated[int, Field(ge=1)]


def _code(shape: list[int] | None) -> list[int] | None:
    if shape is not None and len(shape) != 3:
        raise ValueError("it should be [C, h, w], or [D], which is latent_dim=D")
    return shape


class Sweep(BaseModel):
    """Settings of a multirun."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    dir: str | None = None  # the sweep's folder; None: a new one under outputs/
    mark: str | float | None = None  # a metric, or a position, marked on the axis of sweep.png


class Figures(BaseModel):
    """How pictures are written, and how often they are drawn while training."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal["png", "svg", "pdf"] = "png"  # svg and pdf stand beside the PNG
    dpi: Annotated[int, Field(ge=36, le=1200)] = 72  # dots per inch of a PNG
    every: Literal["auto"] | Positive | None = None  # epochs between pictures while training
    in_sweep: Literal["few", "all"] = "all"  # pictures of each job of a sweep


class Common(BaseModel):
    """The settings that every task has. Unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    task: str
    latent_dim: Annotated[int, Field(ge=1)]  # D, dimensions of the code
    latent_shape: Annotated[list[Positive] | None, AfterValidator(_code)] = None
    # [C, h, w] of a code of maps; latent_dim is then their product. `check` has replaced [D]
    seed: Annotated[int, Field(ge=0, lt=2**63)]  # initialisation, order of batches, noise
    device: Annotated[str, AfterValidator(_device)]
    precision: Literal["float32", "bfloat16"]  # of training; evaluation is always float32
    condition: Annotated[str | list[str] | None, AfterValidator(_condition)] = None
    # what encoder and decoder are given beside x and z: `label`, arrays or columns of the dataset
    init_from: str | None = None  # a run whose best weights training starts from
    quiet: bool = False  # whether only warnings and errors are printed
    trust: list[str] = []  # packages whose classes a foreign run directory may name
    figures: Figures = Figures()
    sweep: Sweep

    @property
    def code_shape(self) -> tuple[int, ...]:
        """(C, h, w) of a code of maps, else (D,). Tensors of codes are flat, [*, D], anyway."""
        return (*self.latent_shape,) if self.latent_shape else (self.latent_dim,)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of all conditions; () for a model that is not conditional."""
        return (self.condition,) if isinstance(self.condition, str) else (*(self.condition or ()),)

    @property
    def vector_conditions(self) -> tuple[str, ...]:
        """Those that the data give as a vector; () for the label alone, a class of the model."""
        return () if self.conditions == ("label",) else self.conditions


class Check(Common):
    """Keys of `task=check`."""

    output: str | None = None  # the picture to write, of training images
    overwrite: bool = False  # whether `output` may replace a file


class Resume(Common):
    """Keys of `task=resume`."""

    run: str  # the run directory that the task works on


class OnCheckpoint(Resume):
    """Keys of the tasks that read one checkpoint of one run."""

    checkpoint: Literal["best", "last"] = "best"


class Output(OnCheckpoint):
    """Keys of the tasks on one checkpoint that write a file."""

    output: str  # the file to write
    overwrite: bool = False  # whether a file may be replaced that vae-run did not write
    label: int | str | None = None  # the class of all images, for a conditional model
    given: dict[str, int | float | bool | str] | None = None  # values of its other conditions


class Export(OnCheckpoint):
    """Keys of `task=export`."""

    format: Literal["onnx", "torch_export", "safetensors"] | None = None  # None: by the ending
    part: Literal["encoder", "decoder", "both"] = "both"  # what a file computes
    output: str  # the file to write
    script: str | None = None  # where the example of its use is written too
    overwrite: bool = False  # whether a file may be replaced that vae-run did not write


class Sample(Output):
    """Keys of `task=sample`."""

    n: Annotated[int, Field(ge=1)]  # images to draw


class OnImages(Output):
    """Keys of `task=encode` and `task=reconstruct`, which read the user's own images."""

    input: str | list[str]  # files, folders or patterns of them; or train, val, test


class Score(OnImages):
    """Keys of `task=score`."""

    metric: Literal["elbo", "mse", "log_likelihood"] | None = None  # the score; None: elbo, or mse
    sheet: str = "auto"  # the contact sheet of the strangest; none, or a file


class Compare(Common):
    """Keys of `task=compare`."""

    runs: str | list[str]  # patterns of run directories
    metric: str | None = None  # what ranks the runs
    output: str | None = None  # the folder to write


class Ensemble(Common):
    """Keys of `task=ensemble`."""

    runs: str | list[str]  # patterns of run directories
    checkpoint: Literal["best", "last"] = "best"
    output: str | None = None  # the file to write
    overwrite: bool = False  # whether a file may be replaced that vae-run did not write


TASKS: Mapping[str, type[Common]] = {
    "train": Common,
    "check": Check,
    "resume": Resume,
    "evaluate": OnCheckpoint,
    "sample": Sample,
    "encode": OnImages,
    "reconstruct": OnImages,
    "score": Score,
    "export": Export,
    "compare": Compare,
    "ensemble": Ensemble,
}
"""The schema of each task."""

Schema = TypeVar("Schema", bound=Common)


@cache
def parameters(cls: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of `cls`, a class or a function, by name; read once for each."""
    return inspect.signature(cls).parameters


@dataclass(frozen=True)
class Settings:
    """A checked configuration.

    Attributes:
        fixed: the settings that are not parts, an instance of the task's schema.
        parts: for each group all keyword arguments of its class, defaults included.
        classes: for each group its class.
        raw: the whole mapping as composed, with interpolations resolved. This is what is saved and
            hashed, so it has no defaults that the configuration does not spell out.
        trust: packages whose classes the configuration may name besides this one; None: any.
    """

    fixed: Common
    parts: Mapping[str, Mapping[str, Any]]
    classes: Mapping[str, Any]
    raw: Mapping[str, Any]
    trust: frozenset[str] | None = None

    def of(self, schema: type[Schema]) -> Schema:
        """The settings that are not parts, typed by the schema of the task that asks.

        Raises:
            TypeError: the configuration is another task's.
        """
        if not isinstance(self.fixed, schema):
            raise TypeError(f"task={self.fixed.task} has no {schema.__name__} settings")
        return self.fixed

    def build(self, group: str, /, **context: Any) -> Any:
        """The part of `group`; of `context` its constructor gets what it asks for."""
        cls = self.classes[group]
        wanted = {name: context[name] for name in parameters(cls) if name in context}
        try:
            return cls(**wanted, **self.parts[group])
        except ValueError as error:
            raise ConfigError(f"{group}: {error}") from error
