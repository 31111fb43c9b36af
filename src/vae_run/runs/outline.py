"""A model's outline, names and shapes without memory, beside what a checkpoint holds.

A run directory may come from a stranger, and can name any size. Nothing of a size that its files do
not hold is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from vae_run.config.schema import Settings
from vae_run.errors import CheckpointError
from vae_run.models.build import build_model
from vae_run.runs import checkpoint_file

LARGEST_EVENT = 2**28
"""Values of an example at most: 16,384 x 16,384 grey pixels."""
LARGEST_TABLES = 2**28
"""Bytes of a model's buffers at most that its checkpoint does not hold."""


def refuse_unlike(
    settings: Settings, given: Mapping[str, Any], weights: Mapping[str, Any], file: Path
) -> None:
    """Refuse weights that are not those of the model that `settings` describe, before it is made.

    The model is built on PyTorch's device "meta", which gives tensors a shape and no memory. A
    model with classes of another package, which the user trusts, is not: its code may need values.

    Args:
        settings: the checked configuration of the run.
        given: what `build_model` is given besides.
        weights: of the checkpoint.
        file: that they were read from.

    Raises:
        CheckpointError: names or shapes disagree (the message names the first), or a limit is
            exceeded, which it names.
    """
    if math.prod(given["event_shape"]) > LARGEST_EVENT:
        raise CheckpointError(
            f"{file}: its examples have the shape {list(given['event_shape'])}, more than the "
            f"{LARGEST_EVENT:,} values that are accepted."
        )
    _refuse_hollow(weights, file)
    if not all(cls.__module__.startswith("vae_run.") for cls in settings.classes.values()):
        return
    outline = _outlined(settings, given, weights, file)
    compare(outline, weights, file)
    saved = outline.state_dict()
    free = sum(each.nbytes for name, each in outline.named_buffers() if name not in saved)
    if free > LARGEST_TABLES:
        raise CheckpointError(
            f"{file}: the configured model needs {free / 2**20:,.0f} MiB besides its weights, more "
            f"than the {LARGEST_TABLES // 2**20} MiB that are accepted."
        )


def _outlined(
    settings: Settings, given: Mapping[str, Any], weights: Mapping[str, Any], file: Path
) -> nn.Module:
    """The model without memory; one whose masks are made of values, with some."""
    with (
        checkpoint_file.understood(file),
        torch.random.fork_rng(devices=[]),
        _no_more_than(weights, file),
    ):
        try:
            with torch.device("meta"):
                return build_model(settings, **given)
        except NotImplementedError:  # the masks of a flow are made of values
            with _no_more_than(weights, file, in_memory=True):
                return build_model(settings, **given)


def compare(model: nn.Module, weights: Mapping[str, Any], file: Path) -> None:
    """Refuse `weights`, read from `file`, whose names, shapes or types are not those of `model`.

    A real number may be of another precision, but is no integer, and none is complex.

    Raises:
        CheckpointError: they are not; the message names the first that differs.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | {str(name) for name in weights}):
        expected, found = _shape(own.get(name)), _shape(weights.get(name))
        if expected == found and _kind(own.get(name)) != _kind(weights.get(name)):
            expected, found = str(own[name].dtype), str(weights[name].dtype)
        if expected != found:
            raise CheckpointError(
                f"{file}: {name} is {found}, but the configured model expects {expected}. "
                "The checkpoint and the configuration are not of the same run."
            )


def _shape(value: Any) -> list[int] | str:
    return list(value.shape) if isinstance(value, Tensor) else "no such tensor"


def _kind(value: Any) -> tuple[bool, bool] | None:
    return (value.is_complex(), value.is_floating_point()) if isinstance(value, Tensor) else None


def _refuse_hollow(weights: Mapping[str, Any], file: Path) -> None:
    """Refuse tensors that name more values than they hold, by strides of 0."""
    for name, value in weights.items():
        if isinstance(value, Tensor) and value.untyped_storage().nbytes() < value.nbytes:
            raise CheckpointError(
                f"{file}: {name} claims to be {list(value.shape)}, but holds "
                f"{value.untyped_storage().nbytes():,} bytes. Use the file that the run wrote."
            )


@contextmanager
def _no_more_than(
    weights: Mapping[str, Any], file: Path, *, in_memory: bool = False
) -> Iterator[None]:
    """Stop building a model that has many more parameters than `weights`: even shapes take memory.

    Args:
        weights: of the checkpoint, read from `file`.
        in_memory: whether it has memory, so that the bytes of its parameters are limited too. They
            are counted before they are filled, when the system has not yet given out their pages.
    """
    most = 2 * len(weights) + 100
    held = sum(value.nbytes for value in weights.values() if isinstance(value, Tensor)) + 2**26
    count, size = 0, 0

    def registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count, size
        count, size = count + 1, size + (0 if parameter is None else parameter.nbytes)
        if count > most or (in_memory and size > held):
            raise CheckpointError(
                f"{file}: has {len(weights):,} tensors of weights, and the configured model more "
                "than twice as many, or larger ones. They are not of the same run."
            )

    handle = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()
