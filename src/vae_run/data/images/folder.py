"""The image files below a folder: its splits, classes, and what of it is not read."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from vae_run.data.split_names import SPLITS
from vae_run.errors import DataError

ENDINGS = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
)  # fmt: skip
"""File name endings that are read, in any case."""
_SYSTEM = ("thumbs.db", "desktop.ini", ".ds_store")
"""Files that systems leave in any folder, in lower case."""


def split_folders(root: Path, read: Path | None = None) -> tuple[dict[str, Path], tuple[str, ...]]:
    """{split: its folder}, and notes: what names were understood, and what beside them is not read.

    Besides the splits, the file `read` is read.

    A sub-folder `train`, `val` or `test`, in any case and in other usual words, is a split if there
    is one for training; otherwise `root` is the training split.

    Raises:
        DataError: two sub-folders are the same split.
    """
    role = {word: split for split, words in SPLITS.items() for word in words}
    below = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    found: dict[str, Path] = {}
    for path in below:
        split = role.get(path.name.lower()) if path.is_dir() else None
        if split in found:
            raise DataError(
                f"dataset.path={root}: the folders {found[split].name} and {path.name} could both "
                f"be the {split} images; rename or join them"
            )
        if split is not None:
            found[split] = path
    if "train" not in found:
        folders = [path for path in below if path.is_dir()]
        if found and len(found) == len(folders):
            named = ", ".join(path.name for path in found.values())
            raise DataError(
                f"dataset.path={root}: there are folders {named}, but none for training; name it "
                "train, or give the folder to train on as dataset.path"
            )
        return {"train": root}, tuple(_classes_note(root, found))
    found = {split: found[split] for split in SPLITS if split in found}
    renamed = [f"{path.name} is {split}" for split, path in found.items() if path.name != split]
    notes = [f"{root}: splits by folder names: {', '.join(renamed)}"] if renamed else []
    notes += _beside_note(root, found, [path for path in below if path != read])
    return found, tuple(notes)


def _classes_note(root: Path, splits: Mapping[str, Path]) -> Iterator[str]:
    """That folders with names of splits are read as classes, since none is for training."""
    if splits:
        named = ", ".join(path.name for path in splits.values())
        yield (
            f"{root}: no folder is called train, so that all images are read together, and cut "
            f"into splits; {named} beside other folders are not taken for splits"
        )


def _beside_note(root: Path, splits: Mapping[str, Path], below: Iterable[Path]) -> list[str]:
    """A sentence on what lies beside the folders of `splits`, which is not read."""
    beside = [path.name for path in below if path not in splits.values()]
    beside = [name for name in beside if name.lower() not in _SYSTEM]
    if not beside:
        return []
    told = ", ".join(beside[:10]) + (f" and {len(beside) - 10} more" if beside[10:] else "")
    named = " and ".join(path.name for path in splits.values())
    return [f"{root}: not read, because it is beside the splits {named}: {told}"]


def image_files(folder: Path, key: str = "dataset.path") -> list[Path]:
    """The image files of `files_below`."""
    return files_below(folder, key)[0]


def files_below(folder: Path, key: str = "dataset.path") -> tuple[list[Path], Counter[str]]:
    """All image files below `folder`, sorted by the parts of their paths; endings of other files.

    Links are followed, except those to a folder that contains them. Hidden files, which start with
    a dot, and those of hidden folders are not read; hidden files are counted as `hidden`.

    Raises:
        DataError: a folder cannot be read, or there is no image file, for which `key` is named.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    inside = {folder: {_identity(folder)}}

    def refuse(error: OSError) -> None:
        raise DataError(
            f"cannot read the folder {error.filename}: {error.strerror}; change its permissions, "
            "or move it away"
        ) from error

    for name, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        where = Path(name)
        above = inside.pop(where)
        folders[:] = [child for child in folders if not child.startswith(".")]
        for child in list(folders):
            if (own := _identity(where / child)) in above:
                folders.remove(child)
            else:
                inside[where / child] = above | {own}
        for file in files:
            if file.lower().endswith(ENDINGS) and not file.startswith("."):
                found.append(where / file)
            elif file.lower() not in _SYSTEM:
                hidden = file.startswith(".")
                others["hidden" if hidden else Path(file).suffix.lower() or "no ending"] += 1
    if not found:
        raise DataError(
            f"{key}: no image files below {folder} ({' '.join(ENDINGS)}){_told(others)}"
        )
    return sorted(found), others


def unread_note(root: Path, others: Iterable[Counter[str]]) -> tuple[str, ...]:
    """A sentence that counts the files that are not read, by their endings."""
    total: Counter[str] = sum(others, Counter())
    return (f"{root}: not read{_told(total)}",) if total else ()


def classes_below(folder: Path, files: list[Path]) -> list[str] | None:
    """The sub-folder of each file, or None if any file is in `folder` itself."""
    below = [file.relative_to(folder).parts for file in files]
    return [parts[0] for parts in below] if all(len(parts) > 1 for parts in below) else None


def loose_note(folders: Mapping[str, Path], files: Mapping[str, list[Path]]) -> tuple[str, ...]:
    """A sentence on each split that has sub-folders and files beside them, and so no classes."""
    notes = []
    for split, folder in folders.items():
        loose = sum(file.parent == folder for file in files[split])
        if 0 < loose < len(files[split]):
            notes.append(
                f"{folder}: the images have no classes, as {loose:,} of {len(files[split]):,} are "
                "in none of its sub-folders"
            )
    return tuple(notes)


def _told(others: Counter[str]) -> str:
    """How many files of each ending there are, the most frequent first."""
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{count:,} {ending}" for ending, count in ordered[:10]]
    return f": {', '.join(kinds)}" if kinds else ""


def _identity(folder: Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino
