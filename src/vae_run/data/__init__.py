"""Datasets, one file each; `Dataset.load` gives three sets of images, in memory or in a file."""
