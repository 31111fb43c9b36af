"""Launchers: how the jobs of a sweep are handed to processes, of this machine or of others.

May import config, sweeps.composer, sweeps.executors, sweeps.jobs, sweeps.ledger, sweeps.settings,
sweeps.vectorized, system, training.
"""
