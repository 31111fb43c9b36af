"""Evaluation: metrics and pictures of a trained model on a split of the data.

May import config, corruptions, data, models, objectives, plots, system.
"""
