"""A model built from a checked configuration, for images of a shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_run.config.schema import Settings
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.networks import Encoder
from vae_run.models.posteriors import Posterior
from vae_run.models.weight_constraints import normalise, tie


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
