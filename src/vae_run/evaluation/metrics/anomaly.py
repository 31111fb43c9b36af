"""How well images of classes that were never seen stand out: training on some classes only.

Letters: N images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run.corruptions import NoCorruption
from vae_run.evaluation.base import metric
from vae_run.evaluation.metrics.log_likelihood import each_image
from vae_run.evaluation.principal_components import components, wide
from vae_run.objectives.base import elbo_terms

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

MOST = 1e300
"""The score of what has none: not a number, or infinite."""
USUAL = 32
"""Principal components that the published comparison takes, whatever `latent_dim` is."""


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    if settings.parts["dataset"].get("classes") is None:
        yield (
            "with dataset.classes=null all classes are trained on, and none is left as an anomaly. "
            "Train with, for instance, 'dataset.classes=[0]'."
        )
    if settings.fixed.condition is not None:
        yield "a model with condition=label knows no label for an anomaly. Use condition=null."


@metric(conflicts=_conflicts)
def anomaly(view: View) -> dict[str, float]:
    """`SCORE_auroc` and `SCORE_average_precision` of every score of `scores`, in [0, 1].

    The test images of `dataset.classes` are normal, those of all other classes are anomalies,
    which are the positives. The area under the ROC curve is the probability that an anomaly
    scores higher than a normal image; 0.5 is chance. The average precision of chance is the share
    of anomalies. Only on test: val has no anomalies.
    """
    if view.others is None or view.train is None or view.model.classes is not None:
        return {}
    normal, strange = scores(view), scores(replace(view, split=view.others))
    found: dict[str, float] = {}
    for name, low in normal.items():
        found |= {f"{name}_{key}": v for key, v in separation(low, strange[name]).items()}
    return found


def scores(view: View) -> dict[str, Tensor]:
    """Scores of the images of the view's split, higher for stranger ones, float64 [N] each.

    `mse`, the squared error per pixel of the reconstruction; `elbo`, its negative, with one
    posterior sample, and `log_likelihood`, the negative of the importance-weighted bound, in nats,
    where the family has them; `pca`, the squared error per pixel of as many principal components
    of the training images as the code has dimensions, and `pca_32` of 32. Images are scored as
    they are, whatever corruption the model was trained with.
    """
    assert view.train is not None, "principal components need the training images"
    model, principal = view.model, components(view.train, max(USUAL, view.latent_dim))
    view = replace(view, corruption=NoCorruption())
    bounded = model.posterior.stochastic and model.prior.generative
    found: dict[str, list[Tensor]] = {}
    for batch in view.batches():
        x = batch.target
        images = {"mse": wide(model.reconstruct(x))}
        for name, size in (("pca", view.latent_dim), (f"pca_{USUAL}", USUAL)):
            images[name] = principal.first(size).reconstruct(x)
        of_batch = {n: (y - wide(x)).square().flatten(1).mean(1) for n, y in images.items()}
        if bounded:
            _, _, reconstruction, kl = elbo_terms(model, batch)
            of_batch["elbo"] = wide(reconstruction + kl)
        for name, values in of_batch.items():
            found.setdefault(name, []).append(values.cpu())
    if bounded:
        found["log_likelihood"] = [-each_image(view)[0]]
    return {name: torch.cat(values) for name, values in found.items()}


def separation(normal: Tensor, strange: Tensor) -> dict[str, float]:
    """`auroc` and `average_precision` of scores that should be higher for `strange`, [N] each."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = torch.cat([torch.zeros(len(normal)), torch.ones(len(strange))]).numpy()
    values = torch.cat([normal, strange]).double().nan_to_num(MOST, MOST, -MOST).numpy()
    return {
        "auroc": float(roc_auc_score(truth, values)),
        "average_precision": float(average_precision_score(truth, values)),
    }
