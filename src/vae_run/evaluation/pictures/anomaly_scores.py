"""Anomaly scores of normal images and of classes never seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import MANY
from vae_run.evaluation.metrics.anomaly import roc, scores, separation

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

SCORES = {
    "mse": "squared error per pixel",
    "elbo": "negative ELBO, nats",
    "log_likelihood": "negative log-likelihood, nats",
    "pca": "PCA: squared error per pixel",
}
"""Anomaly scores that are drawn, by their names in `metrics.anomaly.scores`."""


@picture(
    "Scores of normal and anomalous images; the less they overlap, the better.",
    of_test=True,
    of_codes=True,
)
def anomaly_scores(view: View) -> Image | None:
    """Histograms of the scores of normal test images and of those of classes never seen, and the
    curve of true over false positives of all thresholds.

    None where no class was left out of the training.
    """
    if view.others is None or view.train is None or view.model.conditional:
        return None
    few = replace(view, limit=MANY)
    normal, strange = scores(few), scores(replace(few, split=view.others))
    panels = []
    for name, title in SCORES.items():
        if name in normal:
            found = separation(normal[name], strange[name])
            values = normal[name].numpy(), strange[name].numpy()
            if found:
                said, auroc = view.said(title), found["auroc"]
                curve = roc(normal[name], strange[name])
                panels.append(plots.Scores(said, *values, auroc, curve))
    count, more = len(normal["mse"]), len(strange["mse"])
    notes = [
        f"{count:,} test {view.noun} of the classes trained on, {more:,} of the others",
        "AUROC is of these",
    ]
    return plots.anomaly_scores(panels, notes, view.noun)
