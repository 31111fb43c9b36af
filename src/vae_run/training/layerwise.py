"""Layer-wise pretraining: a deep autoencoder is trained layer by layer, then as a whole.

Letters: B batch, F features of a layer, E event shape (C, H, W) or (F,).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.config.schema import Settings
from vae_run.corruptions import GaussianNoise, Masking
from vae_run.data.batches import Batch, TrainingBatches
from vae_run.errors import ConfigError
from vae_run.models.distributions.degenerate import Delta
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.likelihoods import GaussianLikelihood, Likelihood
from vae_run.models.networks import MLP, Decoder, Encoder
from vae_run.models.posteriors import DeltaPosterior, Posterior
from vae_run.models.priors import FittedGaussian
from vae_run.objectives import Reconstruction
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import Experiment
from vae_run.training.gradient import Gradient
from vae_run.training.loop import Loop
from vae_run.training.progress import Progress
from vae_run.training.settings import Count
from vae_run.training.step import StepRecord

log = logging.getLogger("vae_run")


@dataclass(kw_only=True)
class Layerwise(Gradient):
    """Each layer is first trained alone for `pretrain_epochs`, then all layers together.

    Layer k, from the image inwards, the code's own among them, is trained with its mirror in the
    decoder as a denoising autoencoder of one hidden layer, on the codes h that the layers below
    give of clean images (Vincent et al. 2010, section 3.5; Hinton & Salakhutdinov 2006 with
    Boltzmann machines):

        loss_1 = -log p(x | d_1(e_1(c(x)))),   loss_k = |h - d_k(e_k(c(h)))|^2 + F/2 log(pi).

    c is the run's corruption. Gaussian noise and masking mean the same on codes as on pixels and
    are applied to h, with the same level; any other corruption is applied to the image, and c(h) is
    the code of the corrupted image. Pretraining counts as steps of the training: the remaining ones
    of `epochs` or `steps` train the whole network.
    """

    shares_batches: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    pretrain_epochs: Count = 5

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        if settings.classes["network"] is not MLP:
            yield (
                f"network: found {settings.classes['network'].__name__}, but trainer=layerwise "
                "stacks fully connected layers. Use network=mlp, or trainer=gradient."
            )
            return
        network = settings.build("network")
        if not network.widths:
            yield (
                "network.widths: found [], but trainer=layerwise needs hidden layers to stack. Use "
                "'network.widths=[500,250]', or trainer=gradient."
            )
        if network.upward != network.widths[::-1]:
            yield (
                f"network.decoder_widths: found {network.decoder_widths}, but trainer=layerwise "
                f"needs the mirror of network.widths, {network.widths[::-1]}. Leave it null."
            )
        if not issubclass(settings.classes["posterior"], DeltaPosterior):
            yield "posterior: trainer=layerwise stacks deterministic codes. Use posterior=delta."
        if options["max_time"] is not None:
            yield (
                f"trainer.max_time: found {options['max_time']:g}, but trainer=layerwise needs all "
                "steps, or the training could end while a layer is still trained by itself. Leave "
                "it null, and set trainer.epochs."
            )
        if settings.fixed.condition is not None:
            yield "condition: trainer=layerwise trains layers that see no label. Leave it null."
        epochs = options["epochs"] if options["steps"] is None else None
        each, layers = options["pretrain_epochs"], len(network.widths) + 1
        if epochs is not None and each * layers >= epochs:
            yield _too_long(each, layers, f"{epochs} epochs")

    def plan(self, train_size: int) -> str:
        each = self.pretrain_epochs * -(-train_size // self.batch_size)
        return f"{super().plan(train_size)}; {each:,} of them for each layer by itself"

    def loop(self, experiment: Experiment, run: RunDirectory, tracker: Tracker) -> Loop:
        return StackLoop(self, experiment, run, tracker)


def _too_long(each: int, layers: int, length: str) -> str:
    return (
        f"trainer.pretrain_epochs: found {each} for each of {layers} layers, which leaves nothing "
        f"of the training of {length} for the whole network. Lower it, or train for longer."
    )


class Passed(Posterior):
    """A deterministic code that is the features themselves."""

    stochastic = False

    def forward(self, features: Tensor) -> Delta:
        return Delta(features.float(), validate_args=False)

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        return q.mean


def stacked(model: LatentVariableModel) -> list[LatentVariableModel]:
    """The layers of a deep `model`, the image's first, each a shallow model of the same weights."""
    assert isinstance(model.posterior, DeltaPosterior)
    flatten, *inward = model.encoder
    outward = list(model.decoder)
    ups = [inward[i : i + 2] for i in range(0, len(inward), 2)]  # a linear map, an activation
    ups.append([model.posterior.projection])
    downs = [outward[i : i + 2] for i in range(0, len(outward), 2)][::-1]
    first = _shallow([flatten, *ups[0]], [], model.likelihood)
    return [first, *(_shallow(up, down) for up, down in zip(ups[1:], downs, strict=True))]


