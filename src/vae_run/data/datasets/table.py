"""Rows of a table in a CSV or Parquet file, with columns of numbers and of categories.

Letters: N rows, F features.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from vae_run.data.columns import Columns
from vae_run.data.condition_columns import separated
from vae_run.data.dataset import BUILDING, Dataset, Parts, TestSize
from vae_run.data.given import ARGUMENTS, MEMORY, given
from vae_run.data.splits import Split
from vae_run.data.table_columns import Reading, understood
from vae_run.data.table_features import features, keys_of, labels_of
from vae_run.data.table_file import TableFile, frame_table, read_table, text_columns
from vae_run.errors import DataError

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


@dataclass(frozen=True, kw_only=True)
class Table(Dataset):
    """The rows of a table as vectors of features.

    The type of a column decides: numbers become one feature, standardised by the mean and the
    standard deviation of the training rows; texts and booleans, and the columns in `categorical`,
    become a feature for each category, of which one is 1 (one-hot). The categories are those of
    all rows of the file `path`, before validation and test rows are cut from it.

    Attributes:
        path: the table: `.parquet`, or CSV with any other ending.
        val, test: files of validation and test rows; None: they are cut from `path`.
        label: the column of the classes, whole numbers or texts, which is no feature.
        key: the column that says what each row is called, such as a number of customer, which is
            no feature; files of codes and scores have it as `name`.
        drop: columns that are left out.
        categorical: columns of numbers that are categories, which in a CSV file are texts as they
            are written.
        missing: `refuse` tables with missing values; `mean`: a missing number becomes the training
            mean, a missing text a category of its own; `indicator`: the same, and for each column
            of numbers with missing values the features `NAME missing=no` and `NAME missing=yes`.
        delimiter: the character between the values of a line of a CSV file.
        test_size: size of the test set, if there is no file `test`: a share in (0, 1) or a number
            of rows.
    """

    path: str
    val: str | None = None
    test: str | None = None
    label: str | None = None
    key: str | None = None
    drop: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    missing: Literal["refuse", "mean", "indicator"] = "refuse"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    test_size: TestSize = 0.2

    @classmethod
    def conflicts(cls, settings: "Settings", options: Mapping[str, Any]) -> Iterator[str]:
        """Likelihoods of pixels, and binarization, are not for rows of a table."""
        yield from super().conflicts(settings, options)
        likelihood = settings.classes["likelihood"]
        if settings.fixed.task in BUILDING and (likelihood.unit_interval or likelihood.discrete):
            yield (
                f"likelihood: {likelihood.__name__} models pixels, but the rows of dataset=table "
                "are numbers and categories. Use likelihood=mixed."
            )
        if options.get("binarize", "none") != "none":
            yield "dataset.binarize: the rows of a table are no pixels. Use dataset.binarize=none."

    def read(self) -> Parts:
        """float64 [N, F] in the units of the table, with its columns; missing numbers are NaN."""
        files = self._files()
        columns, notes = understood(files["path"], self._reading)
        labels, names = self._labels(files)
        splits = {
            key: Split(
                torch.from_numpy(features(file, columns, self._reading)),
                labels.get(key),
                names=None if self.key is None else keys_of(file, self.key),
            )
            for key, file in files.items()
        }
        return Parts(
            splits["path"],
            splits.get("val"),
            splits.get("test"),
            class_names=names,
            test_size=self.test_size,
            notes=notes,
            table=columns,
        )

    @property
    def _reading(self) -> Reading:
        return Reading(self.label, self.key, self.drop, self.categorical, self.missing)

    def _files(self) -> dict[str, TableFile]:
        """The tables by the keys that name them.

        Columns of texts in `path` are texts in the others, and labels that are texts in one file
        are texts in all, so that a cell means the same in each.
        """
        if self.path == MEMORY:
            keys = {"train": "path", "val": "val", "test": "test"}
            return {
                keys[split]: frame_table(ARGUMENTS[split], frame)
                for split, frame in given().sources.items()
            }
        return self._read_files()

    def _read_files(self) -> dict[str, TableFile]:
        """The tables that are files, as `_files`."""
        keys = {"path": self.path, "val": self.val, "test": self.test}
        named = {key: name for key, name in keys.items() if name is not None}

        def read(key: str, texts: set[str]) -> TableFile:
            path = Path(os.path.expanduser(named[key]))
            return self._file(f"dataset.{key}={named[key]}", path, texts)

        texts = set(self.categorical) - {self.label}
        files = {"path": read("path", texts)}
        texts |= text_columns(files["path"])
        files |= {key: read(key, texts) for key in named if key != "path"}
        if self.label not in texts and any(self.label in text_columns(f) for f in files.values()):
            files = {key: read(key, texts | {str(self.label)}) for key in named}
        return files

    def _file(self, named: str, path: Path, texts: Collection[str]) -> TableFile:
        """The table in `path`; its key, and the columns `texts`, are texts as they are written."""
        key = () if self.key in (None, self.label) else (str(self.key),)
        return read_table(named, path, self.delimiter, {*texts, *key})

    def read_with(self, conditions: Sequence[str]) -> Parts:
        """As `read`, with the columns `conditions` as conditions in place of features."""
        parts, own, splits = self.read(), None, {}
        assert parts.table is not None, "it is a table"
        held = {column.name for column in parts.table.columns if column.indicates is None}
        if lacking := [name for name in conditions if name not in held]:
            raise DataError(
                f"condition: dataset.path={self.path} has no column {', '.join(lacking)}, or it is "
                f"left out as the notes of task=check say; the others are {', '.join(sorted(held))}"
            )
        if not held - set(conditions):
            raise DataError("condition: every column is a condition, and none is left to model")
        for name, split in parts.named().items():
            splits[name], own = separated(parts.table, conditions, split)
        kept = [c for c in parts.table.columns if (c.indicates or c.name) not in conditions]
        table = Columns(tuple(kept), parts.table.told)
        return replace(parts, **splits, table=table, conditions=own)  # type: ignore[arg-type]

    def rows(
        self,
        named: str,
        path: Path,
        columns: Columns,
        conditions: Columns | None = None,
        class_names: Sequence[str] = (),
    ) -> tuple[Split, NDArray[Any] | None]:
        """Other rows, standardised as those that a run was trained on, and their classes if told.

        Their conditions, float32 [N, P], are those of the columns `conditions`.

        Args:
            named: the file's name in messages, such as `input=FILE`.
            path: the file.
            columns: of the run.
            conditions: columns that are conditions of the run, or None.
            class_names: of the run, if its classes are texts.

        Raises:
            DataError: the file is unreadable, or its columns are not those of the run.
        """
        whole = Columns(columns.columns + (conditions.columns if conditions else ()))
        texts = {c.name for c in whole.columns if c.categories is not None and not c.indicates}
        file = self._file(named, path, texts | ({str(self.label)} if class_names else set()))
        given = conditions.columns if conditions else ()
        if lacking := [c.name for c in given if not c.indicates and c.name not in file.names]:
            raise DataError(
                f"{named} has no column {lacking[0]}, which the run's model is given. Add it, or "
                f"give one value for all rows with 'given={{{lacking[0]}: VALUE}}'"
            )
        raw = torch.from_numpy(features(file, whole, self._reading))
        keyed = self.key is not None and self.key in file.names
        split = Split(whole.scaled(raw), names=keys_of(file, str(self.key)) if keyed else None)
        if conditions is not None and conditions.columns:
            split, _ = separated(whole, [column.name for column in conditions.columns], split)
        told = self.label is not None and self.label in file.names
        classes = labels_of(file, str(self.label)) if told else None
        return split, classes

    def _labels(
        self, files: Mapping[str, TableFile]
    ) -> tuple[dict[str, torch.Tensor], tuple[str, ...] | None]:
        """The classes of every split, and the name of class i at index i if they are texts."""
        if self.label is None:
            return {}, None
        found: dict[str, NDArray[Any]] = {
            key: labels_of(file, self.label) for key, file in files.items()
        }
        if all(own.dtype.kind == "i" for own in found.values()):
            return {key: torch.from_numpy(own) for key, own in found.items()}, None
        names = np.unique(np.concatenate([own.astype(str) for own in found.values()]))
        numbered = {key: np.searchsorted(names, own.astype(str)) for key, own in found.items()}
        return {key: torch.from_numpy(own) for key, own in numbered.items()}, tuple(names.tolist())
