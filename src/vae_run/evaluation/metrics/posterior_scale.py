"""How wide the posterior is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    posterior = settings.classes["posterior"]
    if not posterior.stochastic:
        yield "a deterministic code has no scale. Use posterior=normal."
    elif not posterior.moments:
        yield f"{posterior.__name__} does not know its variance. Use posterior=normal."


@metric(conflicts=_conflicts)
def posterior_scale(view: View) -> dict[str, float]:
    """`posterior_scale`: sqrt(Var q(z_d|x)), mean over images and latent dimensions.

    In units of the code: 1 is the scale of a standard normal prior. Nothing for a posterior that
    does not know its variance.
    """
    total = 0.0
    for batch in view.batches():
        q = view.model.given(batch.given).encode(batch.input)
        scale = view.model.posterior.scale(q)
        if scale is None:
            return {}
        total += float(scale.cpu().double().sum())
    return {"posterior_scale": total / (view.size * view.latent_dim)}
