"""WebDataset shards: tar files whose training images are read as a stream.

May import data.checks, data.images.
"""
