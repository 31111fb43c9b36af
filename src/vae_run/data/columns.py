"""How the columns of a table become the features of a vector, and features columns again.

Letters: N rows, F features, K categories of a column.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vae_run.data.scaling import Scaling, statistics


@dataclass(frozen=True)
class Column:
    """One column: a number, which is one feature, or categories, one feature each (one-hot).

    Attributes:
        name: of the column.
        categories: in the order of their features; None: the column is a number.
        mean, std: of a number over the training rows that have one; a feature is (x - mean) / std.
        indicates: the name of the number column whose missing values this column of the two
            categories "no" and "yes" tells; None: it is a column of the table itself.
    """

    name: str
    categories: tuple[str, ...] | None = None
    mean: float = 0.0
    std: float = 1.0
    indicates: str | None = None

    @property
    def width(self) -> int:
        """Number of features."""
        return 1 if self.categories is None else len(self.categories)

    @property
    def features(self) -> tuple[str, ...]:
        """The name of each feature: NAME of a number, NAME=CATEGORY of a category."""
        if self.categories is None:
            return (self.name,)
        return tuple(f"{self.name}={category}" for category in self.categories)


@dataclass(frozen=True)
class Columns:
    """The columns of a table in the order of their features.

    A feature that is missing is NaN until `scaled` puts 0, the training mean, in its place.

    Attributes:
        columns: the features.
        told: (name, how it was read or why it was left out) of every column of the file, for
            people; a checkpoint does not keep it.
    """

    columns: tuple[Column, ...]
    told: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of all features, F of them."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) of the features of every column of categories."""
        return tuple(
            (place.start, place.stop)
            for column, place in self.places()
            if column.categories is not None
        )

    def places(self) -> Iterator[tuple[Column, slice]]:
        """Each column with the slice of its features."""
        start = 0
        for column in self.columns:
            yield column, slice(start, start + column.width)
            start += column.width

    @property
    def scaling(self) -> Scaling:
        """What brings every feature to its scale; categories stay as they are."""
        each = [column for column in self.columns for _ in range(column.width)]
        return Scaling("standard", tuple(c.mean for c in each), tuple(c.std for c in each))

    def fitted(self, raw: Tensor) -> "Columns":
        """The same columns with the mean and the standard deviation of rows `raw`, [N, F].

        Missing values (NaN) do not count. The standard deviation divides by N, and is 1 where all
        rows have the same number, or none.
        """
        found = Scaling.of("standard", statistics(lambda: [raw]))
        return replace(
            self,
            columns=tuple(
                replace(column, mean=found.shift[place.start], std=found.scale[place.start])
                if column.categories is None
                else column
                for column, place in self.places()
            ),
        )

    def scaled(self, raw: Tensor) -> Tensor:
        """Rows `raw` [N, F] as float32 features: numbers (x - mean) / std, missing ones 0."""
        return self.scaling.scaled(raw).nan_to_num(nan=0.0)

    def raw(self, features: Tensor) -> Tensor:
        """The inverse of `scaled`: float64 [N, F] in the units of the table."""
        return self.scaling.raw(features)

    def table(self, features: Tensor) -> dict[str, NDArray[Any]]:
        """Rows of features [N, F], or means of p(x|z), as columns of the table.

        Numbers are in the units of the table; of categories the most probable one is named.
        Columns that tell which values are missing are left out.
        """
        values, found = self.raw(features).numpy(), {}
        for column, place in self.places():
            if column.categories is None:
                found[column.name] = values[:, place.start]
            elif column.indicates is None:
                found[column.name] = np.array(column.categories)[values[:, place].argmax(1)]
        return found

    def state(self) -> list[dict[str, Any]]:
        """Plain values for a checkpoint, from which `of_state` makes the columns again."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def of_state(cls, state: Sequence[Mapping[str, Any]]) -> "Columns":
        """The columns that `state` describes."""
        return cls(
            tuple(
                Column(
                    str(each["name"]),
                    None if each["categories"] is None else tuple(map(str, each["categories"])),
                    float(each["mean"]),
                    float(each["std"]),
                    None if each["indicates"] is None else str(each["indicates"]),
                )
                for each in state
            )
        )
