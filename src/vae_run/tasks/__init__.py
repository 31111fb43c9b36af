"""Tasks: one module each, run by its `main(call)`.

May import comparison, config, data, evaluation, models, plots, reports, runs, system, tracking,
training.
"""
