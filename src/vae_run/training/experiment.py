"""An experiment put together: data, model and objective from a checked configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from vae_run.config.schema import Settings
from vae_run.corruptions import Corruption
from vae_run.data.batches import TrainingBatches
from vae_run.data.splits import Split, Splits
from vae_run.data.streamed_batches import StreamedBatches
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective
from vae_run.training.moments import moments

log = logging.getLogger("vae_run")


@dataclass
class Experiment:
    """The data, the model and the other parts of a configuration, on one device."""

    settings: Settings
    device: torch.device
    splits: Splits
    model: LatentVariableModel
    objective: Objective
    corruption: Corruption
    evaluation: Evaluation

    def view(self, split: Split, epoch: float = 0.0) -> View:
        """The model and `split`, as metrics see them at `epoch` of the objective's warm-up."""
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
            table=self.splits.table,
            manifold_label=self.evaluation.manifold_label,
            train=self.splits.train,
            others=self.splits.others if split is self.splits.test else None,
        )

    def training_batches(
        self, batch_size: int, kind: type[TrainingBatches] = TrainingBatches
    ) -> TrainingBatches:
        """The endless sequence of training batches, from its beginning.

        `kind` is what batches of images in memory are made by; a stream has batches of its own.
        """
        fixed, train, stream = self.settings.fixed, self.splits.train, self.splits.stream
        given: dict[str, Any] = {
            "batch_size": batch_size,
            "noise": (self.objective.samples, fixed.latent_dim),
            "seed": fixed.seed,
        }
        if stream is None:
            return kind(train, self.corruption, **given)
        return StreamedBatches(stream, train, self.corruption, classes=self.model.classes, **given)

    def optimizer(self, model: LatentVariableModel) -> torch.optim.Optimizer:
        """A fresh optimiser of those parameters of `model` that are trained."""
        trained = [p for p in model.parameters() if p.requires_grad]
        made: torch.optim.Optimizer = self.settings.build("optimizer", params=trained)
        return made

    @cached_property
    def extent(self) -> tuple[float, float]:
        """Least and greatest value of the training data."""
        return self.splits.train.extent

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of the data, so that its model can be built and used again."""
        classes = self.model.classes
        return {
            "event_shape": list(self.splits.event_shape),
            "levels": self.splits.levels,
            "extent": list(self.extent),
            "classes": None if classes is None else classes.tolist(),
            "class_names": list(self.splits.class_names or ()),
            "columns": list(self.splits.columns or ()),
            "table": None if self.splits.table is None else self.splits.table.state(),
        }


def classes_of(split: Split, name: str) -> list[int]:
    """The distinct labels of `split`, in rising order.

    Raises:
        DataError: its images have no labels.
    """
    if split.labels is None:
        raise DataError(
            f"condition=label: the {name} images have no labels. Use a dataset that has them, or "
            "condition=null."
        )
    return sorted(set(split.labels.tolist()))


def check_classes(splits: Splits, classes: Sequence[int]) -> None:
    """Refuse images of val or test of another class than `classes`, those that a model is given.

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
    """The data, checked against the likelihood's support.

    Args:
        settings: name the dataset and the likelihood.
        loaded: the data, if they are loaded already.

    Raises:
        DataError: the data are missing, unreadable, or outside of what the likelihood models.
    """
    splits: Splits = settings.build("dataset").load() if loaded is None else loaded
    likelihood: Any = settings.classes["likelihood"]
    if likelihood.discrete and splits.levels is None:
        raise DataError(
            f"dataset: {settings.classes['dataset'].__name__} holds floats, but likelihood "
            f"{likelihood.__name__} gives probabilities to grey levels. Store the images as uint8, "
            "set dataset.binarize, or use a density such as likelihood=gaussian."
        )
    parts = [split for split in (splits.train, splits.val, splits.test) if len(split)]
    low = min([0.0, *(split.extent[0] for split in parts)])
    high = max([1.0, *(split.extent[1] for split in parts)])
    if likelihood.unit_interval and (low < 0 or high > 1):
        raise DataError(
            f"dataset: values of {settings.build('dataset')} lie in [{low:.4g}, {high:.4g}], but "
            f"likelihood {likelihood.__name__} models pixels in [0, 1]. Rescale the data, or use "
            "likelihood=gaussian."
        )
    if likelihood.binary and any(split.has_grey for split in parts):
        _accept_grey(settings)
    return splits


def _accept_grey(settings: Settings) -> None:
    """Warn of grey pixels under a Bernoulli likelihood, which gives them no probability.

    Raises:
        DataError: a metric needs that probability.
    """
    if "bits_per_dim" in settings.parts["evaluation"]["metrics"]:
        raise DataError(
            "evaluation.metrics: bits_per_dim: the pixels are grey, and a Bernoulli likelihood "
            "gives grey pixels no probability. Use dataset.binarize=dynamic, or "
            "likelihood=categorical."
        )
    log.warning(
        "Grey pixels under a Bernoulli likelihood: reconstruction, ELBO and loss are "
        "cross-entropies, not likelihoods (dataset.binarize=dynamic makes them so)."
    )


def assemble(
    settings: Settings,
    device: torch.device,
    classes: Sequence[int] | None = None,
    splits: Splits | None = None,
) -> Experiment:
    """Load the data and build all parts; the seed is set before the model is built.

    Args:
        settings, device: the checked configuration, and where data and model are put.
        classes: those of a trained conditional model; None for those of the train split.
        splits: the data, if they are loaded already.
    """
    evaluation: Evaluation = settings.build("evaluation")
    evaluation.prepare(settings.trust)
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
    blocks = splits.table.blocks if splits.table else ()
    model = build_model(settings, splits.event_shape, splits.levels, classes, blocks)
    model.likelihood.start_scale(moments(splits.train).deviation)
    return Experiment(
        settings,
        device,
        splits.to(device),
        model.to(device),
        settings.build("objective", train_size=splits.train_size),
        settings.build("corruption"),
        evaluation,
    )
