"""Where the jobs of a sweep run: processes of this machine, a Ray cluster, Slurm.

May import cli, evaluation, reports, system, tasks, training.
"""
