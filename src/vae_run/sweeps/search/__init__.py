"""Hyperparameter search: the space, the study, and the trials as jobs of a sweep.

May import config, evaluation, runs, sweeps.executors, sweeps.ledger, sweeps.ranges,
sweeps.same_data, system, tracking.
"""
