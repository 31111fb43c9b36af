"""Metrics: one file each, a metric of the same name, from a `View` to named numbers.

May import config, corruptions, data, evaluation.base, evaluation.codes,
evaluation.principal_components, evaluation.quantity, evaluation.random_features,
evaluation.samples, evaluation.view, models, objectives.
"""
