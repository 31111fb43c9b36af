"""Distributions that `torch.distributions` lacks, and KL divergences in closed form or sampled.

May import nothing else of vae-run.
"""
