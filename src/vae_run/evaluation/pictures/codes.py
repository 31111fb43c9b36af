"""What is drawn of a trained model's codes, beside its prior.

Each function returns a picture as uint8 [H, W, 3], or None where it has no meaning. Letters:
N images, D latent dimensions, G grid points, F pixels of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vae_run import plots
from vae_run.evaluation.metrics.anomaly import scores, separation
from vae_run.models.distributions.kl import kl_per_dimension
from vae_run.plots import Density, Marginal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vae_run.evaluation.view import View
    from vae_run.models.latent_variable_model import LatentVariableModel

    Picture = NDArray[Any]
    Array = NDArray[Any]

SHOWN = 2000
"""Images of the split that these pictures are made of."""
ACTIVE = 0.01
"""Variance over images of E_q[z_d] above which a dimension is active (Burda et al. 2015)."""
PANELS = 12
SAMPLES_SEED = 0
MASSES = (0.5, 0.95)
"""Shares of the prior's mass that its contours enclose."""


@dataclass(frozen=True)
class Codes:
    """The codes of the first images of a split, on the CPU.

    Attributes:
        means: E_q[z], or what stands for it, float64 [N, D].
        drawn: one sample of q(z|x) an image, with its fixed noise, float64 [N, D].
        labels: their classes, or None.
        nats: KL(q(z_d|x) || p(z_d)), mean over the images, [D]; None where it does not factorise.
    """

    means: Tensor
    drawn: Tensor
    labels: list[int] | None
    nats: Tensor | None


def encoded(view: View) -> Codes:
    """The codes of at most `SHOWN` images of the view."""
    means, drawn, labels, nats = [], [], [], []
    bound = view.model.posterior.stochastic and view.model.prior.generative
    for batch in replace(view, limit=SHOWN).batches():
        model = view.model.given(batch.label)
        q = model.encode(batch.input)
        means.append(model.posterior.expectation(q).cpu().double())
        drawn.append(model.posterior.sample(q, batch.noise[0]).cpu().double())
        labels += [] if batch.label is None else batch.label.tolist()
        each = kl_per_dimension(q, model.latent_prior()) if bound else None
        nats += [] if each is None else [each.cpu().double()]
    return Codes(
        torch.cat(means),
        torch.cat(drawn),
        labels or None,
        torch.cat(nats).mean(0) if nats else None,
    )


def codes(view: View) -> Picture | None:
    """Means of q(z|x) by class, with the prior's contours; from 3-D on in two directions.

    Those are the first two principal directions of the codes. Codes and prior are projected on them
    without being shifted, so that the origin stays where it is. None for a code of one dimension.
    """
    if view.latent_dim < 2:
        return None
    found = encoded(view)
    kind = "Means of q(z|x)" if view.model.posterior.stochastic else "Codes"
    notes = [f"{kind} of {len(found.means):,} images"]
    names = ("z1", "z2")
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
        labels = [called[y] if 0 <= y < len(called) else str(y) for y in found.labels]
    return plots.scatter((found.means @ plane).numpy(), labels, names, notes, density)


def prior_density(model: LatentVariableModel, plane: Tensor, points: Tensor) -> Density | None:
    """The prior's density in the plane [D, 2], over a grid that holds `points` [N, 2].

    Exact for two dimensions and for N(0, I); else estimated from samples with Gaussian kernels. The
    levels are those of the smallest regions that hold `MASSES` of it. None where nothing can be
    drawn from the prior, or where it is a sphere, whose projection has no such level.
    """
    if not model.prior.ready or model.posterior.spherical:
        return None
    drawn = prior_samples(model, 4000)
    flat = (drawn @ plane).numpy()
    inner = np.quantile(flat, [0.001, 0.999], axis=0)
    low, high = (np.stack([inner[i], f(points.numpy(), 0)]) for i, f in ((0, np.min), (1, np.max)))
    x, y = np.linspace(low.min(0) - 0.1, high.max(0) + 0.1, 100).T
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    evaluate = _density(model, flat)
    at_samples = evaluate(flat)
    levels = {
        f"{mass:.0%}".replace("%", " %"): np.quantile(at_samples, 1 - mass) for mass in MASSES
    }
    return Density(x, y, evaluate(grid).reshape(len(y), len(x)), levels)


def _density(model: LatentVariableModel, flat: Array) -> Callable[[Array], Array]:
    """The density of the prior's projection at points [N, 2]; `flat` are samples of it."""
    standard = model.prior.gaussian
    prior = model.latent_prior()
    if prior.event_shape[0] > 2 and not standard:
        from scipy.stats import gaussian_kde  # type: ignore[import-untyped]

        kernels = gaussian_kde(flat[:500].T)
        return lambda points: np.asarray(kernels(points.T))
    if prior.event_shape[0] > 2:
        return lambda points: np.asarray(np.exp(-0.5 * np.square(points).sum(1)))

    def exact(points: Array) -> Array:
        at = torch.from_numpy(points).to(prior.mean if standard else prior.sample())
        return np.asarray(prior.log_prob(at).double().exp().cpu())

    return exact


