"""The terms of the training objective over a split, and the ELBO beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_run.errors import ConfigError
from vae_run.evaluation.base import metric
from vae_run.objectives.base import too_small

if TYPE_CHECKING:
    from vae_run.evaluation.view import View


@metric()
def objective(view: View) -> dict[str, float]:
    """`loss`, `reconstruction` and, where there is a prior, `kl` and `elbo`.

    Means over all images, in nats per image. `elbo` = -(reconstruction + kl) whatever beta was.

    Raises:
        ConfigError: the batches are smaller than the objective can be estimated from.
    """
    if view.batch_size < view.objective.least_batch:
        raise ConfigError(too_small("evaluation.batch_size", view.batch_size, type(view.objective)))
    totals: dict[str, float] = {}
    for batch in view.batches():
        model = view.model.given(batch.given)
        for name, term in view.objective(model, batch, view.epoch).items():
            totals[name] = totals.get(name, 0.0) + float(term.cpu().double().sum())
    means = {name: total / view.size for name, total in totals.items()}
    if "kl" in means:
        means["elbo"] = -(means["reconstruction"] + means["kl"])
    return means
