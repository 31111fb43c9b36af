"""Runs of the same shapes trained together in one process, as one batched model.

Each run stays what it is alone: an experiment, a run directory, a loop with its own batches,
schedule, metrics and checkpoints. Only the step is shared: the parameters of N models are stacked
to [N, ...], and each model's own are views of its slice, so that whatever reads or writes them
between two steps needs to know nothing of the others.

May import config, data, models, objectives, runs, system, tasks, training.
"""
