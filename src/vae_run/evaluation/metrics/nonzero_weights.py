"""How many weights a model has that are not zero: what pruning leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.evaluation.view import View
    from vae_run.models.latent_variable_model import LatentVariableModel


Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d


def layers(model: LatentVariableModel) -> dict[str, Layer]:
    """Every linear and convolutional layer, by name; a tied one is the encoder's and counts once.

    Those of a learned prior are not among them.
    """
    parts = (model.encoder, model.posterior, model.decoder, model.likelihood)
    found = {id(m) for part in parts for m in part.modules() if isinstance(m, Layer)}
    return {
        name: layer
        for name, layer in model.named_modules()
        if id(layer) in found and isinstance(layer, Layer)
    }


def weights(model: LatentVariableModel) -> dict[str, nn.Parameter]:
    """The weights of these layers that are trained themselves, by name; biases are left out.

    A weight that a parametrisation computes (`network.spectral_norm`, `posterior.unit_norm`) is
    none of them.
    """
    return {
        f"{name}.weight": layer.weight
        for name, layer in layers(model).items()
        if isinstance(layer.weight, nn.Parameter)
    }


def connections(layer: nn.Module) -> Tensor | None:
    """Where the weight of a masked layer of a flow is used, bool, of its shape; None: everywhere.

    Its other entries are multiplied by 0 in every pass, and stay what they were initialised to.
    """
    mask = dict(layer.named_buffers(recurse=False)).get("mask")
    return None if mask is None else mask.bool()


@metric()
def nonzero_weights(view: View) -> dict[str, float]:
    """`nonzero_weights`: weights of linear and convolutional layers, biases left out, not 0.

    They are counted as they are used: after a parametrisation, and without what a mask excludes.
    """
    counts = []
    for layer in layers(view.model).values():
        weight, used = layer.weight, connections(layer)
        counts.append(torch.count_nonzero(weight if used is None else weight * used))
    return {"nonzero_weights": float(torch.stack(counts).sum())}
