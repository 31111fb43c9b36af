"""Pruning: training during which the smallest weights are set to zero."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import prune

from vae_run.config.schema import Settings
from vae_run.errors import ConfigError
from vae_run.evaluation.metrics.nonzero_weights import connections, layers, weights
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import Experiment
from vae_run.training.gradient import Gradient
from vae_run.training.loop import Loop
from vae_run.training.settings import Count
from vae_run.training.step import StepRecord

log = logging.getLogger("vae_run")


def smallest(tensors: Sequence[Tensor], count: int) -> list[Tensor]:
    """Masks, as booleans, of the `count` entries of least magnitude of all `tensors` together."""
    holder = nn.Module()  # torch's pruning rewrites the module it is given, so not the model
    for i, tensor in enumerate(tensors):
        holder.register_parameter(f"w{i}", nn.Parameter(tensor.detach().clone()))
    places = [(holder, f"w{i}") for i in range(len(tensors))]
    prune.global_unstructured(places, prune.L1Unstructured, amount=count)
    return [holder.get_buffer(f"w{i}_mask") == 0 for i in range(len(tensors))]


def share(done: float, final: float) -> float:
    """The share of weights that are zero when the fraction `done` of the pruning is over.

    s = s_final (1 - (1 - done)^3): fast at first, when many weights are idle, slow at the end
    (Zhu & Gupta 2017, eq. 1, with an initial share of 0).
    """
    return final * (1 - (1 - done) ** 3)


@dataclass(kw_only=True)
class Pruning(Gradient):
    """Gradient descent while the weights of least magnitude are set to zero, and stay zero.

    The share of zeros rises from 0 after `prune_from` epochs to `sparsity` after `prune_until`,
    with new masks every `prune_every` steps; what is left is then trained to the end (Zhu & Gupta
    2017, "To prune, or not to prune"). Layers compete: the smallest weights of all of them go,
    biases stay, and what the masks of a flow exclude does not count. The best checkpoint is the
    best of those with all of `sparsity`.
    """

    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.8
    prune_from: Annotated[float, Field(ge=0)] = 0.0
    prune_until: Annotated[float, Field(gt=0)] = 50.0
    prune_every: Count = 100

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        begin, end = options["prune_from"], options["prune_until"]
        epochs = options["epochs"] if options["steps"] is None else None
        if begin > end:
            yield (
                f"trainer.prune_until: found {end:g}, before trainer.prune_from={begin:g}. Pruning "
                "ends after it begins: raise the one or lower the other."
            )
        if epochs is not None and end > epochs:
            yield f"trainer.prune_until: found {end:g}, {_beyond(f'{epochs} epochs')}"
        if options["max_time"] is not None:
            yield (
                "trainer.max_time: could end the training before all of trainer.sparsity is "
                "pruned. Leave it null, and set trainer.epochs."
            )
        if settings.build("network").spectral_norm:
            yield (
                "network.spectral_norm: trainer=pruning sets the weights themselves to zero, not "
                "what normalises them. Use network.spectral_norm=false."
            )
        if settings.parts["posterior"].get("unit_norm"):
            yield (
                "posterior.unit_norm: trainer=pruning sets the weights themselves to zero, not "
                "columns of norm 1. Use posterior.unit_norm=false."
            )

    def plan(self, train_size: int) -> str:
        return (
            f"{super().plan(train_size)}; {self.sparsity:.4g} of the weights pruned between epochs "
            f"{self.prune_from:g} and {self.prune_until:g}"
        )

    def loop(self, experiment: Experiment, run: RunDirectory, tracker: Tracker) -> Loop:
        return PruningLoop(self, experiment, run, tracker)


def _beyond(length: str) -> str:
    return (
        f"longer than the training of {length}, so trainer.sparsity would never be reached. Lower "
        "it, or train for longer."
    )


@dataclass
class PruningLoop(Loop):
    """A loop that sets weights to zero between steps."""

    trainer: Pruning

    def __post_init__(self) -> None:
        super().__post_init__()
        model = self.experiment.model
        named, found = layers(model), weights(model)
        self.weights = list(found.values())
        used = [connections(named[name.removesuffix(".weight")]) for name in found]
        self.used = [
            torch.ones_like(weight, dtype=torch.bool) if mask is None else mask
            for weight, mask in zip(self.weights, used, strict=True)
        ]
        self.size = sum(int(mask.sum()) for mask in self.used)
        self.begin = round(self.trainer.prune_from * self.steps_per_epoch)
        self.end = max(1, round(self.trainer.prune_until * self.steps_per_epoch))
        if self.end > self.total:
            raise ConfigError(
                f"trainer.prune_until: found {self.trainer.prune_until:g} epochs, which are "
                f"{self.end} steps, {_beyond(f'{self.total} steps')}"
            )
        self._zero: list[Tensor] = []
        self._zeros = 0

    def count(self, step: int) -> int:
        """Weights that are zero after `step` steps."""
        if step >= self.end:
            return round(self.trainer.sparsity * self.size)
        done = max(0, step - self.begin) / max(1, self.end - self.begin)
        return round(share(done, self.trainer.sparsity) * self.size)

    def take(self, record: StepRecord) -> None:
        """Prune if it is due, keep pruned weights at zero, then do what any loop does."""
        since = record.step - self.begin
        if record.step == self.end or (
            0 <= since < self.end - self.begin and since % self.trainer.prune_every == 0
        ):
            self._zeros = self.count(record.step)
            pairs = zip(self.weights, self.used, strict=True)
            ranked = [weight.detach().masked_fill(~mask, torch.inf) for weight, mask in pairs]
            self._zero = smallest(ranked, self._zeros)
        if self._zero:
            with torch.no_grad():
                averages = self.average.of(self.weights)
                zeros = self._zero * 2 if averages else self._zero
                for tensor, zero in zip([*self.weights, *averages], zeros, strict=True):
                    tensor.masked_fill_(zero, 0.0)
        super().take(record)
        if record.step == self.end:
            left = self.size - self._zeros
            log.info("pruned: %s of %s weights are left", f"{left:,}", f"{self.size:,}")

    def log(self, record: StepRecord) -> None:
        super().log(record)
        self.tracker.scalars("train", {"sparsity": self._zeros / self.size}, self.progress.step)

    def may_be_best(self) -> bool:
        """Only a model with all of `sparsity` may become the best."""
        return self.progress.step >= self.end

    def own_state(self) -> dict[str, Any]:
        return {"pruned": list(self._zero)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        super().restore(saved)
        self._zero = [zero.to(self.experiment.device) for zero in saved["pruned"]]
        pairs = zip(self._zero, self.used, strict=False)  # there are no masks before pruning begins
        self._zeros = sum(int((zero & mask).sum()) for zero, mask in pairs)
