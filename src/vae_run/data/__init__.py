"""Datasets, their splits and batches: `Dataset.load` gives train, val and test images.

May import config, corruptions, system.
"""
