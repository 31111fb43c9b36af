"""Posterior collapse: q(z|x) equals the prior, so that codes do not depend on their images."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

log = logging.getLogger("vae_run")

COLLAPSE = 0.1
"""KL of the whole code, in nats, below which a posterior counts as collapsed."""


class CollapseWatch:
    """Remembers the KL on val; whether the posterior collapsed is judged when training ends.

    Many posteriors equal the prior for the first epochs and leave it later: a KL that is small
    before the end tells nothing.
    """

    def __init__(self, warmup_epochs: float) -> None:
        """Watch a training whose warm-up lasts `warmup_epochs`."""
        self._warmup_epochs = warmup_epochs
        self._kl, self._epoch = math.inf, 0.0

    def see(self, values: Mapping[str, float], epoch: float) -> None:
        """Take note of the metrics on val at `epoch`."""
        self._kl, self._epoch = values.get("kl", math.inf), epoch

    def judge(self) -> None:
        """Warn if the posterior equalled the prior when it was last measured."""
        if self._kl >= COLLAPSE or self._epoch < self._warmup_epochs:
            return
        log.warning(
            "posterior collapse: at the end (epoch %.4g) the KL is %.2g nats, so codes say nothing "
            "of their images. Try a lower objective.beta, objective=free_bits or capacity, or, "
            "with likelihood=gaussian, likelihood.sigma=learned.",
            self._epoch,
            self._kl,
        )
