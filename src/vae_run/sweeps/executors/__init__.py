"""Executors of the jobs of a sweep: processes of this machine, a Ray cluster, Slurm.

May import cli, config, evaluation, plots, reports, runs, system, tasks, training.
"""
