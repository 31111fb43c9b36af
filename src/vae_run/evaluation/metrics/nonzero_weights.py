"""How many weights a model has that are not zero: what pruning leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.evaluation.view import View
    from vae_run.models.latent_variable_model import LatentVariableModel


def weights(model: LatentVariableModel) -> dict[str, nn.Parameter]:
    """The weights of every linear and convolutional layer, by name; biases are not among them."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    parts = (model.encoder, model.posterior, model.decoder, model.likelihood)
    layers = {id(m) for part in parts for m in part.modules() if isinstance(m, kinds)}
    return {
        f"{name}.weight": layer.weight
        for name, layer in model.named_modules()
        if id(layer) in layers and isinstance(layer.weight, nn.Parameter)
    }


@metric()
def nonzero_weights(view: View) -> dict[str, float]:
    """`nonzero_weights`: weights of linear and convolutional layers, biases left out, not 0."""
    counts = [torch.count_nonzero(weight) for weight in weights(view.model).values()]
    return {"nonzero_weights": float(torch.stack(counts).sum())}
