"""Posterior collapse: q(z|x) equals the prior, so that codes do not depend on their images."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

log = logging.getLogger("vae_run")

COLLAPSE = 0.1
"""KL of the whole code, in nats, below which a posterior counts as collapsed."""


class CollapseWatch:
    """Remembers the KL on val; whether the posterior collapsed is judged when training ends.

    Many posteriors equal the prior for the first epochs and leave it later: a KL that is small
    before the end tells nothing.
    """

    def __init__(self, warmup_epochs: float, remedies: Sequence[str] = ()) -> None:
        """Watch a training whose warm-up lasts `warmup_epochs`; `remedies` is what may help it."""
        self._warmup_epochs, self._remedies = warmup_epochs, remedies
        self._kl, self._epoch = math.inf, 0.0

    @classmethod
    def of(cls, settings: Settings, warmup_epochs: float) -> CollapseWatch:
        """A watch over a training with these parts."""
        return cls(warmup_epochs, remedies(settings))

    def see(self, values: Mapping[str, float], epoch: float) -> None:
        """Take note of the metrics on val at `epoch`."""
        self._kl, self._epoch = values.get("kl", math.inf), epoch

    def judge(self) -> None:
        """Warn if the posterior equalled the prior when it was last measured."""
        if self._kl >= COLLAPSE or self._epoch < self._warmup_epochs:
            return
        log.warning(
            "posterior collapse: at the end (epoch %.4g) the KL is %.2g nats, so codes say nothing "
            "of their images.%s",
            self._epoch,
            self._kl,
            f" Try {' or '.join(self._remedies)}." if self._remedies else "",
        )


def remedies(settings: Settings) -> list[str]:
    """What may help a training with these parts against a collapse."""
    objective, likelihood = settings.parts["objective"], settings.parts["likelihood"]
    weights = [key for key in ("beta", "kl_weight") if objective.get(key)]
    found = [f"a lower objective.{key}" for key in weights]
    found.append("objective=free_bits or objective=capacity")
    for key in ("sigma", "scale"):
        if isinstance(likelihood.get(key), (int, float)):
            found.append(f"likelihood.{key}=learned")
    return found
