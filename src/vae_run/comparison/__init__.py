"""Runs side by side: what differs between them, and what that did to their metrics.

May import config, evaluation, plots, runs, system, tracking.
"""
