"""Builds a model from a checked configuration, for images of a given shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_run.config.schema import Settings
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.networks import Decoder, Encoder, Network
from vae_run.models.posteriors import Posterior
from vae_run.models.weight_constraints import normalise, tie


def _encode(encoder: Encoder, posterior: Posterior, x: Tensor) -> Distribution:
    """q(z|x). `copy.deepcopy` of a model copies a partial of this function, but not a closure."""
    q: Distribution = posterior(encoder(x))
    return q


def build_model(
    settings: Settings,
    event_shape: tuple[int, ...],
    levels: int | None = None,
    classes: Sequence[int] | None = None,
    one_hot: Sequence[tuple[int, int]] = (),
) -> LatentVariableModel:
    """The model for images of `event_shape`, on the CPU, initialised with torch's global generator.

    `levels`, the number of grey levels of the data, is needed by `discrete` likelihoods,
    `classes`, the labels of the training images, by `condition=label`, and `one_hot`, the (start,
    stop) of the one-hot features of a table's columns, by `MixedLikelihood`.
    """
    latent_dim, classes = settings.fixed.latent_dim, _conditioned(settings, classes)
    network = settings.build("network")
    encoder, decoder = _halves(network, latent_dim, event_shape, len(classes or ()))
    posterior = settings.build("posterior", features=encoder.features, latent_dim=latent_dim)
    prior = settings.build(
        "prior",
        latent_dim=latent_dim,
        event_shape=event_shape,
        encode=partial(_encode, encoder, posterior),
    )
    likelihood = settings.build(
        "likelihood",
        event_shape=event_shape,
        levels=levels,
        one_hot=one_hot,
        projection=decoder.projection,
    )
    if network.by_activation:
        posterior.initialise(network.head)
        likelihood.initialise(network.head)
    if getattr(network, "tied", False):
        tie(encoder, posterior, decoder, likelihood.projection)
    if network.spectral_norm:
        normalise(decoder, likelihood.projection)
    parts = (encoder, posterior, prior, decoder, likelihood)
    return LatentVariableModel(*parts, classes=classes, join=network.join)


def _halves(
    network: Network, latent_dim: int, event_shape: tuple[int, ...], labels: int
) -> tuple[Encoder, Decoder]:
    """Encoder and decoder, with `labels` further inputs each in a conditional model."""
    input_shape = event_shape
    if labels:
        joined = network.join(torch.zeros(1, *event_shape), torch.zeros(1, labels))
        input_shape = tuple(joined.shape[1:])
    return network.encoder(input_shape), network.decoder(latent_dim + labels, event_shape)


def _conditioned(settings: Settings, classes: Sequence[int] | None) -> Sequence[int] | None:
    """`classes` if the model is conditional, else None."""
    if settings.fixed.condition is None:
        return None
    assert classes is not None, "condition=label needs the classes"
    return classes
