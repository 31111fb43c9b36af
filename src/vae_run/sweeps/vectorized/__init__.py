"""Runs of the same shapes trained together in one process, as one batched model.

Each run keeps what it has alone: an experiment, a run directory, a loop with its own batches,
schedule, metrics and checkpoints. Only the step is shared: the parameters of N models are stacked
to [N, ...], and each model's own parameters are views of its slice, so that code that reads or
writes them between two steps does not depend on the other runs.

May import config, data, models, objectives, runs, system, tasks, training.
"""
