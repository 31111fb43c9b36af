"""Builds a model from a checked configuration, for images of a given shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.config.schema import Settings
from vae_run.data.conditions import Conditions
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.likelihoods import Likelihood
from vae_run.models.networks import Decoder, Encoder, Network
from vae_run.models.networks.active_units import CodeLinear
from vae_run.models.posteriors import Posterior
from vae_run.models.priors import Prior
from vae_run.models.weight_constraints import first_layer, normalise, tie, unit_columns


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
    conditions: Conditions | None = None,
) -> LatentVariableModel:
    """The model for images of `event_shape`, on the CPU, initialised with torch's global generator.

    `levels`, the number of grey levels of the data, is needed by `discrete` likelihoods,
    `classes`, the labels of the training images, by `condition=label`, `conditions` by others, and
    `one_hot`, the (start, stop) of the one-hot features of a table, by `MixedLikelihood`.
    """
    code: dict[str, Any] = {
        "latent_dim": settings.fixed.latent_dim,
        "latent_shape": settings.fixed.code_shape,
        "event_shape": event_shape,
    }
    given, network = _given(settings, classes, conditions), settings.build("network")
    encoder, decoder = _halves(network, _read_shape(settings), event_shape, _width(given))
    project = partial(encoder.projection, latent_shape=code["latent_shape"])
    posterior = settings.build("posterior", **code, features=encoder.features, projection=project)
    prior = _prior(settings, code, encoder, posterior)
    likelihood = settings.build(
        "likelihood",
        event_shape=event_shape,
        levels=levels,
        one_hot=one_hot,
        projection=decoder.projection,
    )
    parts = (encoder, posterior, prior, decoder, likelihood)
    _prepare_weights(network, encoder, posterior, decoder, likelihood, code["latent_shape"])
    # Made last, so that the other parts begin as they would without it.
    critic = settings.classes["objective"].critic(settings.parts["objective"], **code)
    return LatentVariableModel(*parts, **given, join=network.join, critic=critic)


def _prior(
    settings: Settings, code: dict[str, Any], encoder: Encoder, posterior: Posterior
) -> Prior:
    """The prior, which may use the encoder, and which the posterior may use."""
    encode = partial(_encode, encoder, posterior)
    prior: Prior = settings.build(
        "prior", **code, encode=encode, index_space=posterior.index_space()
    )
    posterior.attach(prior)
    return prior


def _prepare_weights(
    network: Network,
    encoder: Encoder,
    posterior: Posterior,
    decoder: Decoder,
    likelihood: Likelihood,
    latent_shape: tuple[int, ...],
) -> None:
    """Draw the last layers' weights, then constrain weights, as `network` and `posterior` say."""
    if network.by_activation:
        posterior.initialise(network.head, math.prod(latent_shape))
        likelihood.initialise(network.head)
    if getattr(network, "tied", False):
        tie(encoder, posterior, decoder, likelihood.projection)
    if network.spectral_norm:
        normalise(decoder, likelihood.projection)
    if posterior.sparse:
        read_active_units(decoder, likelihood.projection)
    if posterior.unit_columns:
        unit_columns(decoder, likelihood.projection, latent_shape)


def read_active_units(decoder: nn.Module, last: nn.Module) -> None:
    """Let a linear layer that reads the code take `ActiveUnits` too."""
    parent, name, first = first_layer(decoder, last)
    if type(first) is nn.Linear:
        setattr(parent, name, CodeLinear.of(first))


def _halves(
    network: Network, latent_shape: tuple[int, ...], event_shape: tuple[int, ...], further: int
) -> tuple[Encoder, Decoder]:
    """Encoder and decoder, with `further` inputs each in a conditional model."""
    input_shape, inputs = event_shape, math.prod(latent_shape) + further
    if further:
        joined = network.join(torch.zeros(1, *event_shape), torch.zeros(1, further))
        input_shape = tuple(joined.shape[1:])
    maps = (latent_shape,) if network.takes_maps else ()
    return network.encoder(input_shape, *maps), network.decoder(inputs, event_shape, *maps)


def _read_shape(settings: Settings) -> tuple[int, ...]:
    """The shape of what the decoder reads of a code: all of it, or its first layer."""
    size = settings.fixed.latent_dim
    read: int = settings.classes["posterior"].read_size(settings.parts["posterior"], size)
    return settings.fixed.code_shape if read == size else (read,)


def _given(
    settings: Settings, classes: Sequence[int] | None, conditions: Conditions | None
) -> dict[str, Any]:
    """What the model is given: its `classes`, or its `conditions`, or nothing."""
    if settings.fixed.vector_conditions:
        assert conditions is not None, "the conditions of the data are needed"
        return {"conditions": conditions}
    if settings.fixed.condition is None:
        return {}
    assert classes is not None, "condition=label needs the classes"
    return {"classes": classes}


def _width(given: dict[str, Any]) -> int:
    """Number of entries of the vector that encoder and decoder are given."""
    if "conditions" in given:
        return len(given["conditions"].columns.features)
    return len(given.get("classes", ()))