def _shallow(
    up: list[nn.Module], down: list[nn.Module], likelihood: Likelihood | None = None
) -> LatentVariableModel:
    """A model that encodes by `up` and decodes by `down`; codes have a Gaussian likelihood."""
    size = [layer for layer in up if isinstance(layer, nn.Linear)][-1]
    if likelihood is None:
        likelihood = GaussianLikelihood(
            event_shape=(size.in_features,),
            projection=lambda k: nn.Unflatten(1, (k, size.in_features)),
            sigma=math.sqrt(0.5),
        )
    return LatentVariableModel(
        Encoder(*up, features=size.out_features),
        Passed(),
        FittedGaussian(latent_dim=size.out_features),
        Decoder(*down),
        likelihood,
    )


class LayerBatches(TrainingBatches):
    """Training batches of the codes that the layers `below` give; of images without such layers.

    The corruption of codes draws from the generator that the images' corruption draws from.
    """

    below: nn.Module | None = None

    @torch.no_grad()
    def next(self) -> Batch:
        batch = super().next()
        if self.below is None:
            return batch
        codes = self.below(batch.target)
        if isinstance(self.corruption, (GaussianNoise, Masking)):
            noise = self.corruption.noise(codes.shape, self._noise_generator)
            return replace(batch, input=self.corruption.apply(codes, noise), target=codes)
        return replace(batch, input=self.below(batch.input), target=codes)


@dataclass
class StackLoop(Loop):
    """A loop that trains the layers one after the other, and then the whole network.

    Metrics on val are always those of the whole network; `train/layer_k` is the loss of layer k.
    """

    batches_type: ClassVar[type[TrainingBatches]] = LayerBatches
    trainer: Layerwise

    def __post_init__(self) -> None:
        super().__post_init__()
        self.layers = stacked(self.experiment.model)
        self.each = self.trainer.pretrain_epochs * self.steps_per_epoch
        if self.each * len(self.layers) >= self.total:
            each, length = self.trainer.pretrain_epochs, f"{self.total} steps"
            raise ConfigError(_too_long(each, len(self.layers), length))
        self.begin()

    @property
    def layer(self) -> int | None:
        """The layer that the next step trains, from 0; None for the whole network."""
        layer = self.progress.step // self.each
        return layer if layer < len(self.layers) else None

    def begin(self) -> None:
        """Take a fresh optimiser, and the batches, for what the next step trains."""
        layer = self.layer
        model = self.experiment.model if layer is None else self.layers[layer]
        below = [lower.encoder for lower in self.layers[:layer]]
        assert isinstance(self.batches, LayerBatches)
        self.batches.below = nn.Sequential(*below) if layer else None
        self.optimizer = self.experiment.optimizer(model)

    def records(self) -> Iterator[StepRecord]:
        while (layer := self.layer) is not None:
            model = self.layers[layer]
            log.info("layer %d of %d: %s", layer + 1, len(self.layers), _sizes(model))
            for record in self.fit(model, Reconstruction()):
                own = {f"layer_{layer + 1}": record.terms["loss"]}
                yield replace(record, terms=own, sums=None)  # those are of all terms
                if self.layer != layer:
                    break
        log.info("all layers together")
        yield from super().records()

    def take(self, record: StepRecord) -> None:
        before = self.layer
        super().take(record)
        if self.layer != before:
            self.begin()

    def evaluate(self, *, final: bool) -> None:
        super().evaluate(final=final)
        if self.layer is not None:
            self.progress.stale = 0  # `patience` is for the whole network

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.progress = Progress(**saved["progress"])
        self.begin()
        super().restore(saved)


def _sizes(model: LatentVariableModel) -> str:
    (layer,) = (m for m in model.encoder if isinstance(m, nn.Linear))
    return f"{layer.in_features} -> {layer.out_features}"
