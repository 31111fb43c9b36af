"""The groups of parts, the class that each option must be, and what the program fills in."""

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
}
"""Each group of parts with the class that its options must be."""


OPTIONAL = {"sampler": "vae_run.models.priors.Fitted"}
"""Groups that task=sample has besides; without `_target_` the part is left out."""


CONTEXT = frozenset(
    {
        *("latent_dim", "event_shape", "levels", "features", "projection", "encode"),  # the model's
        *("params", "train_size", "view"),  # of optimizers, of objectives, of metrics and pictures
    }
)
"""Constructor arguments that the program fills in; they are no configuration keys."""
