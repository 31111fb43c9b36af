"""The command line: Hydra composes a configuration, it is checked, and a task runs.

May import config, runs, system, tasks, training.
"""
