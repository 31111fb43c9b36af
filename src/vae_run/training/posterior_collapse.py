"""Posterior collapse: q(z|x) equals the prior, so that codes do not depend on their images."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

log = logging.getLogger("vae_run")

COLLAPSE = 0.1
"""KL of the whole code, in nats, below which a posterior counts as collapsed."""
COLLAPSE_STEPS = 200
"""Steps before which no collapse is reported."""


class CollapseWatch:
    """Watches the KL on val, and warns once."""

    def __init__(self, total: int, warmup_epochs: float) -> None:
        """Watch a training of `total` steps, whose warm-up lasts `warmup_epochs`."""
        self._settled, self._warmup_epochs = max(COLLAPSE_STEPS, total // 10), warmup_epochs
        self._warned = False

    def see(self, values: Mapping[str, float], step: int, epoch: float, *, final: bool) -> None:
        """Warn if the posterior still equals the prior after part of the training or at its end."""
        had_time = (final or step >= self._settled) and epoch >= self._warmup_epochs
        if self._warned or not had_time or values.get("kl", math.inf) >= COLLAPSE:
            return
        self._warned = True
        log.warning(
            "posterior collapse: at epoch %.4g the KL is %.2g nats, so codes say nothing of "
            "their images. Try a lower objective.beta, objective=free_bits or capacity, or, "
            "with likelihood=gaussian, likelihood.sigma=learned.",
            epoch,
            values["kl"],
        )
