"""Datasets, one file each; `Dataset.load` gives three sets of images as whole tensors."""
