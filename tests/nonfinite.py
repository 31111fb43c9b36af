"""Objectives that go wrong where a test wants it, as a user's own class might."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vae_run.objectives import ELBO

NAN = float("nan")


@dataclass(kw_only=True)
class Wrong(ELBO):
    """The ELBO, but at the time `at` (epochs) of training its loss or gradient is NaN."""

    at: float = 0.0
    loss: bool = True
    every_later: bool = False

    def __call__(self, model, batch, epoch):
        terms = dict(super().__call__(model, batch, epoch))
        hit = epoch >= self.at - 1e-9 if self.every_later else abs(epoch - self.at) < 1e-9
        if model.training and hit:
            weight = next(model.parameters()).sum()
            # The root of 0 is 0; its slope is infinite, and times 0 it is NaN.
            terms["loss"] = terms["loss"] + (NAN * weight if self.loss else (0 * weight).sqrt())
        return terms


@dataclass(kw_only=True)
class WrongOnVal(ELBO):
    """The ELBO, but NaN on val after the time `at`."""

    at: float = 1.5

    def __call__(self, model, batch, epoch):
        terms = super().__call__(model, batch, epoch)
        wrong = not model.training and epoch > self.at
        return {name: torch.full_like(term, NAN) if wrong else term for name, term in terms.items()}
