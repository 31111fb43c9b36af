"""Metrics: one file each, a function of the same name from a `View` to named numbers."""
