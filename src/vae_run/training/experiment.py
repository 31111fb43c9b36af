"""An experiment put together: data, model and objective from a checked configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from vae_run.config.schema import Settings
from vae_run.config.signatures import defaults
from vae_run.corruptions import Corruption
from vae_run.data.batches import TrainingBatches
from vae_run.data.conditions import Conditions, as_loaded, conditioned
from vae_run.data.splits import Split, Splits
from vae_run.data.streamed_batches import StreamedBatches
from vae_run.errors import ConfigError
from vae_run.evaluation.codes import evaluating, few
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.quantity import NATS, Declared, Quantity
from vae_run.evaluation.view import View
from vae_run.models.build import build_model
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.transposed_start import start_transposed
from vae_run.objectives import Objective
from vae_run.system.console import NOTE
from vae_run.training.data_support import check_classes, classes_of, load_splits
from vae_run.training.memory_guard import weights_that_fit
from vae_run.training.moments import Moments, moments

log = logging.getLogger("vae_run")


@dataclass
class Experiment:
    """The data, the model and the other parts of a configuration, on one device.

    Attributes:
        splits: the data, with conditions in the terms of the model.
        loaded: the same data with conditions as they were read, for another experiment on them.
        draws: whether pictures are drawn, such as `vae_run.fit` does only if asked.
    """

    settings: Settings
    device: torch.device
    splits: Splits
    loaded: Splits
    model: LatentVariableModel
    objective: Objective
    corruption: Corruption
    evaluation: Evaluation
    draws: bool = True

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
            scaling=self.splits.scaling,
            manifold_label=self.evaluation.manifold_label,
            train=self.splits.train,
            others=self._left_out(split),
        )

    def _left_out(self, split: Split) -> Split | None:
        """The anomalies beside `split`, which val and test have."""
        if split is self.splits.test:
            return self.splits.others
        return self.splits.val_others if split is self.splits.val else None

    def declared(self) -> Declared:
        """What the package's table of quantities lacks to tell the run's metrics and terms."""
        declared = self.evaluation.declared()
        terms = {**self.objective.meanings, **self.model.posterior.meanings}
        rows = tuple(Quantity(name, NATS, text) for name, text in terms.items())
        return replace(declared, quantities=(*declared.quantities, *rows), noun=self.splits.noun)

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

    def precision(self) -> AbstractContextManager[Any]:
        """The context of a forward pass in training: autocast to bfloat16, or nothing."""
        if self.settings.fixed.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def optimizer(self, model: LatentVariableModel) -> torch.optim.Optimizer:
        """A fresh optimiser of those parameters of `model` that are trained.

        Those of a critic, if there is one, are a group of their own, with a rate of their own, and
        with betas of their own where the optimiser has betas.
        """
        trained: list[Any] = [p for p in model.parameters() if p.requires_grad]
        if model.critic is not None:
            own = list(model.critic.parameters())
            critics = {id(p) for p in own}
            others = [p for p in trained if id(p) not in critics]
            of_critic = {"params": own, "relative_rate": self.objective.critic_rate}
            trained = [{"params": others}, of_critic]
        made: torch.optim.Optimizer = self.settings.build("optimizer", params=trained)
        if model.critic is not None and (betas := self.objective.critic_betas) is not None:
            if "betas" in made.defaults:
                made.param_groups[-1]["betas"] = tuple(betas)
            elif betas != defaults(type(self.objective)).get("critic_betas"):
                name = type(made).__name__
                log.log(NOTE, "objective.critic_betas: not used, for %s has no betas.", name)
        return made

    @cached_property
    def extent(self) -> tuple[float, float]:
        """Least and greatest value of the training data."""
        return self.splits.train.extent

    @cached_property
    def moments(self) -> Moments:
        """Means and standard deviations of the training data."""
        return moments(self.splits.train)

    def start_at_data(self) -> None:
        """Let the likelihood begin at the data's spread, and at their mean where that helps.

        A posterior that begins at codes is given those of some of the training images.
        """
        found, network = self.moments, self.settings.build("network")
        self.model.likelihood.start_scale(found.deviation)
        self.model.prior.start_at(found.mean, found.spread, self.extent)
        posterior = self.model.posterior
        drawn = network.by_activation and (network.small_heads or not posterior.stochastic)
        if drawn or posterior.saturates:
            self.model.likelihood.start_at(found.mean.float(), found.deviation)
        if posterior.sparse:
            start_transposed(self.model, found.mean.float(), found.deviation)
        if count := posterior.start_size:
            view = few(self.view(self.splits.train), count)
            with evaluating(self.model):
                posteriors = [
                    self.model.given(batch.given).encode(batch.input) for batch in view.batches()
                ]
            posterior.start_at(posteriors)

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of the data, so that its model can be built and used again."""
        classes, scaling = self.model.classes, self.splits.scaling
        conditions = self.model.conditions
        return {
            "event_shape": list(self.splits.event_shape),
            "levels": self.splits.levels,
            "white": self.splits.white,
            "extent": list(self.extent),
            "classes": None if classes is None else classes.tolist(),
            **({} if conditions is None else {"conditions": conditions.state()}),
            "class_names": list(self.splits.class_names or ()),
            "columns": list(self.splits.columns or ()),
            "table": None if self.splits.table is None else self.splits.table.state(),
            "scaling": None if scaling is None else scaling.state(),
        }


