"""The datasets, one file each.

May import data.array_images, data.array_names, data.checks, data.class_labels, data.dataset,
data.decoded_dataset, data.download, data.images, data.matlab_reader, data.splits, data.webdataset.
"""
