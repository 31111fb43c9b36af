"""Principal components: the trainer that needs one pass over the data and no steps.

Letters: N images, D latent dimensions, P pixels of an image.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from vae_run.config.schema import Settings
from vae_run.corruptions import NoCorruption
from vae_run.errors import ConfigError, DivergedError
from vae_run.evaluation.codes import calibrate
from vae_run.evaluation.principal_components import Spectrum, spectrum
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.likelihoods import GaussianLikelihood
from vae_run.models.posteriors import DeltaPosterior, NormalPosterior
from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.signals import StopRequests
from vae_run.tracking.history import History
from vae_run.tracking.tracker import Tracker
from vae_run.training.data_support import scalable
from vae_run.training.experiment import Experiment
from vae_run.training.moments import advice_on_scales
from vae_run.training.nonfinite import finite
from vae_run.training.progress import Progress
from vae_run.training.trainer import Trainer

log = logging.getLogger("vae_run")


@torch.no_grad()
def set_linear_maps(model: LatentVariableModel, found: Spectrum, latent_dim: int) -> float:
    """Set the weights of a linear `model` to the PCA of `found`, or to its probabilistic PCA.

    PCA: z = U^T (x - mu), x = U z + mu. Probabilistic PCA (Tipping & Bishop 1999, eqs. 7 and 8):
    W = U (L - s^2)^(1/2), s^2 the mean of the discarded eigenvalues, or the variance that was given
    as a number; the posterior has the mean L^-1 W^T (x - mu) and the covariance s^2 L^-1, which is
    diagonal. Directions of less variance than a given s^2 have no loadings, and there L = s^2. With
    as many latent dimensions as pixels nothing is discarded, and s^2 is the least that is allowed.

    Returns:
        The variance of a pixel, which the likelihood has taken if it is not given.
    """
    kept, basis = found.values[:latent_dim], found.vectors[:, :latent_dim]
    discarded = found.values[latent_dim:]
    head = model.posterior.projection
    last = model.likelihood.projection[0]  # type: ignore[index]
    assert isinstance(head, nn.Linear)
    assert isinstance(last, nn.Linear)
    if model.posterior.stochastic:
        assert isinstance(model.likelihood, GaussianLikelihood)
        mean = discarded.sum() / max(1, len(discarded))
        variance = mean.clamp(min=GaussianLikelihood.floor**2)
        if model.likelihood.kind == "fixed":
            variance = model.likelihood.sigma.double().square().to(variance)
        kept = kept.clamp(min=float(variance) * (1 + 1e-9))
        loadings = basis * (kept - variance).sqrt()
        encoder = (loadings / kept).T
        noise = (variance / kept).log()
        head.weight.copy_(torch.cat([encoder, torch.zeros_like(encoder)]))
        head.bias.copy_(torch.cat([-encoder @ found.mean, noise]))
    else:
        variance, loadings, encoder = discarded.sum() / len(found.values), basis, basis.T
        head.weight.copy_(encoder)
        head.bias.copy_(-encoder @ found.mean)
    last.weight.copy_(loadings)
    last.bias.copy_(found.mean)
    model.likelihood.calibrate(float(variance))
    return float(variance)


@dataclass(kw_only=True)
class ClosedForm(Trainer):
    """The maximum-likelihood linear model, from the eigenvectors of the train split's covariance.

    With a deterministic code it is PCA, with a normal posterior probabilistic PCA, whose ELBO is
    log p(x) itself.
    """

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if not settings.build("network").linear:
            yield "trainer=closed_form: is for linear maps. Use network=mlp 'network.widths=[]'."
        if getattr(settings.build("network"), "tied", False):
            yield (
                "network.tied: trainer=closed_form sets the decoder's weights, which for PCA are "
                "those of the encoder, transposed, as it is. Leave it false."
            )
        if settings.build("network").spectral_norm:
            yield "network.spectral_norm: trainer=closed_form sets the weights. Leave it false."
        if not issubclass(settings.classes["posterior"], (DeltaPosterior, NormalPosterior)):
            yield "trainer=closed_form: is PCA with posterior=delta, or ppca with posterior=normal."
        if not issubclass(settings.classes["likelihood"], GaussianLikelihood):
            yield "trainer=closed_form: maximises a Gaussian likelihood. Use likelihood=gaussian."
        if not issubclass(settings.classes["corruption"], NoCorruption):
            yield "trainer=closed_form: has no solution for corrupted input. Use corruption=none."
        if settings.fixed.condition is not None:
            yield (
                "trainer=closed_form: has no solution for a conditional model. Use condition=null, "
                "or trainer=gradient."
            )

    def plan(self, train_size: int) -> str:
        return "none: one pass over the data"

    def why_over(self, progress: Progress) -> str | None:
        return "finished" if progress.step > 0 else None

    def train(
        self,
        experiment: Experiment,
        run: RunDirectory,
        tracker: Tracker,
        stop: StopRequests,
        saved: Mapping[str, Any] | None,
    ) -> Progress:
        if saved is not None and saved["step"]:
            return Progress(**saved["progress"])
        latent_dim = experiment.settings.fixed.latent_dim
        pixels = experiment.splits.train.images[0].numel()
        if latent_dim > pixels:
            raise ConfigError(
                f"latent_dim: found {latent_dim}, but the images have {pixels} pixels, and "
                "trainer=closed_form finds no more components than that."
            )
        started = time.perf_counter()
        train = experiment.splits.train
        variance = set_linear_maps(experiment.model, spectrum(train), latent_dim)
        progress = Progress(step=1, seconds=time.perf_counter() - started, examples=len(train))
        calibrate(experiment.view(train))
        if experiment.model.posterior.stochastic:  # samples of codes only estimate it
            with torch.no_grad():
                experiment.model.likelihood.calibrate(variance)
        if len(experiment.splits.val):
            values = experiment.evaluation.measure(
                experiment.view(experiment.splits.val), experiment.evaluation.while_training
            )
            tracker.scalars("val", values, 1)
            history = History(run.path / "history.csv")
            history.add({"epoch": 1, "step": 1} | {f"val/{k}": v for k, v in values.items()})
            history.finish()
        _save(experiment, run, progress)
        return progress


def _save(experiment: Experiment, run: RunDirectory, progress: Progress) -> None:
    """Write both checkpoints, which are alike.

    Raises:
        DivergedError: a weight is not finite.
    """
    if not finite(experiment.model):
        advice = advice_on_scales(experiment.moments, scalable=scalable(experiment.settings))
        raise DivergedError(
            "trainer=closed_form: the covariance of the training data gives weights that are not "
            f"finite. {advice or 'Look for extreme values in the data (task=check).'}"
        )
    run.stepped = True
    run.status(epoch=1.0, step=1)
    run.best.parent.mkdir(exist_ok=True)
    state = {"model": experiment.model.state_dict(), "step": 1, "epoch": 1.0}
    state |= {"progress": asdict(progress), "trainer": {}, **experiment.about()}
    checkpoint_file.save(run.best, state)
    checkpoint_file.save(run.last, state)
