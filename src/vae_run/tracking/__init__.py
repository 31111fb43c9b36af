"""Trackers, which receive what a run records while it trains, and `history.csv`.

May import config, evaluation, plots, runs, system.
"""
