"""Codes of all images, a dimension at a time, beside the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import encoded, prior_samples
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
    drawn = prior_samples(view.model, 20_000) if prior.ready else None
    marginals = []
    for d in order.tolist():
        name = f"z{d}  " + (
            f"sd {spread[d]:.2f}" if found.nats is None else f"KL {found.nats[d]:.2f} nats"
        )
        samples = found.drawn[:, d].numpy()
        own = None if drawn is None else drawn[:, d].numpy()
        marginals.append(_marginal(name, samples, own, standard=prior.gaussian))
    notes = [counted(len(found.drawn), view.noun), f"The line is {prior.description}"]
    if view.latent_dim > PANELS:
        notes.append(f"{PANELS} of {view.latent_dim} dimensions")
    return plots.aggregate_posterior(
        marginals, notes if prior.ready else notes[::2], view.noun[:-1]
    )


def _marginal(name: str, samples: Array, own: Array | None, *, standard: bool) -> Marginal:
    """A dimension's codes and its prior's density: exact for N(0, 1), else of samples `own`."""
    held = samples if own is None else np.concatenate([samples, own])
    low, high = np.quantile(held, [0.001, 0.999])
    margin = 0.05 * (high - low) or 1.0
    x = np.linspace(low - margin, high + margin, 161)
    if own is None:
        return Marginal(name, samples, x, None)
    if standard:
        return Marginal(name, samples, x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi))
    counts, edges = np.histogram(own, np.linspace(x[0], x[-1], 61), density=True)
    return Marginal(name, samples, x, np.interp(x, (edges[1:] + edges[:-1]) / 2, counts))
