"""A trained model with all that someone without its run has to know of it.

Letters: C channels, E event shape.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_run.config.schema import Settings
from vae_run.data.columns import Columns
from vae_run.data.scaling import Scaling
from vae_run.data.white import BYTE
from vae_run.errors import CheckpointError
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_model, scaling_of, table_columns, white_of
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.nouns import noun_of

ABOUT = (
    *("event_shape", "levels", "extent", "classes", "conditions", "class_names"),
    *("white", "columns", "table", "scaling"),
)
"""What a checkpoint says of the data, beside its weights."""


@dataclass(frozen=True)
class Source:
    """A model in eval mode on the CPU, and what its run tells of it.

    Attributes:
        settings: the run's own.
        about: the entries `ABOUT` of its checkpoint, plain values and, in `conditions`, a tensor.
        config: the run's configuration, plain values.
        name: of the run's folder.
        family: the option of the group `model`; empty if it is not known.
        metrics: {split: {name: value}} of the run's evaluation.
    """

    model: LatentVariableModel
    settings: Settings
    about: Mapping[str, Any]
    config: Mapping[str, Any]
    name: str = "model"
    family: str = ""
    metrics: Mapping[str, Mapping[str, float]] | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """E: (C, H, W) of images, (C, L) of windows, (F,) of vectors and rows."""
        return tuple(int(size) for size in self.about["event_shape"])

    @property
    def table(self) -> Columns | None:
        """The columns of the table that the model was trained on; None: no table."""
        return table_columns(self.about)

    @property
    def scaling(self) -> Scaling | None:
        """What is done to values in the user's units before the model sees them; None: nothing."""
        return scaling_of(self.about) if self.table is None else self.table.scaling

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of class i at index i; () where classes have no names."""
        return tuple(self.about.get("class_names") or ())

    @property
    def extent(self) -> tuple[float, float]:
        """Least and greatest value that the model was given in training; (0, 1) if unknown."""
        low, high = self.about.get("extent") or (0.0, 1.0)
        return float(low), float(high)

    @property
    def stored_as(self) -> str:
        """How whole-numbered pixels became values in [0, 1], after a comma; empty for others."""
        if self.about.get("levels") is None:
            return ""
        white = white_of(self.about)
        if white == 1:
            return ", stored as 0 and 1"
        return f", {'8-bit' if white == BYTE else 'stored'} values divided by {white}"

    @property
    def noun(self) -> str:
        """What the examples are called: images, windows, vectors or rows."""
        return noun_of(self.event_shape, table=self.table is not None)

    def units(self) -> tuple[Tensor, Tensor] | None:
        """`shift` and `scale` of values in their own units, float64, to be broadcast with E."""
        scaling = self.scaling
        if scaling is None:
            return None
        ones = [1] * scaling.axes
        shift, scale = (
            torch.tensor(each, dtype=torch.float64).view(-1, *ones)
            for each in (scaling.shift, scaling.scale)
        )
        return shift, scale


def source_of(
    run: str | os.PathLike[str], checkpoint: str = "best", trust: Iterable[str] = ()
) -> Source:
    """The trained model of the run directory `run`.

    Args:
        checkpoint: "best" (by validation) or "last".
        trust: packages, besides vae-run, whose classes the run's configuration may name.

    Raises:
        CheckpointError: the run or its checkpoint is missing, damaged or foreign.
        ConfigError: the run's configuration is wrong or names classes that are not trusted.
    """
    if checkpoint not in ("best", "last"):
        raise CheckpointError(f"checkpoint: found {checkpoint!r}, expected 'best' or 'last'.")
    directory = RunDirectory.existing(str(Path(run).expanduser()))
    file = directory.best if checkpoint == "best" else directory.last
    settings, state = directory.settings(trust), checkpoint_file.read(file)
    model = load_model(settings, state, file).eval().requires_grad_(False)
    family = directory.choices().get("model", "")
    return Source(
        model,
        settings,
        {key: state.get(key) for key in ABOUT},
        directory.config(),
        directory.path.resolve().name,
        family if re.fullmatch(r"[\w.-]*", family) else "",  # a stranger's run may say anything
        {split: dict(values) for split, values in directory.metrics().items()},
    )
