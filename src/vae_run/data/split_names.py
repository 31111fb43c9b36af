"""The words by which users name splits, of folders and of arrays."""

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Each split, and the words for it, in lower case."""
