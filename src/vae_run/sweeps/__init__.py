"""Sweeps: what is to be done, in which processes, and what came of it.

May import cli, comparison, config, data, evaluation, models, objectives, plots, reports, runs,
system, tasks, tracking, training.
"""
