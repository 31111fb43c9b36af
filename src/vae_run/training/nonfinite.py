"""Losses, gradients and weights that are not finite: which steps to skip, and when to give up."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from vae_run.data.splits import Split
from vae_run.errors import DivergedError
from vae_run.training.moments import advice_on_scales, moments

log = logging.getLogger("vae_run")


def finite(model: nn.Module) -> bool:
    """Whether all parameters of `model` are finite."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())


class DivergenceCheck:
    """Ends a training whose numbers are not finite, other than in a few steps that may be skipped.

    Each method raises DivergedError; the last good checkpoint is kept.
    """

    def __init__(
        self, allowed: int, checkpoint: Path, train: Split, *, scalable: bool = False
    ) -> None:
        """Allow for `allowed` skipped steps; messages name the `checkpoint` that is kept.

        Where the images of `train` call for scaling, messages say so too, and name the key if the
        dataset is `scalable`.
        """
        self._allowed, self._checkpoint, self._train = allowed, checkpoint, train
        self._scalable = scalable

    def count(self, skipped: Sequence[int], before: int) -> None:
        """Warn of the steps that were `skipped`, `before` of them earlier on.

        Raises:
            DivergedError: together they are more than are allowed.
        """
        if not skipped:
            return
        total = before + len(skipped)
        if total > self._allowed:
            what = "the loss or its gradient is not finite"
            if self._allowed:
                what += f", more often than trainer.skip_nonfinite={self._allowed}"
            raise self._diverged(f"at step {skipped[0]}: {what}")
        log.warning(
            "skipped step %s, whose loss or gradient is not finite (%d of "
            "trainer.skip_nonfinite=%d).",
            ", ".join(str(step) for step in skipped),
            total,
            self._allowed,
        )

    def terms(self, means: Mapping[str, float], step: int) -> None:
        """Check the `means` of the objective's terms up to `step`.

        Raises:
            DivergedError: one is not finite.
        """
        for value in means.values():
            if not math.isfinite(value):
                raise self._diverged(f"by step {step}: a term is {value}")

    def weights(self, model: nn.Module, step: int) -> None:
        """Check the parameters of `model` after `step` steps.

        Raises:
            DivergedError: one is not finite.
        """
        if not finite(model):
            raise self._diverged(f"by step {step}: a weight is not finite")

    def _diverged(self, what: str) -> DivergedError:
        advice = advice_on_scales(moments(self._train), scalable=self._scalable)
        return DivergedError(
            f"training diverged {what}. The last good checkpoint is kept in {self._checkpoint}. "
            + (f"{advice} Or lower" if advice else "Lower")
            + " optimizer.lr, set trainer.clip_norm, or allow for some with "
            "trainer.skip_nonfinite."
        )
