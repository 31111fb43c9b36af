"""What a metric and a picture are: an object that is called with a `View`.

Each is a class with one method, or a function under a decorator. Those of the package are files of
`metrics/` and `pictures/`; those from elsewhere are named in the settings by a dotted path.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vae_run.config.schema import Settings
    from vae_run.evaluation.quantity import Quantity
    from vae_run.evaluation.view import View

    Image = NDArray[Any]

Conflicts = Callable[["Settings"], Iterable[str]]
Measured = Callable[..., Mapping[str, float]]
Drawn = Callable[..., "Image | None"]


class Part:
    """What metrics and pictures have in common. Constructor arguments are keys of the settings.

    Attributes:
        of_codes: it is about codes, or images decoded from codes alone: with `network.skip`, where
            the decoder sees images beside codes, it has no meaning, and is refused or left out.
    """

    of_codes: bool = False

    def conflicts(self, settings: Settings) -> Iterable[str]:
        """Why it cannot exist with the other parts, as far as that is known without the data."""
        return ()

    def prepare(self) -> None:
        """Refuse early what would fail late: called before the data are read.

        Raises:
            ConfigError: a library is missing.
            DataError: a file is missing.
        """


class Metric(Part, ABC):
    """Named numbers of a model before a split.

    Attributes:
        quantities: what it returns, one row a name, where the package's table has no such row. A
            metric of the package has its rows in `evaluation.quantities`.
    """

    quantities: Sequence[Quantity] = ()

    @abstractmethod
    def __call__(self, view: View, /) -> Mapping[str, float]:
        """The numbers, by name; nothing where the metric does not apply.

        The model is in eval mode, and no gradients are recorded.
        """


class Picture(Part, ABC):
    """An image drawn of a model before a split.

    Attributes:
        caption: one sentence, below the picture in the report.
        of_test: it is drawn of the test split, not of val.
    """

    caption: str = ""
    of_test: bool = False

    @property
    def name(self) -> str:
        """Of the file and the TensorBoard tag: the name of the class, as words_with_underscores."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def __call__(self, view: View, /) -> Image | None:
        """The image, uint8 [height, width, 3], or None where it has no meaning."""


class FunctionMetric(Metric):
    """The metric that a function of a view computes."""

    def __init__(
        self,
        function: Measured,
        conflicts: Conflicts | None = None,
        prepare: Callable[[], None] | None = None,
        quantities: Sequence[Quantity] = (),
        of_codes: bool = False,
    ) -> None:
        self.function, self._conflicts, self._prepare = function, conflicts, prepare
        self.quantities, self.of_codes = quantities, of_codes
        update_wrapper(self, function)

    def conflicts(self, settings: Settings) -> Iterable[str]:
        return () if self._conflicts is None else self._conflicts(settings)

    def prepare(self) -> None:
        if self._prepare is not None:
            self._prepare()

    def given(self, **keys: Any) -> FunctionMetric:
        """The same with keyword arguments of the function."""
        function = update_wrapper(partial(self.function, **keys), self.function)
        return FunctionMetric(
            function, self._conflicts, self._prepare, self.quantities, self.of_codes
        )

    def __call__(self, view: View, /) -> dict[str, float]:
        return dict(self.function(view))


class FunctionPicture(Picture):
    """The picture that a function of a view draws."""

    def __init__(
        self,
        function: Drawn,
        caption: str = "",
        of_test: bool = False,
        of_codes: bool = False,
    ) -> None:
        self.function, self.caption = function, caption
        self.of_test, self.of_codes = of_test, of_codes
        update_wrapper(self, function)

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", "picture"))

    def given(self, **keys: Any) -> FunctionPicture:
        """The same with keyword arguments of the function."""
        function = update_wrapper(partial(self.function, **keys), self.function)
        return FunctionPicture(function, self.caption, self.of_test, self.of_codes)

    def __call__(self, view: View, /) -> Image | None:
        return self.function(view)


def metric(
    *,
    conflicts: Conflicts | None = None,
    prepare: Callable[[], None] | None = None,
    quantities: Sequence[Quantity] = (),
    of_codes: bool = False,
) -> Callable[[Measured], FunctionMetric]:
    """Make a function of a view a metric; the arguments are those of `Metric`."""
    return lambda function: FunctionMetric(function, conflicts, prepare, quantities, of_codes)


def picture(
    caption: str = "", *, of_test: bool = False, of_codes: bool = False
) -> Callable[[Drawn], FunctionPicture]:
    """Make a function of a view a picture; the arguments are those of `Picture`."""
    return lambda function: FunctionPicture(function, caption, of_test, of_codes)
