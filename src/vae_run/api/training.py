"""`fit` and `train`: a training in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vae_run.api.overrides import overrides, refuse_other_tasks, typed
from vae_run.api.run import Run
from vae_run.api.session import finish, session
from vae_run.api.user_data import given_data
from vae_run.cli.in_process import own_errors, prepared
from vae_run.config.commands import override
from vae_run.data.given import Given, giving
from vae_run.tasks.train import begun


def fit(
    images: Any,
    labels: Any = None,
    *,
    val: Any = None,
    test: Any = None,
    conditions: Mapping[str, Any] | None = None,
    directory: str | os.PathLike[str] | None = None,
    figures: bool = False,
    quiet: bool = False,
    **keys: Any,
) -> Run:
    """Train a model on data in memory.

    Longer than other functions, since it says what each argument may be.

    Args:
        images: one of these. Arrays or tensors, uint8, bool or floats in [0, 1]: [N, H, W],
            [N, C, H, W], [N, H, W, C] or [N, F]. A data frame of pandas or polars, or a
            `pyarrow.Table`, whose columns are numbers or categories (as `dataset=table`). A list of
            image files, decoded to `dataset.image_size` (as `dataset=image_folder`). A list of PIL
            images. A map-style torch `Dataset`, whose items are read once. A `Dataset` of Hugging
            Face. Or a mapping of `train`, `val` and `test` to such data, as a `DatasetDict`.
        labels: whole numbers or texts [N], or, of a data frame, the name of a column; None: those
            that a `Dataset` has.
        val, test: data of the validation and the test set, as `images`, or tuples of data, labels
            and, optionally, conditions; None: they are cut from `images` by `dataset.val_size`
            and `dataset.test_size`.
        conditions: {name: values [N]} of the conditions that the key `condition` names besides
            `label`, for arrays; of a data frame they are columns.
        directory: the run directory; None: a new one below `outputs/`.
        figures: whether pictures are drawn, those in TensorBoard while it trains too (unless
            `figures.every` is a number); `Run.figures` draws the others later.
        quiet: whether nothing is printed.
        keys: as on the command line: `model="vae"`, `latent_dim=2`, `**{"trainer.epochs": 20}`.

    Returns:
        The run; its `status` is "interrupted" after Ctrl-C, and `Run.resume` goes on.

    Raises:
        ConfigError: a key or its value is wrong.
        DataError: the data are of a wrong type or shape, or have values that are not finite.
        DivergedError: the loss is no longer finite.
    """
    with own_errors():
        given = given_data(images, labels, val=val, test=test, conditions=conditions)
        words = overrides({**given.keys, **keys})
    return _trained([*words, *_placed(directory)], given.data, figures=figures, quiet=quiet)


def train(
    *words: str,
    directory: str | os.PathLike[str] | None = None,
    figures: bool = False,
    quiet: bool = False,
    **keys: Any,
) -> Run:
    """Train a model on configured data, such as `train("model=vae", "dataset=mnist")`.

    Args:
        words: as they are typed after `vae-run`.
        directory, figures, quiet: as of `fit`.
        keys: more keys, with Python values.

    Returns:
        The run, as of `fit`.

    Raises:
        RunError: as of `fit`.
    """
    given = [*typed(words), *overrides(keys), *_placed(directory)]
    return _trained(given, None, figures=figures, quiet=quiet)


def _placed(directory: str | os.PathLike[str] | None) -> list[str]:
    return [] if directory is None else [override("hydra.run.dir", os.fspath(directory))]


def _trained(words: Sequence[str], data: Given | None, *, figures: bool, quiet: bool) -> Run:
    refuse_other_tasks(words)
    with session(quiet=quiet or "quiet=true" in words), own_errors(), giving(data):
        ready = prepared(["task=train", *words])
        try:
            finish(ready.call, begun, figures=figures)
        finally:
            ready.tidy()
    return Run(ready.call.directory, data=data)
