"""The groups of parts, their base classes, and the arguments that the program fills in."""

from __future__ import annotations

GROUPS = {
    "network": "vae_run.models.networks.Network",
    "posterior": "vae_run.models.posteriors.Posterior",
    "prior": "vae_run.models.priors.Prior",
    "likelihood": "vae_run.models.likelihoods.Likelihood",
    "objective": "vae_run.objectives.Objective",
    "corruption": "vae_run.corruptions.Corruption",
    "dataset": "vae_run.data.dataset.Dataset",
    "optimizer": "torch.optim.Optimizer",
    "schedule": "vae_run.training.schedules.Schedule",
    "trainer": "vae_run.training.trainer.Trainer",
    "evaluation": "vae_run.evaluation.evaluation.Evaluation",
    "tracker": "vae_run.tracking.tracker.Tracker",
}
"""Each group of parts with the base class of its options.

The classes are named by strings because `config` lies below the packages that define them, and
because importing those would import torch, which `vae-run --help` does without.
"""


OPTIONAL = {"sampler": "vae_run.models.priors.Fitted"}
"""Groups that only task=sample has; without `_target_` the part is left out."""


CONTEXT = frozenset(
    {
        *("latent_dim", "latent_shape", "event_shape", "one_hot"),  # the model's
        *("features", "projection", "encode", "index_space"),  # of its parts
        *("params", "train_size", "view"),  # of optimizers, of objectives, of metrics and pictures
    }
)
"""Constructor arguments that the program fills in; they are no configuration keys."""

OWN_CONTEXT = {"likelihood": frozenset({"levels"})}
"""Those of one group alone, whose names are keys in another."""


def filled_in(group: str) -> frozenset[str]:
    """The constructor arguments of parts of `group` that the program fills in."""
    return CONTEXT | OWN_CONTEXT.get(group, frozenset())
