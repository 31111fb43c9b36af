"""The command line: Hydra composes a configuration, the gate checks it, and a task runs.

May import config, plots, runs, system, tasks, training.
"""
