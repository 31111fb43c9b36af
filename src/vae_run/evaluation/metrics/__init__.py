"""Metrics: one file each, a function of the same name from a `View` to named numbers.

May import config, corruptions, data, evaluation.codes, evaluation.principal_components,
evaluation.random_features, evaluation.samples, evaluation.view, models, objectives.
"""
