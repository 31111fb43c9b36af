"""An experiment put together: data, model and objective from a checked configuration."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_run.config import Settings
from vae_run.corruptions import Corruption
from vae_run.data.splits import Split, Splits
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation import Evaluation, View
from vae_run.model import LatentVariableModel
from vae_run.networks import Encoder, tie
from vae_run.objectives import Objective
from vae_run.posteriors import Posterior

log = logging.getLogger("vae_run")


@dataclass
class Experiment:
    """Everything that training and evaluation work on, on one device."""

    settings: Settings
    device: torch.device
    splits: Splits
    model: LatentVariableModel
    objective: Objective
    corruption: Corruption
    evaluation: Evaluation

    def view(self, split: Split, epoch: float = 0.0) -> View:
        """The model before `split`, at the time `epoch` of the objective's warm-up."""
        return View(
            self.model,
            self.objective,
            self.corruption,
            split,
            self.settings.fixed.latent_dim,
            self.evaluation.batch_size,
            epoch,
        )

    def about(self) -> dict[str, Any]:
        """What a checkpoint must tell of the data for its model to be built again."""
        return {"event_shape": list(self.splits.event_shape), "levels": self.splits.levels}


def choose_device(name: str) -> torch.device:
    """The device that `name` asks for; `auto` takes the first of CUDA, MPS, CPU that is there.

    Raises:
        ConfigError: the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    missing = None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        missing = f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
    elif device.type == "mps" and not torch.backends.mps.is_available():
        missing = f"torch {torch.__version__} sees no MPS device"
    if missing:
        raise ConfigError(f"device: found {name}, but {missing}. Use device=cpu or device=auto.")
    return device


def _encode(encoder: Encoder, posterior: Posterior, x: Tensor) -> Distribution:
    """q(z|x). A partial of it is copied with the model it belongs to; a closure is not."""
    q: Distribution = posterior(encoder(x))
    return q


def build_model(
    settings: Settings, event_shape: tuple[int, ...], levels: int | None = None
) -> LatentVariableModel:
    """The model for images of `event_shape`, on the CPU, initialised from torch's global seed.

    `levels`, the grey levels of the data, is needed by likelihoods that are `discrete`.
    """
    latent_dim = settings.fixed.latent_dim
    network = settings.build("network")
    encoder, decoder = network.encoder(event_shape), network.decoder(latent_dim, event_shape)
    posterior = settings.build("posterior", features=encoder.features, latent_dim=latent_dim)
    prior = settings.build(
        "prior",
        latent_dim=latent_dim,
        event_shape=event_shape,
        encode=partial(_encode, encoder, posterior),
    )
    likelihood = settings.build(
        "likelihood", event_shape=event_shape, levels=levels, projection=decoder.projection
    )
    if getattr(network, "tied", False):
        tie(encoder, posterior, decoder, likelihood.projection)
    return LatentVariableModel(encoder, posterior, prior, decoder, likelihood)


def load_splits(settings: Settings) -> Splits:
    """The data, checked against the likelihood's support.

    Raises:
        DataError: the data are missing, unreadable, or outside of what the likelihood models.
    """
    splits: Splits = settings.build("dataset").load()
    likelihood: Any = settings.classes["likelihood"]
    name = likelihood.__name__
    if likelihood.discrete and splits.levels is None:
        raise DataError(
            f"dataset: {settings.classes['dataset'].__name__} holds floats, but likelihood {name} "
            "gives probabilities to grey levels. Store the images as uint8, set dataset.binarize, "
            "or use a density such as likelihood=gaussian."
        )
    low, high, grey = 0.0, 1.0, False
    for split in (splits.train, splits.val, splits.test):
        if len(split):
            low = min(low, float(split.images.min()) / split.scale)
            high = max(high, float(split.images.max()) / split.scale)
            grey = grey or split.has_grey
    if likelihood.unit_interval and (low < 0 or high > 1):
        raise DataError(
            f"dataset: values lie in [{low:.4g}, {high:.4g}], but likelihood {name} models pixels "
            "in [0, 1]. Rescale the data, or use likelihood=gaussian."
        )
    if likelihood.binary and grey and "bits_per_dim" in settings.parts["evaluation"]["metrics"]:
        raise DataError(
            "evaluation.metrics: bits_per_dim: the pixels are grey, and of those a Bernoulli gives "
            "no probability. Use dataset.binarize=dynamic, or likelihood=categorical."
        )
    if likelihood.binary and grey:
        log.warning(
            "Grey pixels under a Bernoulli likelihood: reconstruction, ELBO and loss are "
            "cross-entropies, not likelihoods (dataset.binarize=dynamic makes them so)."
        )
    return splits


def assemble(settings: Settings, device: torch.device) -> Experiment:
    """Load the data and build all parts; the seed is set before the model is built."""
    splits = load_splits(settings)
    torch.manual_seed(settings.fixed.seed)
    model = build_model(settings, splits.event_shape, splits.levels).to(device)
    return Experiment(
        settings,
        device,
        splits.to(device),
        model,
        settings.build("objective", train_size=len(splits.train)),
        settings.build("corruption"),
        settings.build("evaluation"),
    )


def with_splits(experiment: Experiment, splits: Splits) -> Experiment:
    """The same experiment before other data of the same shape."""
    return replace(experiment, splits=splits.to(experiment.device))
