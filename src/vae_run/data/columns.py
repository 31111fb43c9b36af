"""How the columns of a table become the features of a vector, and features columns again.

Letters: N rows, F features, K categories of a column.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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

    A feature that is missing is NaN until `standardised` puts 0, the training mean, in its place.
    """

    columns: tuple[Column, ...]

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

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every feature, float64 [F]; 0 and 1 of categories."""
        each = [column for column in self.columns for _ in range(column.width)]
        mean = torch.tensor([column.mean for column in each], dtype=torch.float64)
        return mean, torch.tensor([column.std for column in each], dtype=torch.float64)

    def fitted(self, raw: Tensor) -> "Columns":
        """The same columns with the mean and the standard deviation of rows `raw`, [N, F].

        Missing values (NaN) do not count. The standard deviation divides by N, and is 1 where all
        rows have the same number, or none.
        """
        values = raw.double().numpy()
        found = []
        for column, place in self.places():
            own = values[:, place.start]
            own = own[~np.isnan(own)]
            if column.categories is None and len(own):
                std = float(own.std())
                usable = std > 1e-12 * max(1.0, float(np.abs(own).max()))
                column = replace(column, mean=float(own.mean()), std=std if usable else 1.0)
            found.append(column)
        return replace(self, columns=tuple(found))

    def standardised(self, raw: Tensor) -> Tensor:
        """Rows `raw` [N, F] as float32 features: numbers (x - mean) / std, missing ones 0."""
        mean, std = self._statistics()
        return ((raw.double() - mean) / std).nan_to_num(nan=0.0).float()

    def raw(self, features: Tensor) -> Tensor:
        """The inverse of `standardised`: float64 [N, F] in the units of the table."""
        mean, std = self._statistics()
        return features.detach().cpu().double() * std + mean

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
