"""scikit-learn's interface: an autoencoder as a transformer with anomaly scores.

May import api, config, corruptions, data, evaluation, models, runs.
"""

from vae_run.sklearn.autoencoder import Autoencoder

__all__ = ["Autoencoder"]
