"""Conditions of the user's own images, from the keys `label` and `given`, their file, or the run.

Letters: N images, P entries of the vector of conditions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run.config.schema import Output
from vae_run.data.columns import Column, Columns
from vae_run.data.condition_columns import encoded
from vae_run.data.conditions import LABEL
from vae_run.data.user_input import UserImages
from vae_run.errors import ConfigError, DataError
from vae_run.tasks.trained_model import Trained


def typed_conditions(run: Trained, fixed: Output) -> dict[str, Tensor]:
    """{condition: its entries, float32 [1, width]} of those that `label` and `given` give.

    Raises:
        ConfigError: there is no such condition, or no such class, or a value is no finite number.
    """
    label, values = run.number(fixed.label), dict(fixed.given or {})
    if run.model.conditions is None:
        if values:
            raise ConfigError(
                "given: the run has no conditions besides the label. Leave it out"
                + ("." if run.model.classes is None else ", and give the class with label=NAME.")
            )
        return {}
    columns = run.model.conditions.columns
    if LABEL in values:
        raise ConfigError("given: the class is given with label=NAME, not by given.")
    if strange := sorted(values.keys() - set(run.model.conditions.names)):
        raise ConfigError(
            f"given: {strange[0]} is no condition of the run; these are "
            f"{', '.join(run.model.conditions.names)}."
        )
    if label is not None:
        values[LABEL] = label
    found = {}
    for column in columns.columns:
        if (name := column.indicates or column.name) in values:
            try:
                found[column.name] = _entries(column, values[name])
            except ValueError as error:
                raise ConfigError(f"given: {error}.") from error
    return found


def with_conditions(run: Trained, images: UserImages, fixed: Output) -> UserImages:
    """`images` with the conditions [N, P] that the run's model is given.

    A key decides first, then what the file says of each image.

    Raises:
        ConfigError: as of `typed_conditions`.
        DataError: a condition is given nowhere, or has a value that the model does not know.
    """
    assert run.model.conditions is not None, "the model has several conditions"
    columns, typed = run.model.conditions.columns, typed_conditions(run, fixed)
    held: dict[str, NDArray[Any] | Tensor] = {**images.given}
    if images.labels is not None:
        held.setdefault(LABEL, images.labels.numpy())
    found = []
    for column in columns.columns:
        values = typed.get(column.name, held.get(column.name))
        if values is None:
            raise _lacks(images, column.name)
        if not isinstance(values, Tensor):
            try:
                values = _entries(column, values)
            except ValueError as error:
                raise DataError(f"input: {images.source}: {error}.") from error
        found.append(values.expand(len(images), -1))
    return replace(images, conditions=torch.cat(found, 1))


def _entries(column: Column, values: Any) -> Tensor:
    """The entries, float32 [N, width], that stand for `values`, [N] or one.

    Raises:
        ValueError: a class is unknown, or a number is not finite.
    """
    raw = encoded(column, np.asarray(values).reshape(-1))
    return Columns((column,)).scaled(torch.from_numpy(raw))


def _lacks(images: UserImages, name: str) -> DataError:
    """What is said where a condition is given nowhere."""
    if name == LABEL:
        return DataError(
            f"input: {images.source} has no labels of the run's classes, and the run's model is "
            "given them. Give the class of all images with label=NAME."
        )
    return DataError(
        f"input: {images.source} has no `{name}`, and the run's model is given it. Add an array "
        f"or column of that name, or give one value for all with 'given={{{name}: VALUE}}'."
    )
