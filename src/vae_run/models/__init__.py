"""The latent variable model and its parts: networks, posteriors, priors, likelihoods.

May import config, corruptions, data.
"""
