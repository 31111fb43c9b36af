"""How many latent dimensions carry information about the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.evaluation.view import View


@metric()
def active_units(view: View) -> dict[str, float]:
    """`active_units`: dimensions with Var_x(E_q[z|x]) > 0.01 (Burda et al. 2015, section 5).

    The expected code E_q[z] is `posterior.expectation(q)`. Nothing for a deterministic code.
    """
    if not view.model.posterior.stochastic or view.size < 2:
        return {}
    model = view.model
    means = torch.cat(
        [model.posterior.expectation(model.given(b.given).encode(b.input)) for b in view.batches()]
    )
    return {"active_units": float((means.cpu().double().var(0) > 0.01).sum())}
