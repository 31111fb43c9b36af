"""Evaluation: metrics and pictures of a trained model on a split of the data.

May import config, corruptions, data, models, objectives, plots, system.
"""

from vae_run.evaluation.base import Metric, Picture, metric, picture
from vae_run.evaluation.quantity import Place, Quantity, Section

__all__ = ["Metric", "Picture", "Place", "Quantity", "Section", "metric", "picture"]
