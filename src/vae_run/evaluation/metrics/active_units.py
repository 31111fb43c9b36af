"""How many latent dimensions carry information about the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run.evaluation.base import metric
from vae_run.evaluation.codes import active

if TYPE_CHECKING:
    from vae_run.evaluation.view import View


@metric()
def active_units(view: View) -> dict[str, float]:
    """`active_units`: dimensions with Var_x(E_q[z|x]) > 0.01 (Burda et al. 2015, section 5).

    The expected code E_q[z] is `posterior.expectation(q)`. For a code of several layers, those of
    each are `active_units_layer_1`, of the layer that the decoder reads, and so on upward. Nothing
    for a deterministic code.
    """
    if not view.model.posterior.stochastic or view.size < 2:
        return {}
    model = view.model
    means = torch.cat(
        [model.posterior.expectation(model.given(b.given).encode(b.input)) for b in view.batches()]
    )
    varies = active(means.cpu())
    found = {"active_units": float(varies.sum())}
    if layers := model.posterior.layers:
        for number, layer in enumerate(torch.split(varies, list(layers)), 1):
            found[f"active_units_layer_{number}"] = float(layer.sum())
    return found
