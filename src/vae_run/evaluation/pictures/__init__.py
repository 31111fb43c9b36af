"""Pictures of a trained model: from a view of a split to named images for people.

May import data, evaluation.metrics, evaluation.view, models, plots.
"""
