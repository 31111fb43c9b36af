"""Sweeps: which jobs there are, in which processes they run, and a summary of their results.

May import cli, comparison, config, data, evaluation, models, objectives, plots, reports, runs,
system, tasks, tracking, training.
"""