def _known_conditions(
    settings: Settings,
    splits: Splits,
    classes: Sequence[int] | None,
    conditions: Conditions | None,
) -> tuple[Splits, Sequence[int] | None, Conditions | None]:
    """The data in the terms of what the model is given, and its classes or conditions.

    Raises:
        DataError: the data lack what it is given, or have classes that it does not know.
        ConfigError: `evaluation.manifold_label` is not among its classes.
    """
    if settings.fixed.vector_conditions:
        conditions = Conditions.of_training(splits) if conditions is None else conditions
        splits = conditioned(splits, conditions)
    elif settings.fixed.condition is not None:
        classes = classes_of(splits.train, "train") if classes is None else classes
        check_classes(splits, classes)
        chosen = settings.parts["evaluation"].get("manifold_label")
        if chosen is not None and chosen not in classes:
            raise ConfigError(
                f"evaluation.manifold_label: found {chosen}; the classes are {str(classes)[1:-1]}."
            )
    return splits, classes, conditions


def assemble(
    settings: Settings,
    device: torch.device,
    classes: Sequence[int] | None = None,
    splits: Splits | None = None,
    conditions: Conditions | None = None,
    fresh: bool = True,
) -> Experiment:
    """Load the data and build all parts; the seed is set before the model is built.

    Args:
        settings, device: the checked configuration, and where data and model are put.
        classes, conditions: those of a trained model; None for those of the train split.
        splits: the data as they were loaded, if they are.
        fresh: whether the model may be trained as it is; False where weights are loaded next.
    """
    evaluation: Evaluation = settings.build("evaluation")
    evaluation.prepare(settings.trust)
    loaded = load_splits(settings, splits)
    splits, classes, conditions = _known_conditions(settings, loaded, classes, conditions)
    torch.manual_seed(settings.fixed.seed)
    blocks = splits.table.blocks if splits.table else ()
    given = (splits.event_shape, splits.levels, classes, blocks, conditions)
    with weights_that_fit(device):
        model = build_model(settings, *given)
    splits = splits.to(device)
    experiment = Experiment(
        settings,
        device,
        splits,
        as_loaded(splits, loaded),
        model.to(device),
        settings.build("objective", train_size=splits.train_size),
        settings.build("corruption"),
        evaluation,
    )
    experiment.objective.prepare(splits.event_shape, device)
    if fresh:
        experiment.start_at_data()
    return experiment
