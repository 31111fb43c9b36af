"""Codes in two dimensions, beside the prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import (
    class_name,
    covariance,
    encoded,
    normal_moments,
    prior_samples,
)
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.plots import Density, Gaussian
from vae_run.system.nouns import counted

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

Array = NDArray[Any]

MASSES = (0.5, 0.95)
"""Shares of the prior's mass that its contours enclose."""


@picture(
    "A dot an image, in the colour of its class if it has one. Codes separate what lies apart.",
    of_codes=True,
)
def codes(view: View) -> Image | None:
    """Expected codes E_q[z] by class, with the prior's contours; from 3-D on in two directions.

    Those are the first two principal directions of the codes. Codes and prior are projected on them
    without being shifted, so that the origin stays where it is. None for a code of one dimension.
    """
    if view.latent_dim < 2:
        return None
    found = encoded(view)
    kind = "Means of q(z|x)" if view.model.posterior.stochastic else "Codes"
    notes = [f"{kind} of {counted(len(found.means), view.noun)}"]
    names = ("z0", "z1")
    plane = torch.eye(2, dtype=torch.float64)
    if view.latent_dim > 2:
        values, vectors = torch.linalg.eigh(covariance(found.means))
        plane = vectors.flip(-1)[:, :2]
        shares = (values.flip(-1)[:2] / values.sum().clamp(min=1e-30) * 100).tolist()
        names = tuple(  # type: ignore[assignment]
            f"{which} principal direction of the codes, {share:.0f} % of their variance"
            for which, share in zip(("first", "second"), shares, strict=True)
        )
    density = prior_density(view.model, plane, found.means @ plane)
    if density is not None:
        enclosed = " and ".join(f"{mass:.0%}".replace("%", " %") for mass in MASSES)
        notes.append(f"Dashed: {enclosed} of {view.model.prior.description}")
    called = view.class_names or ()
    labels = None
    if found.labels is not None:
        labels = [class_name(y, called) for y in found.labels]
    return plots.scatter((found.means @ plane).numpy(), labels, names, notes, density)


def prior_density(
    model: LatentVariableModel, plane: Tensor, points: Tensor
) -> Density | Gaussian | None:
    """The prior's density in the plane [D, 2], over a grid that holds `points` [N, 2].

    Of a normal distribution it is one, exactly, and of a mixture of them in two dimensions and
    more too; else it is estimated from samples with Gaussian kernels. The levels are those of the
    smallest regions that hold `MASSES` of it. None where nothing can be drawn from the prior, or
    where it is a sphere, whose projection has no such level, or over indices.
    """
    if not model.prior.ready or model.posterior.spherical or model.prior.over_indices:
        return None
    prior = model.latent_prior()
    if (moments := normal_moments(prior)) is not None:
        mean, covariance = moments
        projected = (plane.T @ covariance @ plane).numpy()
        return Gaussian((mean @ plane).numpy(), projected, MASSES)
    flat = (prior_samples(model, 4000) @ plane).numpy()
    inner = np.quantile(flat, [0.001, 0.999], axis=0)
    low, high = (np.stack([inner[i], f(points.numpy(), 0)]) for i, f in ((0, np.min), (1, np.max)))
    x, y = np.linspace(low.min(0) - 0.1, high.max(0) + 0.1, 100).T
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    evaluate = _density(prior, plane, flat)
    at_samples = evaluate(flat)
    levels = {
        f"{mass:.0%}".replace("%", " %"): np.quantile(at_samples, 1 - mass) for mass in MASSES
    }
    return Density(x, y, evaluate(grid).reshape(len(y), len(x)), levels)


def _density(prior: Distribution, plane: Tensor, flat: Array) -> Callable[[Array], Array]:
    """The density of the prior's projection at points [N, 2]; `flat` are samples of it."""
    mixture = _projected_mixture(prior, plane)
    if mixture is None and prior.event_shape[0] > 2:
        from scipy.stats import gaussian_kde  # type: ignore[import-untyped]

        kernels = gaussian_kde(flat[:2000].T)
        return lambda points: np.asarray(kernels(points.T))

    def exact(points: Array) -> Array:
        if mixture is not None:
            return np.asarray(mixture.log_prob(torch.from_numpy(points)).exp())
        at = torch.from_numpy(points).to(prior.sample())
        return np.asarray(prior.log_prob(at).double().exp().cpu())

    return exact


def _projected_mixture(prior: Distribution, plane: Tensor) -> Distribution | None:
    """The projection of a mixture of normal distributions, which is one; None for others."""
    if not isinstance(prior, MixtureSameFamily):
        return None
    parts = normal_moments(prior.component_distribution)
    if parts is None:
        return None
    mean, covariance = parts
    projected = plane.T @ covariance @ plane
    floor = 1e-9 * projected.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] * torch.eye(2)
    return MixtureSameFamily(
        Categorical(logits=prior.mixture_distribution.logits.cpu().double()),
        MultivariateNormal(mean @ plane, projected + floor),
    )
