"""The data of an experiment, checked against what its likelihood and its conditions can model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from vae_run.config.schema import Settings
from vae_run.data.splits import Split, Splits
from vae_run.errors import DataError
from vae_run.system.console import NOTE

log = logging.getLogger("vae_run")


def classes_of(split: Split, name: str) -> list[int]:
    """The distinct labels of `split`, in rising order.

    Raises:
        DataError: its images have no labels.
    """
    if split.labels is None:
        raise DataError(
            f"condition=label: the {name} images have no labels. Use a dataset that has them, or "
            "condition=null."
        )
    return sorted(set(split.labels.tolist()))


def check_classes(splits: Splits, classes: Sequence[int]) -> None:
    """Refuse images of val or test of another class than `classes`, those that a model is given.

    Raises:
        DataError: there are some, or images without a label.
    """
    for name, split in (("val", splits.val), ("test", splits.test)):
        strange = sorted(set(classes_of(split, name)) - set(classes)) if len(split) else []
        if strange:
            raise DataError(
                f"condition=label: {name} has images labelled {strange[:10]}, which are not among "
                f"the {len(classes)} classes that the model is trained on. Choose them with "
                "dataset.classes."
            )


def load_splits(settings: Settings, loaded: Splits | None = None) -> Splits:
    """The data, checked against the likelihood's support.

    Args:
        settings: name the dataset and the likelihood.
        loaded: the data, if they are loaded already.

    Raises:
        DataError: the data are missing, unreadable, or outside of what the likelihood models.
    """
    names = settings.fixed.vector_conditions
    splits: Splits = settings.build("dataset").load(names) if loaded is None else loaded
    likelihood: Any = settings.classes["likelihood"]
    if likelihood.discrete and splits.levels is None:
        raise DataError(
            f"dataset: {settings.classes['dataset'].__name__} holds floats, but likelihood "
            f"{likelihood.__name__} gives probabilities to grey levels. Store the images as uint8, "
            "set dataset.binarize, or use a density such as likelihood=gaussian."
        )
    parts = [split for split in (splits.train, splits.val, splits.test) if len(split)]
    if _scores_anomalies(settings):
        parts += [split for split in (splits.others, splits.val_others) if split is not None]
    low = min([0.0, *(split.extent[0] for split in parts)])
    high = max([1.0, *(split.extent[1] for split in parts)])
    if likelihood.unit_interval and (low < 0 or high > 1):
        remedy = "Set dataset.scale=unit" if scalable(settings) else "Rescale the data"
        if splits.scaling is not None:
            remedy = (
                f"By dataset.scale={splits.scaling.kind} only training data are sure to lie there: "
                "scale them yourself by a range that all of them share"
            )
        raise DataError(
            f"dataset: values of {settings.build('dataset')} lie in [{low:.4g}, {high:.4g}], but "
            f"likelihood {likelihood.__name__} models pixels in [0, 1]. {remedy}, or use "
            "likelihood=gaussian."
        )
    if likelihood.binary and any(split.has_grey for split in parts):
        _accept_grey(settings)
    return splits


def _scores_anomalies(settings: Settings) -> bool:
    """Whether images of the classes that are not trained on are measured too."""
    evaluation = settings.parts["evaluation"]
    named = [*evaluation["metrics"], *evaluation["figures"]]
    return any(str(name).rstrip("?") in ("anomaly", "anomaly_scores") for name in named)


def scalable(settings: Settings) -> bool:
    """Whether the dataset could scale its values and does not (`dataset.scale=none`)."""
    return bool(settings.parts["dataset"].get("scale") == "none")


def _accept_grey(settings: Settings) -> None:
    """Note that pixels lie between 0 and 1, to which a Bernoulli likelihood gives no probability.

    Raises:
        DataError: a metric needs that probability.
    """
    if "bits_per_dim" in settings.parts["evaluation"]["metrics"]:
        raise DataError(
            "evaluation.metrics: bits_per_dim: pixels lie between 0 and 1, and a Bernoulli "
            "likelihood gives these no probability. Use dataset.binarize=dynamic, or "
            "likelihood=categorical."
        )
    scaled = settings.parts["dataset"].get("scale", "none") != "none"
    remedy = "likelihood=gaussian has some" if scaled else "dataset.binarize=dynamic makes them so"
    log.log(
        NOTE,
        "Pixels between 0 and 1 under a Bernoulli likelihood: reconstruction, ELBO and loss are "
        "cross-entropies, not likelihoods (%s).", remedy
    )  # fmt: skip
