"""Codes of all images, a dimension at a time, beside the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import encoded, normal_moments, prior_samples
from vae_run.plots import Marginal
from vae_run.system.nouns import counted

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

Array = NDArray[Any]
PANELS = 12


@picture("Codes of all images. Where they leave the prior, samples look worse.", of_codes=True)
def aggregate_posterior(view: View) -> Image:
    """Histograms of codes drawn from q(z|x) of all images, with the prior's marginal densities.

    The dimensions with the most KL come first, or those with the largest spread.
    """
    found = encoded(view)
    prior = view.model.prior
    spread = found.drawn.std(0, unbiased=False)
    order = (spread if found.nats is None else found.nats).argsort(descending=True)[:PANELS]
    exact = normal_moments(view.model.latent_prior()) if prior.ready else None
    drawn = prior_samples(view.model, 20_000) if prior.ready and exact is None else None
    marginals = []
    for d in order.tolist():
        name = f"z{d}  " + (
            f"sd {spread[d]:.2f}" if found.nats is None else f"KL {found.nats[d]:.2f} nats"
        )
        samples = found.drawn[:, d].numpy()
        own = None if drawn is None else drawn[:, d].numpy()
        normal = None if exact is None else (float(exact[0][d]), float(exact[1][d, d]) ** 0.5)
        marginals.append(_marginal(name, samples, own, normal))
    notes = [counted(len(found.drawn), view.noun)]
    if view.latent_dim > PANELS:
        notes.append(f"{PANELS} of {view.latent_dim} dimensions")
    return plots.aggregate_posterior(
        marginals,
        notes,
        view.noun[:-1],
        line=prior.description,
        stochastic=view.model.posterior.stochastic,
        title="Aggregate posterior and prior" if prior.generative else "Distribution of the codes",
    )


def _marginal(
    name: str, samples: Array, own: Array | None, normal: tuple[float, float] | None = None
) -> Marginal:
    """A dimension's codes and its prior's density: of `normal`, (mean, sd), or of samples `own`."""
    held = samples if own is None else np.concatenate([samples, own])
    low, high = np.quantile(held, [0.001, 0.999])
    if normal is not None:
        mean, scale = normal
        low, high = min(low, mean - 3.1 * scale), max(high, mean + 3.1 * scale)
    margin = 0.05 * (high - low) or 1.0
    x = np.linspace(low - margin, high + margin, 161)
    if normal is not None:
        unit = (x - mean) / scale
        return Marginal(name, samples, x, np.exp(-0.5 * unit**2) / (scale * np.sqrt(2 * np.pi)))
    if own is None:
        return Marginal(name, samples, x, None)
    counts, edges = np.histogram(own, np.linspace(x[0], x[-1], 61), density=True)
    return Marginal(name, samples, x, np.interp(x, (edges[1:] + edges[:-1]) / 2, counts))
