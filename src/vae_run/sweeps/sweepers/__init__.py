"""Sweepers: which jobs a sweep has, in what order they run, and what is left at the end.

May import cli, config, runs, sweeps.composer, sweeps.executors, sweeps.filters, sweeps.jobs,
sweeps.launchers, sweeps.ledger, sweeps.partial_keys, sweeps.ranges, sweeps.same_data,
sweeps.scheduler, sweeps.search, sweeps.settings, sweeps.summary,
sweeps.tracked, sweeps.vectorized, system, tasks.
"""
