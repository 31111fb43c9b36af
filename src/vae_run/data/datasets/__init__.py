"""The datasets, one file each.

May import data.checks, data.dataset, data.decoded_dataset, data.download, data.images,
data.splits, data.webdataset.
"""
