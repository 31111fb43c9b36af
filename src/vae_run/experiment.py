"""An experiment put together: data, model and objective from a checked configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_run import ranks
from vae_run.config import Settings
from vae_run.corruptions import Corruption
from vae_run.data.splits import Split, Splits
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation import Evaluation, View
from vae_run.model import LatentVariableModel
from vae_run.networks import Encoder
from vae_run.objectives import Objective
from vae_run.posteriors import Posterior
from vae_run.weight_constraints import normalise, tie

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
            importance_samples=self.evaluation.importance_samples,
            class_names=self.splits.class_names or (),
            manifold_label=self.evaluation.manifold_label,
            train=self.splits.train,
            others=self.splits.others if split is self.splits.test else None,
        )

    def about(self) -> dict[str, Any]:
        """What a checkpoint must tell of the data for its model to be built and used again."""
        classes = self.model.classes
        return {
            "event_shape": list(self.splits.event_shape),
            "levels": self.splits.levels,
            "classes": None if classes is None else classes.tolist(),
            "class_names": list(self.splits.class_names or ()),
        }


def choose_device(name: str) -> torch.device:
    """The device that `name` asks for; `auto` takes the first of CUDA, MPS, CPU that is there.

    Of several processes that train together, each takes the CUDA device of its number.

    Raises:
        ConfigError: the device is not there.
    """
    place = ranks.place()
    several = place is not None and place.size > 1
    if name == "auto":
        others = "mps" if torch.backends.mps.is_available() and not several else "cpu"
        name = "cuda" if torch.cuda.is_available() else others
    device = torch.device(name)
    if several and (device.type == "mps" or device.index is not None):
        ranks.refuse_several(f"device={name}")
    missing, first = None, device.index or 0
    needed = 1 if place is None else place.local_size
    if device.type == "cuda" and first + needed > torch.cuda.device_count():
        missing = f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
        missing += f" for {needed} processes on this machine" * (needed > 1)
    elif device.type == "mps" and not torch.backends.mps.is_available():
        missing = f"torch {torch.__version__} sees no MPS device"
    if missing:
        raise ConfigError(f"device: found {name}, but {missing}. Use device=cpu or device=auto.")
    if place is not None and device.type == "cuda":
        return torch.device("cuda", first + place.local)
    return device


def _encode(encoder: Encoder, posterior: Posterior, x: Tensor) -> Distribution:
    """q(z|x). A partial of it is copied with the model it belongs to; a closure is not."""
    q: Distribution = posterior(encoder(x))
    return q


def build_model(
    settings: Settings,
    event_shape: tuple[int, ...],
    levels: int | None = None,
    classes: Sequence[int] | None = None,
) -> LatentVariableModel:
    """The model for images of `event_shape`, on the CPU, initialised from torch's global seed.

    `levels`, the grey levels of the data, is needed by likelihoods that are `discrete`, and
    `classes`, the labels of the training images, by `condition=label`.
    """
    latent_dim = settings.fixed.latent_dim
    network = settings.build("network")
    seen, given = event_shape, 0
    if settings.fixed.condition is not None:
        assert classes is not None, "condition=label needs the classes"
        given = len(classes)
        joined = network.join(torch.zeros(1, *event_shape), torch.zeros(1, given))
        seen = tuple(joined.shape[1:])
    encoder, decoder = network.encoder(seen), network.decoder(latent_dim + given, event_shape)
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
    if network.spectral_norm:
        normalise(decoder, likelihood.projection)
    return LatentVariableModel(
        encoder,
        posterior,
        prior,
        decoder,
        likelihood,
        classes=classes if settings.fixed.condition is not None else None,
        join=network.join,
    )


def classes_of(split: Split, name: str) -> list[int]:
    """The different labels of `split`, rising.

    Raises:
        DataError: its images have none.
    """
    if split.labels is None:
        raise DataError(
            f"condition=label: the {name} images have no labels. Use a dataset that has them, or "
            "condition=null."
        )
    return sorted(set(split.labels.tolist()))


def check_classes(splits: Splits, classes: Sequence[int]) -> None:
    """Refuse images of another class than `classes`, those of a conditional model.

    Raises:
        DataError: there are some, or images without a label.
    """
    for name, split in (("val", splits.val), ("test", splits.test)):
        strange = sorted(set(classes_of(split, name)) - set(classes)) if len(split) else []
        if strange:
            raise DataError(
                f"condition=label: {name} has images labelled {strange[:10]}, which are not among "
                f"the {len(classes)} classes that the model is trained on. Choose them with "
                "dataset.classes."
            )


def load_splits(settings: Settings, loaded: Splits | None = None) -> Splits:
    """The data, which may be `loaded` already, checked against the likelihood's support.

    Raises:
        DataError: the data are missing, unreadable, or outside of what the likelihood models.
    """
    splits: Splits = settings.build("dataset").load() if loaded is None else loaded
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
            least, greatest = split.extent
            low, high = min(low, least), max(high, greatest)
            grey = grey or split.has_grey
    if likelihood.unit_interval and (low < 0 or high > 1):
        raise DataError(
            f"dataset: values of {settings.build('dataset')} lie in [{low:.4g}, {high:.4g}], but "
            f"likelihood {name} models pixels in [0, 1]. Rescale the data, or use "
            "likelihood=gaussian."
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


def assemble(
    settings: Settings,
    device: torch.device,
    classes: Sequence[int] | None = None,
    splits: Splits | None = None,
) -> Experiment:
    """Load the data and build all parts; the seed is set before the model is built.

    `classes` are those of a trained model, where they are not to be taken from the train split;
    `splits` the data, where another experiment of the same dataset has loaded them.
    """
    evaluation: Evaluation = settings.build("evaluation")
    evaluation.prepare()
    splits = load_splits(settings, splits)
    if settings.fixed.condition is not None:
        classes = classes_of(splits.train, "train") if classes is None else classes
        check_classes(splits, classes)
        chosen = settings.parts["evaluation"].get("manifold_label")
        if chosen is not None and chosen not in classes:
            raise ConfigError(
                f"evaluation.manifold_label: found {chosen}; the classes are {str(classes)[1:-1]}."
            )
    torch.manual_seed(settings.fixed.seed)
    model = build_model(settings, splits.event_shape, splits.levels, classes).to(device)
    return Experiment(
        settings,
        device,
        splits.to(device),
        model,
        settings.build("objective", train_size=splits.train_size),
        settings.build("corruption"),
        evaluation,
    )


def with_splits(experiment: Experiment, splits: Splits) -> Experiment:
    """The same experiment before other data of the same shape."""
    return replace(experiment, splits=splits.to(experiment.device))
