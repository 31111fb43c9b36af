"""The Python interface: the same keys and checks as the command line, in the user's own process.

May import cli, comparison, config, data, models, reports, runs, sweeps, system, tasks, tracking,
training.
"""