def prior_samples(model: LatentVariableModel, count: int) -> Tensor:
    """`count` codes from the prior with a fixed seed, float64 [count, D] on the CPU."""
    with torch.random.fork_rng():
        torch.manual_seed(SAMPLES_SEED)
        drawn: Tensor = model.latent_prior().sample((count,))
    return drawn.cpu().double()


def kl_per_dimension_bars(view: View) -> Picture | None:
    """KL of every latent dimension, active ones in colour; None where it does not factorise."""
    found = encoded(view)
    if found.nats is None:
        return None
    active = found.means.var(0) > ACTIVE
    notes = [
        f"{float(found.nats.sum()):.2f} nats in all, mean over {len(found.means):,} images",
        f"{int(active.sum())} of {view.latent_dim} dimensions are active: "
        f"Var of E_q[z] above {ACTIVE:g}",
    ]
    return plots.kl_bars(found.nats.tolist(), active.tolist(), notes)


def spectrum(view: View) -> Picture | None:
    """Eigenvalues of the codes' covariance beside those of PCA of the same images.

    None for a code of one dimension, whose share is always the whole.
    """
    if view.latent_dim < 2:
        return None
    found = encoded(view)
    values = torch.linalg.eigvalsh(covariance(found.means)).flip(0)
    pixels = [batch.target.cpu() for batch in replace(view, limit=SHOWN).batches()]
    pca = principal_values(torch.cat(pixels).flatten(1).double())[: view.latent_dim]
    kind = "means of q(z|x)" if view.model.posterior.stochastic else "codes"
    notes = [
        f"Of the covariance of {kind}, and of the first {len(pca)} principal components of the "
        f"pixels; {len(found.means):,} images"
    ]
    return plots.spectrum(values.tolist(), pca.tolist(), notes)


def covariance(points: Tensor) -> Tensor:
    """[D, D] of points [N, D]; of a single point it is zero."""
    centred = points - points.mean(0)
    return centred.T @ centred / max(len(points) - 1, 1)


def principal_values(points: Tensor) -> Tensor:
    """Falling eigenvalues, at most min(N, F), of the covariance of points [N, F]."""
    centred = points - points.mean(0)
    small = centred.T @ centred if points.shape[1] <= len(points) else centred @ centred.T
    values: Tensor = torch.linalg.eigvalsh(small).flip(0).clamp(min=0)
    return values / max(len(points) - 1, 1)


def aggregate_posterior(view: View) -> Picture:
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
        name = f"z{d + 1}  " + (
            f"sd {spread[d]:.2f}" if found.nats is None else f"KL {found.nats[d]:.2f} nats"
        )
        samples = found.drawn[:, d].numpy()
        own = None if drawn is None else drawn[:, d].numpy()
        marginals.append(_marginal(name, samples, own, standard=prior.gaussian))
    notes = [f"{len(found.drawn):,} images", f"The line is {prior.description}"]
    if view.latent_dim > PANELS:
        notes.append(f"{PANELS} of {view.latent_dim} dimensions")
    return plots.aggregate_posterior(marginals, notes if prior.ready else notes[::2])


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


SCORES = {
    "mse": "squared error per pixel",
    "elbo": "negative ELBO, nats",
    "log_likelihood": "negative log-likelihood, nats",
    "pca": "PCA: squared error per pixel",
}
"""Anomaly scores that are drawn, by their names in `metrics.anomaly.scores`."""


def anomaly_scores(view: View) -> Picture | None:
    """Histograms of the scores of normal test images and of those of classes never seen.

    None where no class was left out of the training.
    """
    if view.others is None or view.train is None or view.model.classes is not None:
        return None
    few = replace(view, limit=SHOWN)
    normal, strange = scores(few), scores(replace(few, split=view.others))
    panels = []
    for name, title in SCORES.items():
        if name in normal:
            area = separation(normal[name], strange[name])["auroc"]
            values = normal[name].numpy(), strange[name].numpy()
            panels.append((f"{title}; AUROC {area:.3f}", *values))
    count, more = len(normal["mse"]), len(strange["mse"])
    notes = [
        f"{count:,} test images of the classes trained on, {more:,} of the others",
        "AUROC is of these",
    ]
    return plots.anomaly_histograms(panels, notes)


PICTURES: dict[str, Callable[[View], Any]] = {
    "codes": codes,
    "kl_per_dimension": kl_per_dimension_bars,
    "spectrum": spectrum,
    "aggregate_posterior": aggregate_posterior,
    "anomaly_scores": anomaly_scores,
}
"""Pictures by the name of their file and their TensorBoard tag."""
