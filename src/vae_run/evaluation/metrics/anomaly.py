"""How well images of classes that were never seen stand out: training on some classes only.

Letters: N images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vae_run.corruptions import NoCorruption
from vae_run.evaluation.base import metric
from vae_run.evaluation.metrics.log_likelihood import each_image
from vae_run.evaluation.principal_components import components, wide
from vae_run.objectives.base import elbo_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vae_run.config.schema import Settings
    from vae_run.data.batches import Batch
    from vae_run.data.splits import Split
    from vae_run.evaluation.view import View
    from vae_run.models.latent_variable_model import LatentVariableModel

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
    if settings.fixed.conditions == ("label",):
        yield "a model with condition=label knows no label for an anomaly. Use condition=null."
    elif settings.fixed.conditions:
        yield "the images of an anomaly have no conditions. Use condition=null."


@metric(conflicts=_conflicts, of_codes=True)
def anomaly(view: View) -> dict[str, float]:
    """`SCORE_auroc` and `SCORE_average_precision` of every score of `scores`, in [0, 1].

    The images of `dataset.classes` are normal, those of all other classes are anomalies,
    which are the positives. The area under the ROC curve is the probability that an anomaly
    scores higher than a normal image; 0.5 is chance. The average precision of chance is the share
    of anomalies. On val the anomalies are training images of those classes, which are trained on
    in no run, so that a choice among runs does not see the test set.
    """
    if view.others is None or view.train is None or view.model.conditional:
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
    train, view = view.train, replace(view, corruption=NoCorruption())
    assert train is not None, "principal components need the training images"
    of_model = list(model_scores(view))
    found = {name: torch.cat([terms[name] for terms in of_model]) for name in of_model[0]}
    for name in ("reconstruction", "kl"):
        found.pop(name, None)
    found |= _by_components(view, train)
    if bounded(view):
        found["log_likelihood"] = -each_image(view)[0]
    return found


def bounded(view: View) -> bool:
    """Whether the family has an ELBO."""
    return has_bound(view.model)


def has_bound(model: LatentVariableModel) -> bool:
    """Whether the family of `model` has an ELBO."""
    return model.posterior.stochastic and model.prior.generative


def model_scores(view: View) -> Iterator[dict[str, Tensor]]:
    """`scores_of_batch` of each batch."""
    for batch in replace(view, corruption=NoCorruption()).batches():
        yield scores_of_batch(view.model, batch)


def scores_of_batch(model: LatentVariableModel, batch: Batch) -> dict[str, Tensor]:
    """The scores `mse` and, where the family has it, `elbo`; float64 [B] each, on the CPU.

    Beside `elbo` stand its two parts, `reconstruction` = -log p(x|z) and `kl`, in nats.
    """
    x, model = batch.target, model.given(batch.given)
    error = wide(model.reconstruct(x)) - wide(x)
    terms = {"mse": error.square().flatten(1).mean(1)}
    if has_bound(model):
        _, _, reconstruction, kl = elbo_terms(model, batch)
        terms["elbo"] = wide(reconstruction + kl)
        terms |= {"reconstruction": wide(reconstruction), "kl": wide(kl)}
    return {name: values.cpu() for name, values in terms.items()}


def _by_components(view: View, train: Split) -> dict[str, Tensor]:
    """The scores `pca` and `pca_32` of `scores`."""
    principal = components(train, max(USUAL, view.latent_dim))
    found: dict[str, list[Tensor]] = {}
    for batch in view.batches():
        x = batch.target
        for name, size in (("pca", view.latent_dim), (f"pca_{USUAL}", USUAL)):
            error = principal.first(size).reconstruct(x) - wide(x)
            found.setdefault(name, []).append(error.square().flatten(1).mean(1).cpu())
    return {name: torch.cat(values) for name, values in found.items()}


def separation(normal: Tensor, strange: Tensor) -> dict[str, float]:
    """`auroc` and `average_precision` of scores that should be higher for `strange`, [N] each.

    A score that is not a number counts as the highest. Nothing where no score of one of the two is
    a number: their area would be .5 or 1 by that rule alone.
    """
    if any(len(scored) and bool(scored.isnan().all()) for scored in (normal, strange)):
        return {}
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, values = _labelled(normal, strange)
    return {
        "auroc": float(roc_auc_score(truth, values)),
        "average_precision": float(average_precision_score(truth, values)),
    }


def roc(normal: Tensor, strange: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """False and true positive rates [T] of all thresholds of scores [N] each, both rising."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(*_labelled(normal, strange))
    return false, true


def _labelled(normal: Tensor, strange: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """1 for each strange image and 0 for each normal one, and their scores, all finite."""
    truth = torch.cat([torch.zeros(len(normal)), torch.ones(len(strange))]).numpy()
    values = torch.cat([normal, strange]).double().nan_to_num(MOST, MOST, -MOST).numpy()
    return truth, values
